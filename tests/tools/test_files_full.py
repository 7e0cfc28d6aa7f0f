"""The larger set of file tools as an MCP client or a stronger model uses it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from agenthost.tools import Session, default_tools
from agenthost.tools.files.sets import core_file_tools, full_file_tools

pytestmark = pytest.mark.anyio

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000049454e44ae426082")


@pytest.fixture
def offer(verdict, backend):
    return default_tools(verdict, files="full")


@pytest.fixture
def ws(session: Session) -> Path:
    return session.workspace


# Names, required and optional arguments, and hints of the reference MCP filesystem server 2026.8.31.
REFERENCE = {
    "read_text_file": (["path"], ["head", "tail"], "reads"),
    "read_media_file": (["path"], [], "reads"),
    "read_multiple_files": (["paths"], [], "reads"),
    "write_file": (["path", "content"], [], "destroys, idempotent"),
    "edit_file": (["path", "edits"], ["dryRun"], "destroys"),
    "create_directory": (["path"], [], "idempotent"),
    "list_directory": (["path"], [], "reads"),
    "list_directory_with_sizes": (["path"], ["sortBy"], "reads"),
    "directory_tree": (["path"], ["excludePatterns"], "reads"),
    "move_file": (["source", "destination"], [], "destroys"),
    "search_files": (["path", "pattern"], ["excludePatterns"], "reads"),
    "get_file_info": (["path"], [], "reads"),
    "list_allowed_directories": ([], [], "reads"),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_servers_tools_are_there_with_its_arguments_and_hints(name):
    required, optional, effects = REFERENCE[name]
    spec = {tool.spec.name: tool.spec for tool in full_file_tools()}[name]
    assert spec.parameters.get("required", []) == required
    assert {*required, *optional} <= set(spec.parameters["properties"])
    hints = spec.annotations
    assert hints.read_only == (effects == "reads")
    assert hints.destructive == ("destroys" in effects)
    assert hints.idempotent == (effects == "reads" or "idempotent" in effects)
    assert not hints.open_world
    assert (spec.output is None) == (name == "read_media_file")


def test_the_core_set_is_part_of_the_full_one():
    full = {tool.spec.name: tool.spec for tool in full_file_tools()}
    for tool in core_file_tools():
        wider = full[tool.spec.name]
        assert tool.spec.parameters["properties"].items() <= wider.parameters["properties"].items() or (
            tool.spec.name == "edit_file"
        )
        assert tool.spec.parameters["required"] == wider.parameters["required"]


async def test_line_ranges(call):
    await call("write_file", path="f", content="".join(f"line {n}\n" for n in range(1, 11)))
    assert (await call("read_text_file", path="f", startLine=3, endLine=4)).text == "line 3\nline 4"
    assert (await call("read_text_file", path="f", startLine=9)).text == "line 9\nline 10"
    assert (await call("read_text_file", path="f", endLine=1)).text == "line 1"
    assert (
        await call("read_text_file", path="f", startLine=10, endLine=99, lineNumbers=True)
    ).text == "    10\tline 10"
    assert (await call("read_text_file", path="f", head=2)).text == "line 1\nline 2"
    assert (await call("read_text_file", path="f", tail=2)).text == "line 9\nline 10"
    assert (await call("read_text_file", path="f", startLine=11)).text == (
        "Error: f has 10 lines, no line 11. Give a smaller startLine."
    )
    assert (await call("read_text_file", path="f", startLine=4, endLine=3)).is_error
    assert (await call("read_text_file", path="f", startLine=4, tail=3)).is_error
    assert (await call("read_text_file", path="f", startLine=4, head=3)).is_error
    assert (await call("read_text_file", path="f", startLine=0)).is_error
    await call("write_file", path="open", content="a\nb")
    assert (await call("read_text_file", path="open", startLine=2)).text == "b"
    assert "has 2 lines" in (await call("read_text_file", path="open", startLine=3)).text
    await call("write_file", path="empty", content="")
    assert (await call("read_text_file", path="empty")).text == "(empty file)"
    assert (await call("read_text_file", path="empty", startLine=2)).is_error


async def test_a_long_file_is_read_in_pieces_that_join(call, ws):
    lines = [f"{n} {'é' * (n % 400)}" for n in range(1, 6001)]
    (ws / "f").write_text("\n".join(lines) + "\n")
    collected: list[str] = []
    start = 1
    while True:
        text = (await call("read_text_file", path="f", startLine=start)).text
        assert len(text) < 51_000
        *shown, note = text.split("\n")
        if not note.startswith("[..."):
            collected += [*shown, note]
            break
        collected += shown
        assert f"[... lines {start} to {len(collected)} are shown" in note
        start = len(collected) + 1
        assert note.endswith(f"Continue with startLine {start}.]")
    assert collected == lines


async def test_a_line_that_is_too_long_does_not_hide_the_next(call, ws):
    (ws / "f").write_text("x" * 300_000 + "\nnext\n")
    text = (await call("read_text_file", path="f")).text
    assert "line 1 is longer" in text
    assert (await call("read_text_file", path="f", startLine=2)).text == "next"


async def test_lines_far_into_a_giant_are_refused_soon(call, ws):
    with (ws / "giant").open("wb") as file:
        file.write(b"a\n" * 1000)
        file.truncate(1 << 40)
    assert (await call("read_text_file", path="giant", startLine=2, endLine=3)).text == "a\na"
    assert "too far into" in (await call("read_text_file", path="giant", startLine=5000)).text


async def test_carriage_returns_and_marks_are_read_as_they_are(call, ws):
    (ws / "f").write_bytes(b"\xef\xbb\xbfone\r\ntwo\x0bthree\r\n")
    assert (await call("read_text_file", path="f", startLine=2, endLine=2)).text == "two\x0bthree\r"
    assert (await call("read_text_file", path="f", endLine=1)).text == "one\r"


async def test_many_files_at_once_and_a_failure_between(call):
    await call("write_file", path="a", content="A\n")
    await call("write_file", path="b", content="B\n")
    text = (await call("read_multiple_files", paths=["a", "none", "../x", "b"])).text
    assert text == (
        "a:\nA\n---\nnone:\nError: no such file: none. Use list_directory to see what is there.\n---\n"
        "../x:\nError: ../x is outside the workspace. Use a path relative to the workspace.\n---\nb:\nB"
    )
    await call("write_file", path="long", content="x" * 49_000)
    text = (await call("read_multiple_files", paths=["long", "long", "a"])).text
    assert text.endswith("[... not shown, since the result would be too long: long, a. Read them with another call.]")
    assert (await call("read_multiple_files", paths=["a"] * 101)).is_error


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("read_text_file", {"path": "\udcff"}),
        ("read_multiple_files", {"paths": ["\udcff", "a\ud800"]}),
        ("create_directory", {"path": "\udcff"}),
        ("move_file", {"source": "\udcff", "destination": "x"}),
        ("write_file", {"path": "x", "content": "x", "ifVersion": "\ud800"}),
        ("write_file", {"path": "x", "content": "\ud800"}),
        ("apply_patch", {"patch": "*** Begin Patch\n\ud800\n*** End Patch"}),
        ("apply_patch", {"patch": "*** Begin Patch\n*** Add File: \udcff\n*** End Patch"}),
        ("glob", {"pattern": "\ud800"}),
        ("grep", {"pattern": "\ud800"}),
    ],
)
async def test_answers_are_valid_unicode_whatever_the_arguments(call, ws, tool, arguments):
    assert (await call(tool, **arguments)).text.encode()
    assert os.listdir(ws) == []


async def test_images_and_sounds_come_as_media_by_what_they_are(call, ws):
    (ws / "picture.txt").write_bytes(PNG)
    result = await call("read_media_file", path="picture.txt")
    assert result.text == f"picture.txt: image/png, {len(PNG)} bytes"
    assert [(media.mime_type, media.data) for media in result.media] == [("image/png", PNG)]
    (ws / "sound").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    assert (await call("read_media_file", path="sound")).media[0].mime_type == "audio/wav"
    (ws / "fake.png").write_text("<script>")
    assert (await call("read_media_file", path="fake.png")).text == (
        "Error: fake.png is no known image or sound. Use read_text_file or read_binary_file."
    )
    with (ws / "giant.png").open("wb") as file:
        file.write(PNG)
        file.truncate(1 << 40)
    assert "more than 8 MB" in (await call("read_media_file", path="giant.png")).text
    os.mkfifo(ws / "fifo")
    assert "not a regular file" in (await call("read_media_file", path="fifo")).text


async def test_bytes_are_shown_by_offset(call, ws):
    (ws / "f").write_bytes(bytes(range(48)) + b"hello")
    assert (await call("read_binary_file", path="f", offset=48)).text == (
        "00000030  68 65 6c 6c 6f                                   hello\n[bytes 48 to 52 of 53]"
    )
    assert (await call("read_binary_file", path="f", offset=32, length=16)).text.startswith("00000020  20 21 22")
    assert "none at 99" in (await call("read_binary_file", path="f", offset=99)).text
    assert (await call("read_binary_file", path="f", offset=1 << 70)).is_error
    (ws / "empty").touch()
    assert (await call("read_binary_file", path="empty")).text == "(empty file)"


async def test_directories_with_many_entries_are_listed_by_pages(call, ws):
    for number in range(2500):
        (ws / f"f{number:04}").touch()
    first = (await call("list_directory", path=".")).text.split("\n")
    assert (first[0], first[-1]) == ("[FILE] f0000", "[entries 1 to 1000 of 2500. Continue with offset 1000.]")
    last = (await call("list_directory", path=".", offset=2000)).text.split("\n")
    assert (last[0], last[-1]) == ("[FILE] f2000", "[entries 2001 to 2500 of 2500.]")
    assert (await call("list_directory", path=".", offset=2500)).text.endswith(
        "[no entries from offset 2500 on: there are 2500.]"
    )
    assert (await call("list_directory", path=".", offset=7, limit=1)).text.startswith("[FILE] f0007\n[entries 8 to 8")


async def test_sizes_by_name_and_by_size(call, ws):
    (ws / "a").write_text("1")
    (ws / "b").write_text("four")
    (ws / "d").mkdir()
    (ws / "out").symlink_to("/etc/passwd")
    assert (await call("list_directory_with_sizes", path=".")).text == (
        "[FILE] a 1 B\n[FILE] b 4 B\n[DIR] d\n[FILE] out 11 B"
    )
    assert (await call("list_directory_with_sizes", path=".", sortBy="size")).text == (
        "[FILE] out 11 B\n[FILE] b 4 B\n[FILE] a 1 B\n[DIR] d"
    )
    assert (await call("list_directory_with_sizes", path="d")).text == "(empty directory)"
    assert (await call("list_directory_with_sizes", path="none")).is_error


async def test_trees_are_json_and_cut_near_the_bottom(call, ws):
    for path in ("a/b/c.txt", "a/d.txt", "skip/e.txt", "z.txt"):
        await call("write_file", path=path, content="")
    (ws / "up").symlink_to("..")
    tree = json.loads((await call("directory_tree", path=".", excludePatterns=["skip"])).text)
    inner = {"name": "b", "type": "directory", "children": [{"name": "c.txt", "type": "file"}]}
    assert tree == [
        {"name": "a", "type": "directory", "children": [inner, {"name": "d.txt", "type": "file"}]},
        {"name": "up", "type": "file"},
        {"name": "z.txt", "type": "file"},
    ]
    tree = json.loads((await call("directory_tree", path=".", maxDepth=1)).text)
    assert tree[0] == {"name": "a", "type": "directory", "unlisted": True}
    for number in range(2000):
        (ws / "a" / f"f{number:04}").touch()
    tree = json.loads((await call("directory_tree", path=".")).text)
    assert [node["name"] for node in tree] == ["a", "skip", "up", "z.txt"]
    assert tree[0]["children"][-1] == {
        "name": "[1006 more: list_directory shows them by pages]",
        "type": "more",
    }
    assert tree[1] == {"name": "skip", "type": "directory", "unlisted": True}
    assert (await call("directory_tree", path="none")).is_error


async def test_a_tree_of_hostile_depth_ends(call, ws):
    deep = os.open(ws, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=deep)
        following = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = following
    os.close(deep)
    text = (await call("directory_tree", path=".")).text
    assert text.count('"d"') == 128
    json.loads(text)


async def test_facts_about_files_directories_links_and_devices(call, ws):
    (ws / "f").write_text("four")
    (ws / "f").chmod(0o640)
    text = (await call("get_file_info", path="f")).text
    assert "size: 4\n" in text
    assert "type: file\n" in text
    assert "permissions: -rw-r-----" in text
    (ws / "out").symlink_to("/etc/passwd")
    assert "type: link to /etc/passwd" in (await call("get_file_info", path="out")).text
    os.mkfifo(ws / "fifo")
    assert "type: FIFO" in (await call("get_file_info", path="fifo")).text
    assert "type: directory" in (await call("get_file_info", path=".")).text
    os.utime(ws / "f", (1 << 40, 1 << 40))  # file systems cut it or keep it
    assert "modified: " in (await call("get_file_info", path="f")).text
    assert (await call("get_file_info", path="none")).is_error
    assert (await call("list_allowed_directories")).text == "Allowed directories:\n/workspace"

"""The file tools as a model uses them."""

from __future__ import annotations

import asyncio
import os
import threading

import anyio
import pytest
from agenthost.tools import ToolContext, ToolError
from agenthost.tools.files.glob import Glob
from agenthost.tools.files.result import in_thread, in_turn

pytestmark = pytest.mark.anyio


async def test_write_read_list(call):
    result = await call("write_file", path="notes/day.txt", content="one\ntwo\nthree\n")
    assert (result.text, result.structured) == (
        "Successfully wrote to notes/day.txt",
        {"content": "Successfully wrote to notes/day.txt"},
    )
    result = await call("read_text_file", path="notes/day.txt")
    assert (result.text, result.structured) == ("one\ntwo\nthree", {"content": "one\ntwo\nthree\n"})
    assert (await call("list_directory", path=".")).text == "[DIR] notes"
    assert (await call("list_directory", path="notes")).text == "[FILE] day.txt"


async def test_head_and_tail(call):
    await call("write_file", path="f", content="".join(f"line {n}\n" for n in range(1, 100_001)))
    assert (await call("read_text_file", path="f", head=2)).text == "line 1\nline 2"
    assert (await call("read_text_file", path="f", tail=2)).text == "line 99999\nline 100000"
    assert (await call("read_text_file", path="f", tail=1)).text == "line 100000"
    assert (await call("read_text_file", path="f", head=1, tail=1)).text.startswith("Error: head and tail")
    assert (await call("read_text_file", path="f", head=0)).is_error
    await call("write_file", path="open", content="a\nb")
    assert (await call("read_text_file", path="open", tail=1)).text == "b"
    assert (await call("read_text_file", path="open", tail=9)).text == "a\nb"


async def test_long_text_is_cut_and_says_so(call):
    await call("write_file", path="f", content="é" * 200_000)
    text = (await call("read_text_file", path="f")).text
    assert text.startswith("é" * 50_000 + "\n[... cut here")
    assert "the file has 400000 bytes" in text
    text = (await call("read_text_file", path="f", tail=1)).text
    assert text.endswith("é" * 50_000)


async def test_empty_things_say_so(call):
    await call("write_file", path="empty", content="")
    assert (await call("read_text_file", path="empty")).text == "(empty file)"
    await call("create_directory", path="folder")
    assert (await call("list_directory", path="folder")).text == "(empty directory)"


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("read_text_file", {"path": "none"}, "Error: no such file: none. Use list_directory to see what is there."),
        ("read_text_file", {"path": "no/ne"}, "Error: no such file: no/ne. Use list_directory to see what is there."),
        (
            "read_text_file",
            {"path": "d"},
            "Error: d is a directory, not a file. Use list_directory to see what is in it.",
        ),
        (
            "write_file",
            {"path": "d", "content": ""},
            "Error: d is a directory, not a file. Use list_directory to see what is in it.",
        ),
        (
            "list_directory",
            {"path": "none"},
            "Error: no such directory: none. Use list_directory to see what is there.",
        ),
        ("list_directory", {"path": "f"}, "Error: no such directory: f. Use list_directory to see what is there."),
        (
            "search_files",
            {"path": "none", "pattern": "*"},
            "Error: no such directory: none. Use list_directory to see what is there.",
        ),
        (
            "move_file",
            {"source": "none", "destination": "x"},
            "Error: no such file: none. Use list_directory to see what is there.",
        ),
        (
            "move_file",
            {"source": "none", "destination": "new/x"},
            "Error: no such file: none. Use list_directory to see what is there.",
        ),
        ("move_file", {"source": "f", "destination": "d"}, "Error: d already exists. Choose another destination."),
        (
            "move_file",
            {"source": "d", "destination": "d/e"},
            "Error: d cannot be moved into itself. Choose another destination.",
        ),
        (
            "read_text_file",
            {"path": "../f"},
            "Error: ../f is outside the workspace. Use a path relative to the workspace.",
        ),
        (
            "read_text_file",
            {"path": "/etc/passwd"},
            "Error: /etc/passwd is outside the workspace. Use a path relative to the workspace.",
        ),
    ],
)
async def test_errors_say_what_to_do(call, tool, arguments, text):
    await call("write_file", path="f", content="f")
    await call("create_directory", path="d")
    result = await call(tool, **arguments)
    assert (result.text, result.is_error) == (text, True)
    assert (await call("list_directory", path=".")).text == "[DIR] d\n[FILE] f"


async def test_binary_files_are_not_text(call):
    await call("python", code="open('b', 'wb').write(bytes(range(256))); open('z', 'wb').write(b'text\\0text')")
    for path in ("b", "z"):
        assert (
            await call("read_text_file", path=path)
        ).text == f"Error: {path} is not a text file in UTF-8. Use python to read it."


async def test_text_that_is_no_unicode_is_refused(call):
    assert (await call("write_file", path="f", content="\ud800")).is_error
    assert (await call("list_directory", path=".")).text == "(empty directory)"


async def test_writing_keeps_the_mode_and_follows_links_inside(call):
    await call(
        "python",
        code="import os\nopen('s.sh', 'w').write('old'); os.chmod('s.sh', 0o750)\n"
        "os.symlink('s.sh', 'link'); os.symlink('/workspace/s.sh', 'full'); os.symlink('nowhere', 'broken')",
    )
    for path in ("s.sh", "link", "full"):
        await call("write_file", path=path, content=path)
        assert (
            await call("python", code="oct(os.stat('s.sh').st_mode), open('s.sh').read(), os.path.islink('link')")
        ).text == f"('0o100750', '{path}', True)"
    await call("write_file", path="broken", content="made")
    assert (await call("read_text_file", path="nowhere")).text == "made"
    await call("python", code="os.symlink('loop', 'loop')")
    assert (await call("write_file", path="loop", content="x")).is_error


async def test_files_without_permission_are_refused(call):
    await call(
        "python",
        code="import os\nopen('f', 'w').write('old'); os.chmod('f', 0o000)\nos.mkdir('d'); os.chmod('d', 0o000)",
    )
    for tool, arguments in [
        ("read_text_file", {"path": "f"}),
        ("write_file", {"path": "f", "content": "x"}),
        ("list_directory", {"path": "d"}),
        ("write_file", {"path": "d/x", "content": ""}),
    ]:
        said = (await call(tool, **arguments)).text
        assert "permissions forbid" in said or (os.geteuid() != 0 and "may not be read" in said)
    await call("python", code="os.chmod('f', 0o444)")
    assert (await call("write_file", path="f", content="x")).is_error
    assert (await call("read_text_file", path="f")).text == "old"


async def test_no_temporary_file_stays(call):
    await call("write_file", path="f", content="1")
    await call("write_file", path="f", content="2")
    await call("create_directory", path="d")
    await call("write_file", path="d", content="3")
    assert (await call("python", code="import os; sorted(os.listdir())")).text == "['d', 'f']"


async def test_edit_replaces_unique_text_only(call):
    await call("write_file", path="f", content="alpha\nbeta\nbeta $1\ngamma\n")
    result = await call("edit_file", path="f", edits=[{"oldText": "alpha", "newText": r"\1 $&"}])
    assert "-alpha\n+\\1 $&" in result.text
    assert (await call("edit_file", path="f", edits=[{"oldText": "beta", "newText": "x"}])).text == (
        "Error: oldText occurs 2 times in f. Give more of the text around it so that it is unique."
    )
    assert (await call("edit_file", path="f", edits=[{"oldText": "nowhere", "newText": "x"}])).text == (
        "Error: oldText does not occur in f. Read the file and copy the text exactly."
    )
    assert (await call("edit_file", path="f", edits=[{"oldText": "", "newText": "x"}])).is_error
    assert (await call("read_text_file", path="f")).text == "\\1 $&\nbeta\nbeta $1\ngamma"


async def test_edits_are_all_or_none_and_see_each_other(call):
    await call("write_file", path="f", content="one two")
    edits = [{"oldText": "one", "newText": "1"}, {"oldText": "three", "newText": "3"}]
    assert (await call("edit_file", path="f", edits=edits)).is_error
    assert (await call("read_text_file", path="f")).text == "one two"
    edits = [{"oldText": "one", "newText": "three"}, {"oldText": "three", "newText": "3"}]
    await call("edit_file", path="f", edits=edits)
    assert (await call("read_text_file", path="f")).text == "3 two"


async def test_overlapping_occurrences_are_not_unique(call):
    await call("write_file", path="f", content="aaa")
    assert "occurs 2 times" in (await call("edit_file", path="f", edits=[{"oldText": "aa", "newText": "b"}])).text


async def test_dry_run_changes_nothing(call):
    await call("write_file", path="f", content="a\n")
    result = await call("edit_file", path="f", edits=[{"oldText": "a", "newText": "b"}], dryRun=True)
    assert result.text == "--- f\n+++ f\n@@ -1 +1 @@\n-a\n+b"
    assert (await call("read_text_file", path="f")).text == "a"


async def test_line_ends_and_byte_order_marks_survive_edits(call):
    await call("python", code=r"open('f', 'wb').write(b'\xef\xbb\xbfone\r\ntwo\r\nthree\r\n')")
    await call("edit_file", path="f", edits=[{"oldText": "one\ntwo", "newText": "1\n2"}])
    assert (await call("python", code="open('f', 'rb').read()")).text == r"b'\xef\xbb\xbf1\r\n2\r\nthree\r\n'"


async def test_search_by_name_and_by_path(call):
    for path in ("a.txt", "b.py", "sub/c.txt", "sub/deep/d.txt", "sub/.hidden.txt", "skip/e.txt"):
        await call("write_file", path=path, content="")

    async def found(pattern: str, path: str = ".", **more: object) -> list[str]:
        return (await call("search_files", path=path, pattern=pattern, **more)).text.split("\n")

    assert await found("*.txt", excludePatterns=["skip"]) == ["a.txt", "sub/.hidden.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert await found("*.txt", "sub") == ["sub/.hidden.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert await found("sub/*.txt") == ["sub/.hidden.txt", "sub/c.txt"]
    assert await found("**/d.txt") == ["sub/deep/d.txt"]
    assert await found("sub/**/*.txt") == ["sub/.hidden.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert await found("[ab].*") == ["a.txt", "b.py"]
    assert await found("sub") == ["sub"]
    assert await found("*.md") == ["No matches found"]


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../*", "a/../b", "x" * 501, "a\0"])
def test_patterns_that_leave_are_refused(pattern):
    with pytest.raises(ToolError):
        Glob(pattern)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("pattern", ["a*" * 100 + "b", "**/" * 100 + "b", "[", "[!", "[]-a]", "[z-a]", "*" * 400])
def test_hostile_patterns_are_answered_quickly(pattern):
    Glob(pattern).matches("a" * 250)
    Glob(pattern).matches("/".join(["a"] * 100))


async def test_creating_a_directory_twice_is_fine_and_files_are_in_the_way(call):
    assert (await call("create_directory", path="a/b/c")).text == "Successfully created directory a/b/c"
    assert not (await call("create_directory", path="a/b/c")).is_error
    await call("write_file", path="f", content="")
    assert (await call("create_directory", path="f")).is_error
    assert (await call("create_directory", path="f/g")).is_error
    assert (await call("create_directory", path="/".join(["x"] * 101))).is_error


async def test_code_and_files_share_one_tree_both_ways(call):
    await call("write_file", path="d/f", content="from files\n")
    text = (
        await call(
            "python",
            code="import os\nopen('d/f', 'a').write('from code\\n'); open('/workspace/d/g', 'w').write('g')\n"
            "os.rename('d/g', 'd/h'); os.mkdir('e')",
        )
    ).text
    assert "Error" not in text
    assert (await call("read_text_file", path="/workspace/d/f")).text == "from files\nfrom code"
    await call("write_file", path="d/h", content="changed")
    await call("write_file", path="e/i", content="i")
    await call("move_file", source="d", destination="e/d")
    assert (
        await call("python", code="import shutil; print(open('e/d/h').read()); shutil.rmtree('e'); os.listdir()")
    ).text == "changed\n[]"


class Stuck:
    """Work that takes until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self, root) -> None:
        self.begun += 1
        self.go.wait(20)

    async def until(self, begun: int) -> None:
        with anyio.fail_after(10):
            while self.begun < begun:
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("how", [in_thread, in_turn])
async def test_slow_calls_of_a_session_keep_nobody_else_waiting(sessions, how):
    mine, other = [ToolContext(await sessions.create()) for _ in range(2)]
    at_once = 2 if how is in_thread else 1
    stuck = Stuck()
    calls = [asyncio.create_task(how(mine, stuck)) for _ in range(50)]
    try:
        await stuck.until(at_once)
        for call in calls[:at_once]:  # whoever has given up still has a thread
            call.cancel()
        with anyio.fail_after(10):
            await how(other, lambda root: None)
            await asyncio.to_thread(int)
            if how is in_turn:
                await in_thread(mine, lambda root: None)
        assert stuck.begun == at_once
    finally:
        stuck.go.set()
        done = await asyncio.gather(*calls, return_exceptions=True)
    assert done[at_once:] == [None] * (50 - at_once)
    assert stuck.begun == 50

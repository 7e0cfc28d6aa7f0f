"""No path leads out of a workspace, whatever is in it and whatever changes meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agenthost.tools import ToolError
from agenthost.tools.bench import race
from agenthost.tools.files import beneath
from agenthost.tools.files.beneath import Root, clean, told
from agenthost.tools.files.directory import Directory
from agenthost.tools.files.folders import list_folder, make_folders
from agenthost.tools.files.move import move
from agenthost.tools.files.read import read_text
from agenthost.tools.files.remove import remove_tree
from agenthost.tools.files.search import search
from agenthost.tools.files.usage import MIB, Quota
from agenthost.tools.files.write import write_text

QUOTA = Quota()


@pytest.fixture(params=["openat2", "walk"])
def root(request, tmp_path: Path, monkeypatch) -> Iterator[Root]:
    """A workspace next to a secret; once by openat2, once by the fallback for kernels without it."""
    if request.param == "walk":

        def missing(*_: object) -> int:
            raise OSError(errno.ENOSYS, "no openat2")

        monkeypatch.setattr(beneath, "_openat2", missing)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "ws").mkdir()
    directory = Directory(tmp_path / "ws")
    yield Root(directory)
    directory.close()


@pytest.fixture
def ws(tmp_path: Path, root: Root) -> Path:
    return tmp_path / "ws"


def test_links_that_lead_out_are_refused(root, ws, tmp_path):
    (ws / "d").mkdir()
    with root.directory.used() as inside:
        number = inside
    for name, target in {
        "absolute": tmp_path / "secret",
        "relative": "../secret",
        "up": "..",
        "top": "/",
        "deep": "d/../../secret",
        "proc": "/proc/self/environ",
        "magic": f"/proc/self/fd/{number}",
    }.items():
        (ws / name).symlink_to(target)
    for path in (
        "absolute",
        "relative",
        "up/secret",
        "top/etc/passwd",
        "deep",
        "proc",
        "magic/../secret",
        "d/../../secret",
        "../secret",
    ):
        with pytest.raises(ToolError, match=r"outside the workspace|links that cannot|no such"):
            read_text(root, path)
        with pytest.raises(ToolError):
            write_text(root, path, "overwritten", QUOTA)
        with pytest.raises(ToolError):
            make_folders(root, f"{path}/new")
    assert (tmp_path / "secret").read_text() == "secret"
    assert sorted(os.listdir(tmp_path)) == ["secret", "ws"]


def test_error_texts_never_show_host_paths(root, ws, tmp_path):
    (ws / "out").symlink_to(tmp_path / "secret")
    for path in ("out", "nothing", "../secret", "/etc/passwd", "a/b/c", "x" * 300):
        for attempt in (read_text, list_folder, make_folders):
            with contextlib.suppress(ToolError):
                attempt(root, path)
                continue
            with pytest.raises(ToolError) as refused:
                attempt(root, path)
            assert str(tmp_path) not in str(refused.value)
            assert "[Errno" not in str(refused.value)


def test_moving_cannot_lead_out(root, ws, tmp_path):
    (ws / "f").write_text("f")
    (ws / "up").symlink_to("..")
    for destination in ("../g", "up/g", "/etc/g", "..", "."):
        with pytest.raises(ToolError):
            move(root, "f", destination, QUOTA)
    for source in ("../secret", "up/secret", "."):
        with pytest.raises(ToolError):
            move(root, source, "taken", QUOTA)
    assert (ws / "f").exists()
    assert sorted(os.listdir(tmp_path)) == ["secret", "ws"]


def test_a_link_itself_can_be_moved_and_replaced(root, ws, tmp_path):
    (ws / "out").symlink_to(tmp_path / "secret")
    move(root, "out", "renamed", QUOTA)
    assert (ws / "renamed").is_symlink()


def test_walks_do_not_follow_links(root, ws, tmp_path):
    (ws / "loop").symlink_to(".")
    (ws / "up").symlink_to("..")
    assert search(root, ".", "**", []) == "loop\nup"
    assert list_folder(root, ".").endswith("[FILE] up")


@pytest.mark.parametrize(
    "path",
    ["", " ", "\0", "a\0b", "\ud800", "a\udcff", "/etc/passwd", "/workspace2/x", "a" * 256, "a/" * 2100, "é" * 128],
)
def test_paths_that_are_none_are_refused_before_the_kernel(path):
    with pytest.raises(ToolError):
        clean(path)


def test_paths_are_cleaned():
    assert clean("./a//b/") == "a/b"
    assert clean("/workspace/a") == "a"
    assert clean("/workspace") == "."
    assert clean(".") == "."
    assert clean("a/../b") == "a/../b"  # what it means is for the kernel to say: a may be a link


@pytest.mark.parametrize(
    "name",
    [
        "-rf",
        "--help",
        "a b",
        "new\nline",
        "tab\t",
        "'quotes\"",
        "$(id)",
        "%s%n",
        "*",
        "?",
        "[x]",
        "é漢🎈",
        "\x1b[31m",
        ".hidden",
        "...",
        "a\\b",
        "~",
        "CON",
        "x" * 255,
    ],
)
def test_strange_names_are_just_names(root, ws, name):
    write_text(root, name, "text", QUOTA)
    assert read_text(root, name) == "text"
    move(root, name, "plain", QUOTA)
    move(root, "plain", f"folder/{name}", QUOTA)
    assert (ws / "folder" / name).read_text() == "text"
    assert "\n" not in list_folder(root, "folder")
    assert "\x1b" not in list_folder(root, "folder")


def test_names_that_are_not_utf8_are_listed_escaped(root, ws):
    os.close(os.open(os.fsencode(ws) + b"/\xff\xfe", os.O_CREAT))
    text = list_folder(root, ".")
    assert text.encode()
    assert text.startswith("[FILE] ")


def test_fifos_sockets_and_devices_are_refused_at_once(root, ws):
    os.mkfifo(ws / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(ws)
    listener.bind("socket")
    os.chdir(here)
    names = ["fifo", "socket"]
    if os.geteuid() == 0:
        os.mknod(ws / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(ws / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        names += ["null", "zero"]
    begun = time.monotonic()
    for name in names:
        with pytest.raises(ToolError, match="not a regular file"):
            read_text(root, name)
        with pytest.raises(ToolError, match="not a regular file"):
            write_text(root, name, "x", QUOTA)
    reader = os.open(ws / "fifo", os.O_RDWR | os.O_NONBLOCK)  # with somebody at the other end too
    with pytest.raises(ToolError, match="not a regular file"):
        read_text(root, "fifo")
    with pytest.raises(ToolError, match="not a regular file"):
        write_text(root, "fifo", "x", QUOTA)
    os.close(reader)
    listener.close()
    assert time.monotonic() - begun < 2


def test_sparse_giants_are_read_in_part(root, ws):
    with (ws / "zeros").open("wb") as file:
        file.truncate(1 << 40)
    with (ws / "text").open("wb") as file:
        file.write(b"start\n" * 1_000_000)
        file.truncate(1 << 40)
    begun = time.monotonic()
    with pytest.raises(ToolError, match="not a text file"):
        read_text(root, "zeros")
    with pytest.raises(ToolError, match="not a text file"):
        read_text(root, "zeros", tail=3)
    text = read_text(root, "text")
    assert text.startswith("start\nstart")
    assert "the file has 1099511627776 bytes" in text
    assert time.monotonic() - begun < 5


def test_directories_with_many_entries(root, ws):
    for number in range(20_000):
        (ws / f"f{number:05}").touch()
    text = list_folder(root, ".")
    assert text.startswith("[FILE] f00000\n[FILE] f00001\n")
    assert "[... 19000 more entries." in text
    assert search(root, ".", "f1999?", []).count("\n") == 9


def test_deep_trees_are_walked_counted_and_removed(root, ws):
    deep = os.open(ws, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=deep)
        following = os.open("deeper", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = following
    os.close(os.open("bottom", os.O_CREAT, 0o600, dir_fd=deep))
    os.close(deep)
    (ws / "deeper" / "side").mkdir(mode=0o000)
    assert search(root, ".", "nothing", []) == "No matches found"
    assert "nested too deep" in (Quota().excess(root) or "")
    parent = os.open(ws, os.O_RDONLY)
    remove_tree(parent, "deeper")
    os.close(parent)
    assert os.listdir(ws) == []


def test_removal_copes_with_missing_permissions_and_links(tmp_path):
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "f").touch()
    (top / "a" / ".removed-0").mkdir()
    (top / ".removed-0").touch()
    (top / "out").symlink_to(tmp_path)
    (top / "a" / "b").chmod(0)
    (top / "a").chmod(0)
    parent = os.open(tmp_path, os.O_RDONLY)
    remove_tree(parent, "top")
    remove_tree(parent, "top")
    os.close(parent)
    assert os.listdir(tmp_path) == []


def test_quota_counts_bytes_on_disk_and_entries(root, ws):
    with (ws / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert Quota(bytes=MIB).excess(root) is None
    (ws / "full").write_bytes(b"x" * 2 * MIB)
    assert "more than 1 MB" in (Quota(bytes=MIB).excess(root) or "")
    assert "more than 1 files" in (Quota(entries=1).excess(root) or "")
    assert Quota(bytes=None, entries=None).excess(root) is None
    assert "disk is nearly full" in (Quota(reserve=1 << 60).excess(root) or "")
    with pytest.raises(ToolError, match="more than 1 MB"):
        write_text(root, "f", "x", Quota(bytes=MIB))


def test_no_directories_are_made_in_a_full_workspace(root, ws):
    (ws / "folder").mkdir()
    (ws / "f").touch()
    full = Quota(entries=1)
    with pytest.raises(ToolError, match="more than 1 files"):
        make_folders(root, "a/b", full)
    with pytest.raises(ToolError, match="more than 1 files"):
        move(root, "f", "a/f", full)
    make_folders(root, "folder", full)
    move(root, "f", "folder/f", full)
    assert sorted(os.listdir(ws)) == ["folder"]


def test_what_is_hidden_from_an_ordinary_server_is_too_much(root, ws, monkeypatch):
    (ws / "hidden").mkdir()
    opened = Root.open

    def refuse(self, path, flags, mode=0):
        if path == "hidden":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(self, path, flags, mode)

    monkeypatch.setattr(Root, "open", refuse)
    assert "may not be read" in (Quota().excess(root) or "")


def test_mounts_below_the_workspace_are_not_entered(tmp_path):
    """A workspace with something mounted in it: /proc as the stand-in, its own mounts below."""
    with contextlib.closing(Directory("/")) as top, pytest.raises(ToolError, match="outside"), told("proc/version"):
        Root(top).open("proc/version", os.O_RDONLY)


@pytest.mark.parametrize("attempt", [race.read_beneath, race.write_beneath])
def test_a_racing_link_never_escapes(root, tmp_path, attempt):
    with race.arena(tmp_path) as place:
        outcome = race.repeat(attempt, place, 1500)
    assert outcome.escaped == 0
    assert outcome.worked > 0
    assert outcome.refused > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("attempt", [race.read_beneath, race.write_beneath])
def test_a_racing_link_never_escapes_in_100_000_attempts(root, tmp_path, attempt):
    with race.arena(tmp_path) as place:
        outcome = race.repeat(attempt, place, 50_000)
    assert outcome.escaped == 0
    assert outcome.worked > 1000
    assert outcome.refused > 1000


def test_the_race_is_one_that_checking_first_loses(tmp_path):
    with race.arena(tmp_path) as place:
        for attempt in (race.read_checked, race.write_checked):
            assert any(race.repeat(attempt, place, 500).escaped for _ in range(100))


def test_openat2_is_used_here(tmp_path, monkeypatch):
    """The fallback must not be what this kernel gets by mistake."""
    probe = ctypes.CDLL(None, use_errno=True).syscall(437, -1, b".", None, 0)
    assert probe == -1
    if ctypes.get_errno() == errno.ENOSYS:
        pytest.skip("this kernel has no openat2")
    monkeypatch.setattr(beneath, "_walk", lambda *_: pytest.fail("the fallback was used"))
    with contextlib.closing(Directory(tmp_path)) as directory:
        os.close(Root(directory).open(".", os.O_RDONLY))


def test_a_directory_that_is_closed_keeps_its_number_while_it_is_used(tmp_path):
    directory = Directory(tmp_path)
    with directory.used() as fd, directory.used():
        directory.close()
        directory.close()
        with contextlib.closing(Directory("/")) as other, other.used() as another:
            assert another != fd
        assert os.path.samestat(os.fstat(fd), tmp_path.stat())
        with pytest.raises(ToolError, match="session has ended"):
            read_text(Root(directory), "secret")
    with pytest.raises(OSError):  # noqa: PT011
        os.fstat(fd)

"""Patches of several files: all of it happens, or nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from agenthost.tools import ToolError
from agenthost.tools.files import rename, transaction
from agenthost.tools.files.beneath import Root
from agenthost.tools.files.directory import Directory
from agenthost.tools.files.hunks import changed
from agenthost.tools.files.patch import apply_patch
from agenthost.tools.files.patch_format import parse
from agenthost.tools.files.usage import Quota
from agenthost.tools.files.versions import Versions
from agenthost.tools.files.write import write_text

pytestmark = pytest.mark.anyio
FREE = Quota(bytes=None, entries=None, reserve=0)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "ws").mkdir()
    directory = Directory(tmp_path / "ws")
    yield Root(directory)
    directory.close()


@pytest.fixture
def ws(root: Root, tmp_path: Path) -> Path:
    return tmp_path / "ws"


def patched(root: Root, *lines: str, **more: bool) -> str:
    return apply_patch(root, Versions(), "\n".join(["*** Begin Patch", *lines, "*** End Patch"]), FREE, **more)


def files(ws: Path) -> dict[str, str]:
    return {str(path.relative_to(ws)): path.read_text() for path in ws.rglob("*") if path.is_file()}


def test_a_patch_adds_updates_moves_and_deletes(root, ws):
    for name in ("a.py", "old.py", "gone.py"):
        (ws / name).write_text("one\ntwo\nthree\n")
    (ws / "old.py").chmod(0o755)
    text = patched(
        root,
        "*** Add File: deep/er/new.py",
        "+print(1)",
        "+",
        "*** Update File: a.py",
        " one",
        "-two",
        "+2",
        "*** Update File: old.py",
        "*** Move to: lib/new name.py",
        "@@",
        "-three",
        "+3",
        "*** Delete File: gone.py",
    )
    assert text == ("Success. Changed files:\nA deep/er/new.py\nM a.py\nR old.py -> lib/new name.py\nD gone.py")
    assert files(ws) == {
        "deep/er/new.py": "print(1)\n\n",
        "a.py": "one\n2\nthree\n",
        "lib/new name.py": "one\ntwo\n3\n",
    }
    assert stat.S_IMODE((ws / "lib/new name.py").stat().st_mode) == 0o755


def test_anchors_tell_equal_places_apart(root, ws):
    before = "class A:\n    def f(self):\n        pass\n\nclass B:\n    def f(self):\n        pass\n"
    (ws / "f").write_text(before)
    change = ["-        pass", "+        return 1"]
    with pytest.raises(ToolError, match=r"occur 2 times in f, on lines 3, 7\. Add more lines"):
        patched(root, "*** Update File: f", "@@", *change)
    patched(root, "*** Update File: f", "@@ class B:", "@@     def f(self):", *change)
    assert (ws / "f").read_text() == before[:-5] + "return 1\n"


def test_hunks_of_unified_diffs_and_pure_insertions_fit_too(root, ws):
    (ws / "f").write_text("one\ntwo\n")
    patched(root, "*** Update File: f", "@@ -1,2 +1,3 @@", " one", "+one and a half", "@@", "+three")
    assert (ws / "f").read_text() == "one\none and a half\ntwo\nthree\n"
    patched(root, "*** Update File: f", "@@ one", "+x")
    assert (ws / "f").read_text() == "one\nx\none and a half\ntwo\nthree\n"


def test_the_end_of_the_file_can_be_meant(root, ws):
    (ws / "f").write_text("x\ny\nx\n")
    patched(root, "*** Update File: f", "-x", "+z", "*** End of File")
    assert (ws / "f").read_text() == "x\ny\nz\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"one\r\ntwo\r\nthree\r\n", b"one\r\n2\r\nthree\r\n"),
        (b"\xef\xbb\xbfone\ntwo\nthree", b"\xef\xbb\xbfone\n2\nthree"),
        (b"one  \ntwo\t\nthree\n", b"one  \n2\nthree\n"),
        (b"  one\n  two\n  three\n", b"  one\n2\n  three\n"),
    ],
)
def test_line_ends_marks_and_white_space_of_other_lines_survive(root, ws, before, after):
    (ws / "f").write_bytes(before)
    patched(root, "*** Update File: f", " one", "-two", "+2", " three")
    assert (ws / "f").read_bytes() == after


def test_a_last_line_without_its_end_stays_so():
    hunks = parse("*** Begin Patch\n*** Update File: f\n-two\n+2\n*** End Patch")[0].hunks
    assert changed("one\ntwo", hunks, "f") == "one\n2"
    hunks = parse("*** Begin Patch\n*** Update File: f\n+one\n*** End Patch")[0].hunks
    assert changed("", hunks, "f") == "one\n"
    hunks = parse("*** Begin Patch\n*** Update File: f\n-one\n*** End Patch")[0].hunks
    assert changed("one\n", hunks, "f") == ""


def test_a_dry_run_shows_and_changes_nothing(root, ws):
    (ws / "f").write_text("one\n")
    text = patched(root, "*** Add File: d/g", "+new", "*** Update File: f", "-one", "+1", dry_run=True)
    assert "--- f\n+++ f\n@@ -1 +1 @@\n-one\n+1" in text
    assert files(ws) == {"f": "one\n"}
    assert os.listdir(ws) == ["f"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["*** Update File: a", "-none", "+x"], "do not occur in a"),
        (["*** Update File: a", "@@ none", "-one", "+x"], "the line `none` does not occur in a"),
        (["*** Update File: a", "-two", "+x", "@@", "-one", "+x"], "do not occur in a after line 2"),
        (["*** Update File: none", "-one", "+x"], "no such file: none"),
        (["*** Update File: a", "-one", "+x", "*** Update File: a", "-two", "+x"], "names a twice"),
        (["*** Update File: a", "-one", "+x", "*** Delete File: a"], "names a twice"),
        (["*** Update File: a", "*** Move to: b", "-one", "+x"], "b already exists"),
        (["*** Add File: b", "+x"], "b already exists"),
        (["*** Add File: d", "+x"], "d already exists"),
        (["*** Add File: ../x", "+x"], "outside the workspace"),
        (["*** Add File: a/x", "+x"], "no such directory"),
        (["*** Delete File: d"], "is a directory"),
        (["*** Delete File: none"], "no such file"),
        (["*** Delete File: ../secret"], "outside the workspace"),
        (["*** Update File: out", "-secret", "+x"], "outside the workspace"),
        (["*** Update File: readonly", "-one", "+x"], "permissions forbid"),
        (["*** Update File: binary", "-one", "+x"], "not a text file"),
        (["*** Update File: a", "one"], "line 5 of the patch is `one`, expected a line that starts with"),
        (["*** Update File: a", " one"], "without - or + lines"),
        (["*** Update File: a"], "without changing it"),
        (["*** Frobnicate: a"], "expected a line of the new file"),
        (["*** Add File: n", "x"], "expected a line of the new file"),
    ],
)
def test_one_part_that_does_not_fit_keeps_all_from_happening(root, ws, tmp_path, lines, problem):
    if os.geteuid() == 0 and "readonly" in lines[0]:
        pytest.skip("root may write read-only files")
    (tmp_path / "secret").write_text("secret\n")
    for name in ("a", "b", "readonly"):
        (ws / name).write_text("one\ntwo\n")
    (ws / "readonly").chmod(0o444)
    (ws / "binary").write_bytes(b"\0one\n")
    (ws / "out").symlink_to("../secret")
    (ws / "d").mkdir()
    before = files(ws)
    with pytest.raises(ToolError) as refused:
        patched(root, "*** Add File: new/file", "+first", *lines)
    assert problem in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    assert files(ws) == before
    assert sorted(os.listdir(ws)) == ["a", "b", "binary", "d", "out", "readonly"]


@pytest.mark.parametrize(
    "patch", ["", "x", "*** Begin Patch\n*** End Patch", "*** Begin Patch\nx\n*** End Patch", "\n"]
)
def test_what_is_no_patch_is_refused(root, patch):
    with pytest.raises(ToolError, match=r"\*\*\* (Begin Patch|Update File)"):
        apply_patch(root, Versions(), patch, FREE)


def test_links_are_followed_for_updates_and_deleted_themselves(root, ws):
    (ws / "f").write_text("one\n")
    (ws / "link").symlink_to("f")
    patched(root, "*** Update File: link", "-one", "+1")
    assert (ws / "f").read_text() == "1\n"
    assert (ws / "link").is_symlink()
    with pytest.raises(ToolError, match="changed by somebody else"):
        patched(root, "*** Update File: link", "-1", "+2", "*** Update File: f", "-1", "+3")
    assert (ws / "f").read_text() == "1\n"
    patched(root, "*** Delete File: link")
    assert os.listdir(ws) == ["f"]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("failing", range(1, 5))
def test_a_failure_in_the_middle_takes_back_what_was_done(root, ws, monkeypatch, failing, native):
    """The disk may refuse any rename: here the n-th one of four."""
    for name in ("a", "b", "gone"):
        (ws / name).write_text(f"{name}\n")
    before = files(ws)
    if not native:

        def unsupported(*arguments: object) -> None:
            raise OSError(errno.EINVAL, "not on this file system")

        monkeypatch.setattr(rename, "_renameat2", unsupported)
    switch, calls = transaction._Step.switch, 0

    def refuse(step: transaction._Step) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, "full")
        switch(step)

    monkeypatch.setattr(transaction._Step, "switch", refuse)
    with pytest.raises(ToolError, match="no space left"):
        patched(
            root,
            "*** Update File: a", "-a", "+1",
            "*** Delete File: gone",
            "*** Add File: new/c", "+c",
            "*** Update File: b", "-b", "+2",
        )  # fmt: skip
    assert files(ws) == before
    assert sorted(os.listdir(ws)) == ["a", "b", "gone"]


def test_without_renameat2_patches_work_too(root, ws, monkeypatch):
    def unsupported(*arguments: object) -> None:
        raise OSError(errno.EINVAL, "not on this file system")

    monkeypatch.setattr(rename, "_renameat2", unsupported)
    (ws / "a").write_text("a\n")
    (ws / "gone").write_text("x\n")
    patched(root, "*** Update File: a", "-a", "+1", "*** Delete File: gone", "*** Add File: c", "+c")
    assert files(ws) == {"a": "1\n", "c": "c\n"}


def test_what_somebody_writes_between_read_and_write_is_kept(root, ws, monkeypatch):
    (ws / "a").write_text("a\n")
    (ws / "b").write_text("b\n")
    prepare = transaction._Step.prepare

    def meanwhile(step: transaction._Step) -> None:
        prepare(step)
        if step.name == "b":
            (ws / "b").write_text("somebody else's\n")

    monkeypatch.setattr(transaction._Step, "prepare", meanwhile)
    with pytest.raises(ToolError, match="b was changed by somebody else meanwhile"):
        patched(root, "*** Update File: a", "-a", "+1", "*** Update File: b", "-b", "+2")
    assert files(ws) == {"a": "a\n", "b": "somebody else's\n"}


def test_quota_counts_before_a_patch_too(root, ws):
    (ws / "f").write_text("x" * 100_000)
    with pytest.raises(ToolError, match="nearly full"):
        apply_patch(root, Versions(), "*** Begin Patch\n*** Add File: g\n+x\n*** End Patch", Quota(reserve=1 << 60))
    with pytest.raises(ToolError, match="nearly full"):
        write_text(root, "g", "x", Quota(reserve=1 << 60))
    assert os.listdir(ws) == ["f"]


@pytest.mark.timeout(20)
async def test_hostile_lines_do_not_make_searching_slow(root, ws):
    (ws / "f").write_text("a\n" * 1_000_000)
    hunk = [*(["-a"] * 100_000), "-b"]
    with pytest.raises(ToolError, match="do not occur"):
        patched(root, "*** Update File: f", *hunk)

"""What the full set promises of its writes: nothing lost, nothing half done, nothing aimed at the wrong place."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys

import pytest
from agenthost.tools import ToolContext, default_tools

pytestmark = pytest.mark.anyio


@pytest.fixture
def offer(verdict, backend):
    return default_tools(verdict, files="full")


async def test_a_file_that_code_changed_after_it_was_read_is_not_overwritten(call):
    await call("write_file", path="f", content="one\n")
    await call("read_text_file", path="f")
    await call("python", code="open('f', 'a').write('two\\n')")
    refused = await call("write_file", path="f", content="mine\n")
    assert refused.text == "Error: f has changed since it was last read. Read it again before you change it."
    assert (await call("read_text_file", path="f")).text == "one\ntwo"
    assert not (await call("write_file", path="f", content="mine\n")).is_error


async def test_own_writes_and_files_never_read_are_no_surprise(call):
    await call("python", code="open('f', 'w').write('made by code')")
    for text in ("1", "2", "3"):
        assert not (await call("write_file", path="f", content=text)).is_error
        assert not (await call("edit_file", path="f", edits=[{"oldText": text, "newText": text * 2}])).is_error
    await call("python", code="import os; os.remove('f')")
    assert not (await call("write_file", path="f", content="again")).is_error


async def test_writes_and_edits_can_be_bound_to_a_version(call):
    version = (await call("write_file", path="f", content="one\n")).structured["version"]
    assert f"version: {version}" in (await call("get_file_info", path="f")).text
    assert (await call("read_text_file", path="f")).structured["version"] == version
    edit = [{"oldText": "one", "newText": "two"}]
    later = (await call("edit_file", path="f", edits=edit, ifVersion=version)).structured["version"]
    assert later != version
    edit = [{"oldText": "two", "newText": "three"}]
    for refused in (
        await call("edit_file", path="f", edits=edit, ifVersion=version),
        await call("write_file", path="f", content="x", ifVersion=version),
    ):
        assert refused.text == (
            f"Error: f is not in version {version}: its version is {later}. Read it again before you change it."
        )
    gone = await call("write_file", path="new/none", content="x", ifVersion=version)
    assert gone.text.startswith("Error: no such")
    assert (await call("list_directory", path=".")).text == "[FILE] f"
    assert "no such file" in (await call("write_file", path="none", content="x", ifVersion=version)).text


@pytest.mark.parametrize("files", ["core", "full"])
async def test_no_edit_of_many_at_once_is_lost(verdict, backend, session, files):
    registry = default_tools(verdict, files=files).registry
    names = [f"<{number:03}>" for number in range(100)]
    await registry.call("write_file", {"path": "f", "content": "\n".join(names)}, ToolContext(session))

    async def edit(name: str) -> str | None:
        edits = [{"oldText": name, "newText": name.replace("<", "[")}]
        result = await registry.call("edit_file", {"path": "f", "edits": edits}, ToolContext(session))
        return result.text if result.is_error else None

    assert set(await asyncio.gather(*map(edit, names))) == {None}
    assert (session.workspace / "f").read_text() == "\n".join(names).replace("<", "[")


async def test_edits_that_miss_say_where_they_might_have_meant(call):
    await call("write_file", path="f", content="def a():\n    x = 1\n\n\ndef b():\n    x = 1\n")
    twice = await call("edit_file", path="f", edits=[{"oldText": "    x = 1", "newText": "    x = 2"}])
    assert twice.text == (
        "Error: oldText occurs 2 times in f. Give more of the text around it so that it is unique. "
        "It starts on lines 2, 6. To replace all, set replaceAll."
    )
    spaces = await call("edit_file", path="f", edits=[{"oldText": "def b():\n  x = 1", "newText": ""}])
    assert spaces.text.endswith("Lines 5 to 6 differ from it in white space only:\ndef b():\n    x = 1")
    missing = await call("edit_file", path="f", edits=[{"oldText": "nowhere", "newText": ""}])
    assert missing.text == "Error: oldText does not occur in f. Read the file and copy the text exactly."
    every = await call("edit_file", path="f", edits=[{"oldText": "x = 1", "newText": "x = 2", "replaceAll": True}])
    assert every.text.count("+    x = 2") == 2
    assert (await call("edit_file", path="f", edits=[{"oldText": " ", "newText": ""}])).is_error


FULL = """
mount -t tmpfs -o size=256k,nr_inodes=64 none "$1" && cd "$1" && exec "$2" -c '
import os, sys
from agenthost.tools import ToolError
from agenthost.tools.files.beneath import Root
from agenthost.tools.files.directory import Directory
from agenthost.tools.files.patch import apply_patch
from agenthost.tools.files.usage import Quota
from agenthost.tools.files.versions import Versions
from agenthost.tools.files.write import write_text

root, free = Root(Directory(".")), Quota(None, None, 0)
write_text(root, "kept", "kept\\n", free)
refused = []
big = "x" * 200_000
write_text(root, "big", big, free)
for attempt in (
    lambda: write_text(root, "kept", big, free),
    lambda: write_text(root, "new", big, free),
    lambda: apply_patch(root, Versions(), "*** Begin Patch\\n*** Update File: kept\\n-kept\\n+1\\n*** Add File: d/n\\n+"
                        + big + "\\n*** End Patch", free),
):
    try:
        attempt()
    except ToolError as error:
        refused.append(str(error))
print(refused)
print(open("kept").read(), sorted(os.listdir(".")))
'
"""


def test_a_full_disk_is_said_and_leaves_everything_as_it_was(tmp_path):
    """A real one: a small tmpfs in a mount namespace of its own."""
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *as_user, "--mount", "sh", "-ec", FULL, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused, left = done.stdout.splitlines()[0], done.stdout.split("\n", 1)[1]
    assert refused.count("there is no space left for") == 3
    assert left == "kept\n ['big', 'kept']\n"


@pytest.mark.timeout(20)
async def test_arguments_that_grow_without_end_are_refused(call):
    await call("write_file", path="f", content="a" * 1000)
    doubling = [{"oldText": "a", "newText": "aa", "replaceAll": True}] * 60
    refused = await call("edit_file", path="f", edits=doubling)
    assert refused.text.startswith("Error: f would have more than 16777216 characters. Use python")
    assert (await call("edit_file", path="f", edits=[{"oldText": "b", "newText": "c"}] * 1001)).text == (
        "Error: there are 1001 edits, more than 1000. Make them in several calls."
    )
    anchors = "\n".join(["@@ a"] * 2000)
    patch = f"*** Begin Patch\n*** Update File: f\n{anchors}\n-a\n+b\n*** End Patch"
    assert "more than 1000 changes" in (await call("apply_patch", patch=patch)).text


async def test_diffs_of_long_files_show_what_changed_and_nothing_else(call):
    lines = ["a", "b"] * 50_000
    await call("write_file", path="f", content="\n".join([*lines, "unique", *lines, "end"]))
    shown = await call("edit_file", path="f", edits=[{"oldText": "unique", "newText": "one\ntwo"}])
    assert shown.text == "--- f\n+++ f\n@@ -100000,3 +100000,4 @@\n b\n-unique\n+one\n+two\n a"
    shown = await call("edit_file", path="f", edits=[{"oldText": "end", "newText": "END"}])
    assert shown.text == "--- f\n+++ f\n@@ -200002,2 +200002,2 @@\n b\n-end\n+END"
    shown = await call("edit_file", path="f", edits=[{"oldText": "a", "newText": "A", "replaceAll": True}])
    assert shown.text == "(from line 1 on, 200002 lines became 200002: too many to show)"


async def test_two_hundred_calls_at_once_are_all_answered_and_leave_nothing_open(call, session):
    await call("write_file", path="f", content="text\n")
    gc.collect()  # what earlier tests left is closed now, not in between
    before = len(os.listdir("/proc/self/fd"))
    kinds = [
        ("read_text_file", {"path": "f"}),
        ("write_file", {"path": "g", "content": "x"}),
        ("grep", {"pattern": "text"}),
        ("glob", {"pattern": "*"}),
        ("read_text_file", {"path": "none"}),
        ("apply_patch", {"patch": "*** Begin Patch\n*** Update File: f\n text\n+more\n*** End Patch"}),
        ("directory_tree", {"path": "."}),
        ("edit_file", {"path": "g", "edits": [{"oldText": "x", "newText": "y"}]}),
    ]
    results = await asyncio.gather(*(call(name, **arguments) for name, arguments in kinds * 25))
    assert all(result.text for result in results)
    assert not any(result.is_error for result in results[0::8] + results[5::8])
    assert (session.workspace / "f").read_text() == "text\n" + "more\n" * 25
    assert sorted(os.listdir(session.workspace)) == ["f", "g"]
    assert len(os.listdir("/proc/self/fd")) == before

"""`write_file` and `edit_file` of the full set: they notice what others wrote meanwhile, and help to aim edits."""

from __future__ import annotations

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .edit import Edit, apply_edit, as_file, diff, read_for_edits
from .folders import make_folders
from .full_specs import EDIT_FILE, WRITE_FILE
from .lineup import Lineup
from .result import content, in_turn, versions
from .specs import wrote
from .transaction import Change, commit
from .usage import Quota
from .versions import Versions, version
from .write import encoded, final, present


class CheckedWriteFile(Tool):
    spec = WRITE_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        path, text, wanted = arguments["path"], arguments["content"], arguments.get("ifVersion")
        known, quota = versions(context), context.session.quota
        after = await in_turn(context, write_checked, known, path, text, quota, wanted)
        return content(wrote(path), version=after)


class CheckedEditFile(Tool):
    spec = EDIT_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        path, wanted, dry_run = arguments["path"], arguments.get("ifVersion"), arguments.get("dryRun", False)
        edits = [Edit(edit["oldText"], edit["newText"], edit.get("replaceAll", False)) for edit in arguments["edits"]]
        known, quota = versions(context), context.session.quota
        shown, after = await in_turn(context, edit_checked, known, path, edits, quota, wanted, dry_run=dry_run)
        return content(shown, version=after)


def write_checked(root: Root, known: Versions, path: str, text: str, quota: Quota, wanted: str | None) -> str:
    """Create or replace a text file. Returns its new version.

    Raises:
        ToolError: as `write_text`, or the file is not as it was last seen.
    """
    inner, data = clean(path), encoded(text)
    if wanted is None and (folder := inner.rpartition("/")[0]):
        make_folders(root, folder, quota)
    with told(path), final(root, inner) as (folder_fd, name):
        before = present(root, folder_fd, name, path)
    known.check(inner, before, wanted)
    if excess := quota.excess(root):
        raise ToolError(excess)
    return _commit(root, known, Change(inner, before, data))


def edit_checked(
    root: Root, known: Versions, path: str, edits: list[Edit], quota: Quota, wanted: str | None, *, dry_run: bool
) -> tuple[str, str]:
    """Apply ``edits`` one after the other. Returns a unified diff and the file's version.

    Raises:
        ToolError: as `edit_text`, or the file is not in the ``wanted`` version. Then nothing is written. That it has
            changed since it was read does not matter here: the text to replace says what is expected.
    """
    inner = clean(path)
    found = read_for_edits(root, path, edits)
    if wanted is not None:
        known.check(inner, found.status, wanted)
    after = found.text
    for edit in edits:
        try:
            after = apply_edit(after, edit, path)
        except ToolError as error:
            raise ToolError(f"{error}{_hint(after, edit.old)}") from None
    shown = diff(found.text, after, path)
    if dry_run or after == found.text:
        return shown, version(found.status)
    if excess := quota.excess(root):
        raise ToolError(excess)
    return shown, _commit(root, known, Change(inner, found.status, as_file(after, found)))


def _commit(root: Root, known: Versions, change: Change) -> str:
    (after,) = commit(root, [change])
    assert after is not None
    known.saw(change.path, after)
    return version(after)


def _hint(text: str, old: str) -> str:
    """Where the text that an edit names is, or what is nearly it."""
    lines, wanted = text.split("\n"), old.strip("\n").split("\n")
    if not old.strip():
        return ""
    if old in text:
        starts: list[int] = []
        at = text.find(old)
        while at >= 0 and len(starts) < 10:
            starts.append(text.count("\n", 0, at) + 1)
            at = text.find(old, at + 1)
        return f" It starts on lines {', '.join(map(str, starts))}. To replace all, set replaceAll."
    close = Lineup(lines).find(wanted)
    if not close:
        return ""
    first, last = close[0] + 1, close[0] + len(wanted)
    there = "\n".join(lines[close[0] : last])
    return f" Lines {first} to {last} differ from it in white space only:\n{there[:2000]}"

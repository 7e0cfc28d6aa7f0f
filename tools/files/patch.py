"""`apply_patch`: changes to several files, all or none of them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .edit import as_file, diff
from .folders import make_folders
from .full_specs import APPLY_PATCH
from .hunks import changed
from .patch_format import FilePatch, parse
from .result import content, in_turn, versions
from .specs import already_exists, not_a_file
from .text import READ_LIMIT, SHOWN, read_start
from .transaction import Change, commit
from .usage import Quota
from .versions import Versions
from .write import WRITE_LIMIT, encoded

_MOST = 100  # files of one patch


class ApplyPatch(Tool):
    spec = APPLY_PATCH

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        known, quota = versions(context), context.session.quota
        dry_run = arguments.get("dryRun", False)
        return content(await in_turn(context, apply_patch, known, arguments["patch"], quota, dry_run=dry_run))


@dataclass(frozen=True)
class _Plan:
    """What one part of the patch does: its line of the result, a diff, and the changes."""

    summary: str
    diff: str
    changes: list[Change]


def apply_patch(root: Root, known: Versions, patch: str, quota: Quota, *, dry_run: bool = False) -> str:
    """Returns what was done, a file a line; the diff instead for a dry run.

    Raises:
        ToolError: the patch cannot be read, or some part of it does not fit its file. Then nothing has changed.
    """
    try:
        patch.encode()
    except UnicodeEncodeError:
        raise ToolError("the patch is not valid Unicode text: it has lone surrogates. Remove them.") from None
    files = parse(patch)
    if len(files) > _MOST:
        raise ToolError(f"the patch changes {len(files)} files, more than {_MOST}. Split it.")
    plans = [_plan(root, file) for file in files]
    changes = [change for plan in plans for change in plan.changes]
    _check_distinct(changes)
    if sum(len(change.data or b"") for change in changes) > WRITE_LIMIT:
        raise ToolError(f"the patched files have more than {WRITE_LIMIT} bytes together. Split the patch.")
    if dry_run:
        shown = "\n".join(plan.diff for plan in plans)
        return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}\n[... the rest of the diff is left out]"
    if excess := quota.excess(root):
        raise ToolError(excess)
    _commit(root, known, changes)
    return "\n".join(["Success. Changed files:", *(plan.summary for plan in plans)])


def _plan(root: Root, file: FilePatch) -> _Plan:
    path = clean(file.path)
    match file.kind:
        case "add":
            text = "".join(f"{line}\n" for line in file.content)
            _must_be_free(root, path)
            return _Plan(f"A {path}", diff("", text, path), [Change(path, None, encoded(text))])
        case "delete":
            return _Plan(f"D {path}", f"(delete {path})", [Change(path, _entry(root, path), None)])
        case "update":
            return _plan_update(root, path, file)


def _plan_update(root: Root, path: str, file: FilePatch) -> _Plan:
    found = read_start(root, path)
    if not found.complete:
        raise ToolError(f"{path} has more than {READ_LIMIT} bytes. Use python to change it.")
    text = changed(found.text, file.hunks, path)
    data = as_file(text, found)
    if file.move_to is None:
        return _Plan(f"M {path}", diff(found.text, text, path), [Change(path, found.status, data)])
    new = clean(file.move_to)
    _must_be_free(root, new)
    moved = [
        Change(path, _entry(root, path), None),
        Change(new, None, data, stat.S_IMODE(found.status.st_mode) & 0o777),
    ]
    return _Plan(f"R {path} -> {new}", f"(move {path} to {new})\n{diff(found.text, text, new)}", moved)


def _commit(root: Root, known: Versions, changes: list[Change]) -> None:
    """Make the changes, and the directories that they need; these too go away when it fails."""
    made: list[str] = []
    try:
        for change in changes:
            if change.before is None and (folder := change.path.rpartition("/")[0]):
                made += make_folders(root, folder)
        after = commit(root, changes)
    except BaseException:
        for folder in reversed(made):
            _remove_empty(root, folder)
        raise
    for change, status in zip(changes, after, strict=True):
        if status:
            known.saw(change.path, status)


def _entry(root: Root, path: str) -> os.stat_result:
    """Stat of a file or link that is to be deleted."""
    with told(path), root.parent(path) as (folder, name):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        raise ToolError(not_a_file(path))
    return status


def _must_be_free(root: Root, path: str) -> None:
    try:
        fd = root.open(path, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        with told(path):
            raise error
    os.close(fd)
    raise ToolError(already_exists(path))


def _check_distinct(changes: list[Change]) -> None:
    paths = [change.path for change in changes]
    for path in paths:
        if paths.count(path) > 1:
            raise ToolError(f"the patch names {path} twice. Put all changes of a file into one part.")


def _remove_empty(root: Root, folder: str) -> None:
    try:
        with root.parent(folder) as (parent, name), root.acting():
            os.rmdir(name, dir_fd=parent)
    except (OSError, ToolError):  # somebody uses it already
        return

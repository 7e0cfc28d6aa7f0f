"""`edit_file`: exact replacements, all or none of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .result import content, in_turn
from .specs import EDIT_FILE, text_not_found, text_not_unique
from .text import READ_LIMIT, SHOWN, Content, read_start
from .usage import Quota
from .write import replace

_BOM = "\ufeff"


@dataclass(frozen=True)
class Edit:
    old: str
    new: str
    every: bool = False  # replace all occurrences, not the only one


class EditFile(Tool):
    spec = EDIT_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        edits = [Edit(edit["oldText"], edit["newText"]) for edit in arguments["edits"]]
        dry_run = arguments.get("dryRun", False)
        quota = context.session.quota
        return content(await in_turn(context, edit_text, arguments["path"], edits, quota, dry_run=dry_run))


def edit_text(root: Root, path: str, edits: list[Edit], quota: Quota, *, dry_run: bool = False) -> str:
    """Apply ``edits`` one after the other and write the file at once. Returns a unified diff.

    Raises:
        ToolError: a text does not occur exactly once; then nothing is written.
    """
    inner = clean(path)
    found = read_start(root, path)
    if not found.complete:
        raise ToolError(f"{path} has more than {READ_LIMIT} bytes. Use python to change it.")
    before = after = found.text
    for edit in edits:
        after = apply_edit(after, edit, path)
    shown = diff(before, after, path)
    if dry_run or before == after:
        return shown
    if excess := quota.excess(root):
        raise ToolError(excess)
    data = as_file(after, found)
    with told(path):
        replace(root, inner, data)
    return shown


def as_file(text: str, was: Content) -> bytes:
    """The bytes of an edited file. Raises ToolError: it is not valid Unicode."""
    try:
        return (_BOM + text if was.bom else text).encode()
    except UnicodeEncodeError:
        raise ToolError("newText is not valid Unicode text: it has lone surrogates. Remove them.") from None


def apply_edit(text: str, edit: Edit, path: str) -> str:
    """``text`` after one edit. Raises ToolError: ``old`` does not occur, or not once where only one may be meant."""
    if not edit.old:
        raise ToolError("oldText is empty. Give the text to replace.")
    old, new = edit.old, edit.new
    if old not in text and "\r\n" in text and "\r" not in old:  # models write \n; the file's line ends stay
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    count = text.count(old)
    if count == 0:
        raise ToolError(text_not_found(path))
    if not edit.every and (count > 1 or text.find(old, text.find(old) + 1) >= 0):
        raise ToolError(text_not_unique(path, max(count, 2)))
    return text.replace(old, new)


def diff(before: str, after: str, path: str) -> str:
    """A unified diff with one line of context, as far as one result shows."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm="", n=1)
    text = "\n".join(lines) or "(no changes)"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}\n[... the rest of the diff is left out]"

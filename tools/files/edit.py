"""`edit_file`: exact replacements, all or none of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .result import content, in_turn
from .specs import EDIT_FILE, text_not_found, text_not_unique
from .text import READ_LIMIT, SHOWN, Content, read_start
from .usage import Quota
from .write import WRITE_LIMIT, replace

_BOM = "\ufeff"
_EDITS = 1000  # of one call
_COMPARED = 200  # lines above which difflib guesses, and further up takes long
_LARGEST_CHANGE = 2000  # lines of one change that are compared
_PLACE = re.compile(r"(?<=[-+])\d+")


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
    found = read_for_edits(root, path, edits)
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


def read_for_edits(root: Root, path: str, edits: list[Edit]) -> Content:
    """The whole file. Raises ToolError: it is too large, or there are too many edits."""
    if len(edits) > _EDITS:
        raise ToolError(f"there are {len(edits)} edits, more than {_EDITS}. Make them in several calls.")
    found = read_start(root, path)
    if not found.complete:
        raise ToolError(f"{path} has more than {READ_LIMIT} bytes. Use python to change it.")
    return found


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
    if len(text) + count * (len(new) - len(old)) > WRITE_LIMIT:
        raise ToolError(f"{path} would have more than {WRITE_LIMIT} characters. Use python to change it.")
    return text.replace(old, new)


def diff(before: str, after: str, path: str) -> str:
    """A unified diff with one line of context, as far as one result shows."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) <= _COMPARED:
        lines: Iterable[str] = difflib.unified_diff(old, new, path, path, lineterm="", n=1)
    else:
        lines = _diff_of_change(old, new, path)
    text = "\n".join(lines) or "(no changes)"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}\n[... the rest of the diff is left out]"


def _diff_of_change(old: list[str], new: list[str], path: str) -> Iterator[str]:
    """The same, comparing only from the first line that differs to the last one."""
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    end = next((at for at in range(shorter - start) if old[-1 - at] != new[-1 - at]), shorter - start)
    start, end = max(0, start - 1), max(0, end - 1)  # a line of context on both sides
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(old), len(new)) > _LARGEST_CHANGE:
        yield f"(from line {start + 1} on, {len(old)} lines became {len(new)}: too many to show)"
        return
    for line in difflib.unified_diff(old, new, path, path, lineterm="", n=1):
        yield _PLACE.sub(lambda at: str(int(at[0]) + start), line) if line.startswith("@@") else line

"""Patches of several files in the V4A format, as coding models are trained to write them::

    *** Begin Patch
    *** Update File: path
    *** Move to: new path            (optional)
    @@ line before the change        (optional, where the lines alone are not unique)
     context
    -old
    +new
    *** End of File                  (optional: the lines above are the file's last ones)
    *** Add File: path
    +content
    *** Delete File: path
    *** End Patch

Only the format is known here, nothing of files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from ..errors import ToolError

_BEGIN, _END, _EOF = "*** Begin Patch", "*** End Patch", "*** End of File"
_MOVE = "*** Move to: "
_HEADERS: dict[str, Literal["add", "delete", "update"]] = {
    "*** Add File: ": "add",
    "*** Delete File: ": "delete",
    "*** Update File: ": "update",
}
_HUNKS = 1000  # of one patch, with their @@ lines
_NUMBERS = re.compile(r"-\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?")  # of unified diffs: models mix them in


@dataclass
class Hunk:
    """Lines of a file that change.

    Args:
        number: line of the patch at which it starts, for errors.
        anchors: lines that come before it, from outer to inner.
        lines: (" ", "-" or "+", text).
        at_end: the old lines are the file's last ones.
    """

    number: int
    anchors: list[str] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    at_end: bool = False

    @property
    def old(self) -> list[str]:
        return [text for sign, text in self.lines if sign != "+"]


@dataclass
class FilePatch:
    """What becomes of one file; ``content`` is of a file that is added."""

    kind: Literal["add", "delete", "update"]
    path: str
    number: int
    move_to: str | None = None
    content: list[str] = field(default_factory=list)
    hunks: list[Hunk] = field(default_factory=list)


def parse(patch: str) -> list[FilePatch]:
    """Raises ToolError: it is not such a patch; the message names the line."""
    lines = [line.removesuffix("\r") for line in patch.strip("\r\n").split("\n")]
    if lines[0].strip() != _BEGIN or lines[-1].strip() != _END:
        raise ToolError(f"a patch starts with the line `{_BEGIN}` and ends with the line `{_END}`. Write both.")
    files: list[FilePatch] = []
    for number, line in enumerate(lines[1:-1], start=2):
        header = next((start for start in _HEADERS if line.startswith(start)), None)
        if header:
            files.append(FilePatch(_HEADERS[header], line[len(header) :].strip(), number))
        elif not files:
            if line.strip():
                raise _wrong(number, line, "a line such as `*** Update File: path`")
        else:
            _add_line(files[-1], number, line)
    if sum(1 + len(hunk.anchors) for file in files for hunk in file.hunks) > _HUNKS:
        raise ToolError(f"the patch has more than {_HUNKS} changes. Split it.")
    if not files:
        raise ToolError("the patch changes no file. Add a line such as `*** Update File: path`.")
    for file in files:
        _finish(file)
    return files


def _add_line(file: FilePatch, number: int, line: str) -> None:
    match file.kind:
        case "delete":
            if line.strip():
                raise _wrong(number, line, "the next file: a deleted one has no lines")
        case "add":
            if line.startswith("+"):
                file.content.append(line[1:])
            elif line.strip():
                raise _wrong(number, line, "a line of the new file, which starts with +")
        case "update":
            _add_hunk_line(file, number, line)


def _add_hunk_line(file: FilePatch, number: int, line: str) -> None:
    hunks = file.hunks
    if line.startswith(_MOVE) and not hunks:
        file.move_to = line[len(_MOVE) :].strip()
    elif line.startswith("@@"):
        anchor = _NUMBERS.sub("", line[2:].strip(), count=1)
        if not hunks or hunks[-1].lines:
            hunks.append(Hunk(number))
        if anchor and anchor != "@@":
            hunks[-1].anchors.append(anchor)
    elif line.strip() == _EOF and hunks:
        hunks[-1].at_end = True
    elif line == "" or line[0] in " -+":
        if not hunks:
            if not line:
                return
            hunks.append(Hunk(number))
        hunks[-1].lines.append((line[:1] or "", line[1:]))
    else:
        raise _wrong(number, line, "a line that starts with a space (context), - (old) or + (new)")


def _finish(file: FilePatch) -> None:
    """Empty lines without a space are context between other lines, and nothing at the end of a hunk."""
    for hunk in file.hunks:
        while hunk.lines and hunk.lines[-1][0] == "":
            hunk.lines.pop()
        hunk.lines = [(sign or " ", text) for sign, text in hunk.lines]
        if all(sign == " " for sign, _ in hunk.lines):
            raise ToolError(f"line {hunk.number} of the patch starts a change without - or + lines. Add them.")
    if file.kind == "update" and not file.hunks and file.move_to is None:
        raise ToolError(f"line {file.number} of the patch updates a file without changing it. Add - and + lines.")


def _wrong(number: int, line: str, expected: str) -> ToolError:
    return ToolError(f"line {number} of the patch is `{line[:100]}`, expected {expected}. Correct it.")

"""A file's text after the hunks of a patch: where each belongs, and what it leaves alone."""

from __future__ import annotations

from ..errors import ToolError
from .lineup import Lineup
from .patch_format import Hunk


def changed(text: str, hunks: list[Hunk], path: str) -> str:
    """``text`` with all hunks applied, in order. Lines that do not change keep their ends and white space.

    Raises:
        ToolError: a hunk's lines do not occur after the hunk before, or more than once without a line to tell which.
    """
    lines = text.split("\n")
    closed = lines[-1] == ""  # the last line has its line feed, or there is none
    if closed:
        lines.pop()
    end = "\r" if lines and lines[0].endswith("\r") else ""
    lineup = Lineup(lines)
    result: list[str] = []
    at = 0
    for hunk in hunks:
        place = _place(lineup, hunk, at, path)
        result += lines[at:place]
        at = place
        for sign, line in hunk.lines:
            if sign == "+":
                result.append(line + end)
            else:
                if sign == " ":
                    result.append(lines[at])
                at += 1
    result += lines[at:]
    if not result:
        return ""
    return "\n".join(result) + ("\n" if closed else "")


def _place(lineup: Lineup, hunk: Hunk, start: int, path: str) -> int:
    """Index of the first old line."""
    for anchor in hunk.anchors:
        found = lineup.find([anchor], start)
        if not found:
            raise ToolError(f"the line `{anchor[:200]}` does not occur in {path}{_after(start)}. {_READ}")
        start = found[0] + 1
    old = hunk.old
    if not old:
        return start if hunk.anchors and not hunk.at_end else len(lineup.lines)
    if hunk.at_end:
        last = len(lineup.lines) - len(old)
        found = lineup.find(old, max(last, start)) if last >= start else []
    else:
        found = lineup.find(old, start)
    if not found:
        where = " at its end" if hunk.at_end else _after(start)
        shown = "\n".join(old)[:1000]
        raise ToolError(f"these lines do not occur in {path}{where}. {_READ}\n{shown}")
    if len(found) > 1 and not hunk.anchors:
        numbers = ", ".join(str(index + 1) for index in found)
        raise ToolError(
            f"the lines of the change on line {hunk.number} of the patch occur {len(found)} times in {path}, on lines "
            f"{numbers}. Add more lines around them, or `@@` and a line before them."
        )
    return found[0]


_READ = "Read the file and copy its lines exactly."


def _after(start: int) -> str:
    return f" after line {start}" if start else ""

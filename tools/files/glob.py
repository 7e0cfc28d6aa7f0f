"""Glob patterns over relative paths: ``*`` and ``?`` within a name, ``[...]``, ``**`` for any number of directories.

Written for hostile patterns: matching takes at most (pattern parts x path parts) name matches, each of them without
backtracking (`fnmatch.translate` makes atomic groups).
"""

from __future__ import annotations

import fnmatch
import re

from ..errors import ToolError

_LONGEST = 500


class Glob:
    """One pattern. Without a slash it matches the last name at any depth, with one the whole path.

    Args:
        whole: the pattern is of the whole path even without a slash.

    Raises:
        ToolError: the pattern is empty, too long, absolute, or has ``..``.
    """

    def __init__(self, pattern: str, *, whole: bool = False) -> None:
        if not pattern or len(pattern) > _LONGEST or "\0" in pattern:
            raise ToolError(f"the pattern must have 1 to {_LONGEST} characters. Use one such as *.txt.")
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        if pattern.startswith("/") or ".." in parts or not parts:
            raise ToolError("the pattern must be relative and without `..`. Use one such as *.txt.")
        if not whole and len(parts) == 1 and parts != ["**"]:
            parts = ["**", *parts]
        self._parts = [None if part == "**" else name_pattern(part) for part in parts]

    def matches(self, path: str) -> bool:
        """Whether ``path``, relative to where the search starts, fits."""
        parts = self._parts
        reached = _skip_any(parts, {0})  # positions in the pattern that the names so far lead to
        for name in path.split("/"):
            step: set[int] = set()
            for at in reached:
                if at == len(parts):
                    continue
                part = parts[at]
                if part is None:
                    step.add(at)
                elif part.match(name):
                    step.add(at + 1)
            reached = _skip_any(parts, step)
        return len(parts) in reached


def name_pattern(part: str) -> re.Pattern[str]:
    """For one name of a path. Raises ToolError: it cannot be read."""
    try:
        return re.compile(fnmatch.translate(part))
    except (re.error, RecursionError, OverflowError) as error:
        raise ToolError("the pattern cannot be read. Use one such as *.txt.") from error


def _skip_any(parts: list[re.Pattern[str] | None], reached: set[int]) -> set[int]:
    """``**`` may stand for no directory at all."""
    more = set(reached)
    for at in sorted(reached):
        while at < len(parts) and parts[at] is None:
            at += 1
            more.add(at)
    return more

"""The files that `glob` and `grep` look at, and the entries that `search_files` does."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .beneath import Root, clean, told
from .glob import Glob
from .ignore import Ignored
from .specs import no_such_directory
from .walk import walk

_WALKED = 200_000  # entries that one search looks at


@dataclass
class Search:
    """What is below ``path``, as it is found; links are not followed.

    Args:
        path: a directory, as the model wrote it.
        pattern: only what matches; None for all.
        excludes: patterns of files and directories to leave out.
        ignored: also what .gitignore names, and .git.
        seconds: for which it looks.

    Attributes:
        cut: the search ended before all was looked at.
    """

    root: Root
    path: str
    pattern: str | None = None
    excludes: tuple[str, ...] = ()
    ignored: bool = False
    seconds: float = 15.0
    cut: bool = False

    def files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """The regular files among :meth:`entries`."""
        return ((found, entry) for found, entry in self.entries() if entry.is_file(follow_symlinks=False))

    def entries(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """(path relative to the workspace, entry). Raises ToolError: no such directory, or a bad pattern."""
        start = clean(self.path)
        wanted = Glob(self.pattern) if self.pattern is not None else None
        unwanted = [Glob(exclude) for exclude in self.excludes[:50]]
        ignored = None if self.ignored else Ignored(self.root)
        prefix = 0 if start == "." else len(start) + 1
        deadline = time.monotonic() + self.seconds

        def skip(found: str, entry: os.DirEntry[str]) -> bool:
            if ignored and ignored(found, entry):
                return True
            return any(glob.matches(found[prefix:]) for glob in unwanted)

        with told(self.path, missing=no_such_directory(self.path)):
            for walked, (found, entry) in enumerate(walk(self.root, start, skip=skip)):
                if walked == _WALKED or time.monotonic() > deadline:
                    self.cut = True
                    return
                if wanted is None or wanted.matches(found[prefix:]):
                    yield found, entry

    @property
    def note(self) -> str:
        """A line for the end of a result that is not complete, or an empty text."""
        if not self.cut:
            return ""
        return "\n[The search was cut short: there are too many files. Start from a directory further down.]"

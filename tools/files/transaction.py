"""Several files changed together or not at all.

Everything that can fail early does: the new contents are written beside the old ones first. Then the names are swapped,
one after the other; each old file is kept under a spare name and looked at once more, so that what somebody wrote in
between is noticed and nothing of it is lost. The first failure swaps back what was done.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from ..errors import ToolError
from .beneath import Root, told
from .rename import exchange, rename_new, spare_name
from .versions import version
from .write import final, present, stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What becomes of one file.

    Args:
        path: cleaned.
        before: stat of the file as it was read; None: there must be none.
        data: the new content; None deletes the file.
        mode: permission bits; None for those of the file that is replaced, or the usual ones.
    """

    path: str
    before: os.stat_result | None
    data: bytes | None
    mode: int | None = None


def commit(root: Root, changes: list[Change]) -> list[os.stat_result | None]:
    """Make all changes. Returns the new files' stats, None for deleted ones.

    Raises:
        ToolError: one cannot be made, or its file is not any more as it was read. Then none is made.
    """
    steps: list[_Step] = []
    with ExitStack() as stack:
        try:
            for change in changes:
                with told(change.path):
                    opened = root.parent(change.path) if change.data is None else final(root, change.path)
                    steps.append(_Step(root, *stack.enter_context(opened), change))
                    steps[-1].prepare()
            for step in steps:
                with told(step.change.path):
                    step.switch()
            return [step.after for step in steps]
        except BaseException:
            for step in reversed(steps):
                step.undo()
            raise
        finally:
            for step in steps:
                step.clear()


class _Step:
    """One change in its open directory. ``spare`` names the new file before the switch and the old one after it."""

    def __init__(self, root: Root, folder: int, name: str, change: Change) -> None:
        self.root, self.folder, self.name, self.change = root, folder, name, change
        self.spare = spare_name(name)
        self.after: os.stat_result | None = None
        self._switched = self._precious = False

    def prepare(self) -> None:
        """Write the new content under the spare name."""
        if self.change.data is None:
            return
        found = present(self.root, self.folder, self.name, self.change.path)
        mode = found.st_mode & 0o777 if self.change.mode is None and found else self.change.mode
        with self.root.acting():
            self.after = stage(self.folder, self.spare, mode, self.change.data)

    def switch(self) -> None:
        with self.root.acting():
            if self.change.before is None:
                rename_new(self.folder, self.spare, self.folder, self.name)
                self._switched = True
                return
            self._swap()
            self._switched = True
            old = os.stat(self.spare, dir_fd=self.folder, follow_symlinks=False)
        if version(old) != version(self.change.before):
            raise ToolError(f"{self.change.path} was changed by somebody else meanwhile. Read it again and try again.")

    def undo(self) -> None:
        """Take the switch back. What cannot be put back stays under its spare name."""
        if not self._switched:
            return
        try:
            with self.root.acting():
                if self.change.before is not None and self.change.data is not None:
                    exchange(self.folder, self.spare, self.name)
                elif self.change.data is None:
                    rename_new(self.folder, self.spare, self.folder, self.name)
                else:
                    rename_new(self.folder, self.name, self.folder, self.spare)
        except OSError as error:
            self._precious = True
            log.warning("a file change could not be undone, the old file is %s: %s", self.spare, error)

    def clear(self) -> None:
        if not self._precious:
            with suppress(OSError), self.root.acting():
                os.unlink(self.spare, dir_fd=self.folder)

    def _swap(self) -> None:
        if self.change.data is None:
            rename_new(self.folder, self.name, self.folder, self.spare)
        else:
            exchange(self.folder, self.spare, self.name)

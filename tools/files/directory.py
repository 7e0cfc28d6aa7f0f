"""An open directory that threads work in: what uses its descriptor keeps the number from becoming another file's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ToolError


class Directory:
    """
    Args:
        path: as the server sees it. Raises OSError.
        follow: it may be a link.
    """

    def __init__(self, path: str | Path, *, follow: bool = True) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
        self._users = 0
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def used(self) -> Iterator[int]:
        """The descriptor, which stays open as long as this lasts.

        Raises:
            ToolError: the directory is closed.
        """
        with self._lock:
            if self._closed:
                raise ToolError("the session has ended, and its workspace is closed. Start a new one.")
            self._users += 1
        try:
            yield self._fd
        finally:
            with self._lock:
                self._users -= 1
                self._close_unused()

    def close(self) -> None:
        """Nobody can use it from now on. Does not wait: the descriptor is closed with its last use."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and not self._users:
            os.close(self._fd)

"""Downloads go from the browser's folder into the session's workspace."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from ...errors import ToolError
from ...files.folders import make_folders
from ...files.text import read_bytes
from ...files.write import replace
from ...workspace import Session
from ..fetch import LARGEST_PDF, PDF_START

if TYPE_CHECKING:
    from playwright.async_api import Download, Page

FOLDER = "downloads"
_LARGEST = 64 << 20
_AT_ONCE = 8  # of one session: each may have a hundred megabytes on the disk while it loads
_SETTLED_SECONDS = 20.0


@dataclass
class WantedPage:
    """A page that may turn out to be a download: ``pdf`` is what came, if that can be read."""

    page: Page
    pdf: bytes | None = None


class Downloads:
    """Saves downloads, and runs what the browser's events ask for until it is done or closed.

    Args:
        saving: bounds how many are in this process's memory, those of all sessions together.

    Attributes:
        wanted: a page that is to be read, while somebody waits for it.
    """

    def __init__(self, session: Session, saving: anyio.Semaphore) -> None:
        self._session = session
        self._saving = saving
        self._loading = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._saved: set[str] = set()
        self.wanted: WantedPage | None = None

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that an event asks for. Events come outside of any call, so there is nobody else to await it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    async def settled(self) -> None:
        """Wait for what has begun, but not longer than some seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SETTLED_SECONDS)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def save(self, download: Download, folder: Path) -> str:
        """Copy a download into the workspace; gives a sentence about it."""
        from playwright.async_api import Error

        if self._loading >= _AT_ONCE:
            with suppress(Error):
                await download.cancel()
                await download.delete()
            return f"A download was not saved: there were {_AT_ONCE} others at the same time."
        name = self._name(download.suggested_filename)
        self._loading += 1
        try:
            where = await download.path()
            async with self._saving:
                size = await self._copy(download, folder, Path(where).name, name)
        except ToolError as error:
            return f"A download was not saved: {error}"
        except (Error, OSError):
            return f"The download of {name} failed."
        finally:
            self._loading -= 1
            with suppress(Error):
                await download.delete()
        return f"The file was saved as {FOLDER}/{name} ({size} bytes)."

    async def _copy(self, download: Download, folder: Path, source: str, name: str) -> int:
        """Into the workspace; gives the size."""
        data = await asyncio.to_thread(_content, folder, source)
        await asyncio.to_thread(self._write, f"{FOLDER}/{name}", data)
        if self.wanted and download.page is self.wanted.page and data.startswith(PDF_START):
            self.wanted.pdf = data if len(data) <= LARGEST_PDF else None
        return len(data)

    def _name(self, suggested: str) -> str:
        """A plain name that no other download of this session has."""
        plain = (
            re.sub(r"[^\w.()+ -]", "_", suggested.replace("\\", "/").rpartition("/")[2]).lstrip(".-")[-100:] or "file"
        )
        stem, dot, ending = plain.rpartition(".") if "." in plain else (plain, "", "")
        name, number = plain, 1
        while name in self._saved:
            number += 1
            name = f"{stem}-{number}{dot}{ending}"
        self._saved.add(name)
        return name

    def _write(self, path: str, data: bytes) -> None:
        root = self._session.files
        if excess := self._session.quota.excess(root):
            raise ToolError(excess)
        make_folders(root, FOLDER)
        replace(root, path, data)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # asked for, so that it is not reported a second time


def _content(folder: Path, name: str) -> bytes:
    """A file that the browser wrote; the browser is not trusted, so it is read as what it must be."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ToolError("it is not a regular file.")
        data = read_bytes(fd, _LARGEST + 1)
    finally:
        os.close(fd)
    if len(data) > _LARGEST:
        raise ToolError(f"it has more than {_LARGEST >> 20} MiB.")
    return data

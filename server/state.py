"""What the server keeps: the store with its tables, the folder for files, and how long things stay."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from ..tools.sandbox.identity import server_is_root
from .chat.transcript import Transcript
from .store import Store, StoreError
from .store.containers import Containers
from .store.conversations import Conversations
from .store.files import Files
from .store.responses import Responses
from .store.turns import Turns

log = logging.getLogger(__name__)

_DATABASE = "agenthost.db"
_SWEEP = 3600.0  # seconds between two looks for what has expired
_DAY = 86_400.0


class OverQuota(Exception):
    """An owner keeps as much as allowed."""


class State:
    """Use it as an async context manager. Entering it raises StoreError where nothing can be kept.

    Args:
        folder: where files and, without ``url``, the database are kept; None for a temporary place.
        url: a database's URL.
        retention_days: responses and token ids go after so many days, and expired containers so long after their end; 0
            keeps them.
        transcript: remembers turns; it gets a store to look in.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        transcript: Transcript,
        url: str | None = None,
        retention_days: float = 30,
    ) -> None:
        self._temporary = folder is None
        place = folder or Path(tempfile.gettempdir()) / f"agenthost-state-{secrets.token_hex(8)}"
        self._folder = place
        self._store = Store(url or f"sqlite:///{place / _DATABASE}")
        self._own_database = url is None
        self._retention = retention_days * _DAY
        self._transcript = transcript
        self._sweeping: asyncio.Task[None] | None = None
        self._lock = -1
        self.responses = Responses(self._store)
        self.conversations = Conversations(self._store)
        self.files = Files(self._store, place / "files")
        self.containers = Containers(self._store)
        self.turns = Turns(self._store)

    async def __aenter__(self) -> Self:
        try:
            if self._temporary:
                self._folder.mkdir(mode=0o700)  # fails where anything has that name
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            _prepare(self._folder, database=self._own_database)
        except OSError as error:
            raise StoreError(f"nothing can be kept in the state directory {self._folder}: {error.strerror}") from error
        await self._store.__aenter__()
        await self._end_interrupted()
        self._transcript.store = self.turns
        self._sweeping = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        self._transcript.store = None
        await self._store.__aexit__(kind, error, trace)
        os.close(self._lock)
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def check_room(self, owner: str, more: int, most: int) -> None:
        """Raises :class:`OverQuota` when the owner, who may keep ``most`` bytes (0: any), would keep more."""
        if most and await self.files.total(owner) + more > most:
            raise OverQuota(f"There is no room for {more} bytes more: this key may keep {most}. Delete files.")

    async def sweep(self) -> None:
        """Remove what has expired."""
        await self.files.expire()
        if self._retention:
            before = time.time() - self._retention
            await self.responses.expire(before)
            await self.turns.expire(before)
            await self.containers.expire(before)

    async def _end_interrupted(self) -> None:
        """What this server worked on when it was last stopped has failed.

        The folder's name for its server is held by a lock: a second server on the same folder goes by another name, and
        leaves alone what the first one is working on.
        """
        self._lock = os.open(self._folder / "server", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.responses.server = secrets.token_hex(16)
            return
        name = os.read(self._lock, 64).decode("ascii", "replace")
        if not name:
            name = secrets.token_hex(16)
            os.write(self._lock, name.encode())
        self.responses.server = name
        interrupted = await self.responses.end_interrupted(
            {"code": "server_error", "message": "The server was stopped while it worked on this response."}
        )
        if interrupted:
            log.warning("%d responses were interrupted when the server stopped", interrupted)

    async def _sweep(self) -> None:
        while True:
            try:
                await self.sweep()
            except Exception:
                log.exception("looking for what has expired failed")
            await asyncio.sleep(_SWEEP)


def _prepare(folder: Path, *, database: bool) -> None:
    """Make the folder, and a ``database`` in it that nobody else may read.

    The users of a root server's sandboxes have workspaces below it: they may pass, and not look around.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if server_is_root() and folder.stat().st_uid == 0:
        folder.chmod(0o711)
    if database:
        os.close(os.open(folder / _DATABASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        (folder / _DATABASE).chmod(0o600)

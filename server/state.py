"""What the server keeps: the store with its tables, the folder for files, and how long things stay."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from .chat.transcript import Transcript
from .store import Store
from .store.containers import Containers
from .store.conversations import Conversations
from .store.files import Files
from .store.responses import Responses
from .store.turns import Turns

log = logging.getLogger(__name__)

_SWEEP = 3600.0  # seconds between two looks for what has expired
_DAY = 86_400.0


class OverQuota(Exception):
    """An owner keeps as much as allowed."""


class State:
    """Use it as an async context manager.

    Args:
        folder: where files and, without ``url``, the database are kept; None for a temporary place.
        url: a database's URL.
        retention_days: responses and token ids go after so many days; 0 keeps them.
        transcript: remembers turns; it gets a store to look in.
        most_bytes: of files that one owner may keep; None for any.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        transcript: Transcript,
        url: str | None = None,
        retention_days: float = 30,
        most_bytes: int | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="agenthost-state-") if folder is None else None
        place = folder or Path(self._temporary.name if self._temporary else "")
        self._folder = place
        self._store = Store(url or f"sqlite:///{place / 'agenthost.db'}")
        self._retention = retention_days * _DAY
        self._transcript = transcript
        self._most_bytes = most_bytes
        self._sweeping: asyncio.Task[None] | None = None
        self.responses = Responses(self._store)
        self.conversations = Conversations(self._store)
        self.files = Files(self._store, place / "files")
        self.containers = Containers(self._store)
        self.turns = Turns(self._store)

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._store.__aenter__()
        interrupted = await self.responses.end_interrupted(
            {"code": "server_error", "message": "The server was stopped while it worked on this response."}
        )
        if interrupted:
            log.warning("%d responses were interrupted when the server stopped", interrupted)
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
        if self._temporary is not None:
            self._temporary.cleanup()

    async def check_room(self, owner: str, more: int) -> None:
        """Raises :class:`OverQuota` when the owner may not keep so many bytes more."""
        if self._most_bytes is not None and await self.files.total(owner) + more > self._most_bytes:
            raise OverQuota(f"There is no room for {more} bytes more: a key may keep {self._most_bytes}. Delete files.")

    async def sweep(self) -> None:
        """Remove what has expired."""
        await self.files.expire()
        if self._retention:
            before = time.time() - self._retention
            await self.responses.expire(before)
            await self.turns.expire(before)

    async def _sweep(self) -> None:
        while True:
            try:
                await self.sweep()
            except Exception:
                log.exception("looking for what has expired failed")
            await asyncio.sleep(_SWEEP)

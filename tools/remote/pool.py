"""Connections to servers that are not in a configuration but named by requests: kept while they are used, and bounded.

A connection belongs to one owner and one set of credentials. These stay in memory for as long as the connection, and
are written nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from ..background import Background
from ..errors import ToolError
from ..spec import JsonObject, ToolContext
from .config import ServerConfig
from .definition import Definition
from .http import HttpClient
from .server import RemoteServer

if TYPE_CHECKING:
    import mcp.types as types

_Key = tuple[str, str | None, tuple[tuple[str, str], ...]]


@dataclass
class _Entry:
    server: RemoteServer
    used: float
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    waiting: int = 0

    @property
    def busy(self) -> bool:
        return self.waiting > 0 or self.server.busy


class Pool(Background):
    """Use it as an async context manager; leaving it ends all connections.

    Args:
        http_client: makes what requests go through, see :func:`egress_client`.
        most: connections at the same time.
        per_owner: of these, one owner's.
        idle: seconds after its last use at which a connection is ended.
    """

    def __init__(self, http_client: HttpClient, *, most: int = 64, per_owner: int = 16, idle: float = 60.0) -> None:
        self._http_client = http_client
        self._most = most
        self._per_owner = per_owner
        self._idle = idle
        self._entries: dict[_Key, _Entry] = {}

    def begin(self) -> None:
        self.group.start_soon(self._sweep)

    async def reach(self, owner: str, config: ServerConfig) -> RemoteServer:
        """The owner's connection to a server, made when there is none.

        Raises ToolError: it cannot be reached, or there are too many connections.
        """
        key = (owner, config.url, tuple(sorted(config.headers.items())))
        entry = self._entries.get(key) or self._open(key, config)
        entry.waiting += 1
        try:
            return await entry.server.reach()
        except ToolError:
            if self._entries.get(key) is entry:  # not another one's new try
                self._close(key)
            raise
        finally:
            entry.waiting -= 1
            entry.used = time.monotonic()

    def _open(self, key: _Key, config: ServerConfig) -> _Entry:
        own = [other for other in self._entries if other[0] == key[0]]
        if len(own) >= self._per_owner:
            self._make_room(own)
        elif len(self._entries) >= self._most:
            self._make_room(self._entries)
        entry = self._entries[key] = _Entry(RemoteServer(config, self._http_client), time.monotonic())
        self.group.start_soon(self._run, entry)
        return entry

    def _make_room(self, among: Iterable[_Key]) -> None:
        """End the connection that was not used for longest. Raises ToolError: all are in use."""
        idle = [key for key in among if not self._entries[key].busy]
        if not idle:
            raise ToolError("there are too many connections to external servers. Try again later.")
        self._close(min(idle, key=lambda key: self._entries[key].used))

    @staticmethod
    async def _run(entry: _Entry) -> None:
        with entry.scope:
            await entry.server.run()

    def _close(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            entry.scope.cancel()

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(self._idle / 4)
            before = time.monotonic() - self._idle
            for key, entry in list(self._entries.items()):
                if entry.used < before and not entry.busy:
                    self._close(key)


class PooledServer:
    """A server that requests name: connected when it is first needed, and again when its connection has gone idle.

    Attributes:
        definitions: its tools, as the last connection gave them; empty before there was one.
    """

    def __init__(self, pool: Pool, owner: str, config: ServerConfig) -> None:
        self.config = config
        self.definitions: Mapping[str, Definition] = {}
        self._pool = pool
        self._owner = owner

    async def reach(self) -> RemoteServer:
        """Raises ToolError."""
        server = await self._pool.reach(self._owner, self.config)
        self.definitions = server.definitions
        return server

    async def call(self, name: str, arguments: JsonObject, context: ToolContext) -> types.CallToolResult:
        """See :meth:`RemoteServer.call`."""
        server = await self.reach()
        return await server.call(name, arguments, context)

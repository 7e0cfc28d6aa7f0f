"""The egress proxy: HTTP and CONNECT on a unix socket or a loopback port, for programs that cannot be trusted to ask.

Each door belongs to one session's :class:`Egress`. A browser's WebSockets and everything by TLS come through CONNECT;
`exchange` says what happens to plain requests.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import ByteStream, SocketListener, SocketStream, TaskGroup

from .connect import Egress
from .exchange import BROKEN, Exchange
from .http import connection_pool

log = logging.getLogger(__name__)
_RETRY = 0.1  # seconds


class Door:
    """One way in to the proxy.

    Attributes:
        port: of a loopback door; 0 for a unix one.
    """

    def __init__(self, listener: SocketListener, egress: Egress, path: Path | None, port: int) -> None:
        self.egress = egress
        self.port = port
        self._listener = listener
        self._path = path
        self._pool = connection_pool(egress)
        self._scope = anyio.CancelScope()
        self._closed = anyio.Event()

    async def close(self) -> None:
        """Refuse further connections and end those that are open."""
        self._scope.cancel()
        await self._closed.wait()

    async def serve(self) -> None:
        """Answer until closed. The proxy calls it."""
        room = anyio.Semaphore(self.egress.policy.max_connections)

        async def answer(client: ByteStream) -> None:
            try:
                async with client:
                    await Exchange(client, self.egress, self._pool).serve()
            except (*BROKEN, TimeoutError):
                pass  # the client went away, or fell silent
            except Exception:
                log.exception("a connection through the egress proxy failed")
            finally:
                room.release()

        try:
            async with self._listener:
                with self._scope:
                    async with anyio.create_task_group() as group:
                        while True:
                            await room.acquire()  # what waits for room waits in the kernel, without a descriptor here
                            group.start_soon(answer, await self._accept())
        finally:
            with anyio.CancelScope(shield=True):
                await self._pool.aclose()
            if self._path:
                self._path.unlink(missing_ok=True)
            self._closed.set()

    async def _accept(self) -> SocketStream:
        while True:
            try:
                return await self._listener.accept()
            except OSError:  # the client is gone already, or there are no descriptors just now
                await anyio.sleep(_RETRY)


class EgressProxy:
    """The proxy; an async context manager that ends every connection when it is left."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        return await self._stack.__aexit__(kind, error, trace)

    async def open_unix(self, path: Path, egress: Egress, *, uid: int | None = None) -> Door:
        """A door at ``path``, for one user: ``uid``, or this process's own."""
        listener = await anyio.create_unix_listener(path, mode=0o600)
        if uid is not None:
            os.chown(path, uid, uid)
        return self._open(Door(listener, egress, path, 0))

    async def open_loopback(self, egress: Egress) -> Door:
        """A door on a free port of 127.0.0.1, open to all local programs: for those that cannot use a unix socket."""
        listener = socket.create_server(("127.0.0.1", 0))
        return self._open(Door(await SocketListener.from_socket(listener), egress, None, listener.getsockname()[1]))

    async def open_at(self, listener: socket.socket, egress: Egress) -> Door:
        """A door at a socket that listens already, of another network namespace for example."""
        return self._open(Door(await SocketListener.from_socket(listener), egress, None, 0))

    def _open(self, door: Door) -> Door:
        if self._tasks is None:
            raise RuntimeError("enter EgressProxy with `async with` before opening a door")
        self._tasks.start_soon(door.serve)
        return door

"""Tells subscribers when workspace files change, whoever changes them: looks at each followed file now and then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.abc
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated

from ...tools import Sessions, ToolError
from ...tools.files.beneath import clean
from .uris import parse

_INTERVAL = 0.5  # seconds

Signature = tuple[int, int, int] | None  # what changes with a file's content; None: it is not there


class Watch:
    """
    Args:
        sessions: where the files are.

    Attributes:
        bus: gets the news.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.bus = InMemorySubscriptionBus()
        self._sessions = sessions
        self._followed: Counter[str] = Counter()
        self._seen: dict[str, Signature] = {}
        self._subscriptions: dict[tuple[int, str], Callable[[], None]] = {}
        self._group: anyio.abc.TaskGroup | None = None

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Look, until cancelled."""
        async with anyio.create_task_group() as self._group:
            task_status.started()
            while True:
                await anyio.sleep(_INTERVAL)
                if self._followed:
                    await self._look(list(self._followed))

    @contextmanager
    def following(self, uris: Iterable[str]) -> Iterator[None]:
        """Look at these resources as long as this lasts."""
        followed = set(uris)
        for uri in followed:
            if not self._followed[uri]:
                self._seen[uri] = self._signature(uri)
            self._followed[uri] += 1
        try:
            yield
        finally:
            for uri in followed:
                self._followed[uri] -= 1
                if not self._followed[uri]:
                    del self._followed[uri], self._seen[uri]

    def subscribe(self, session: ServerSession, uri: str) -> None:
        """Notify this connection's client of each change, until it unsubscribes or the connection ends."""
        # The SDK tells handlers to clean up on the connection's exit stack, and has no public way to it.
        connection: Any = session._connection
        key = (id(connection), uri)
        if key in self._subscriptions:
            return

        def told(event: object) -> None:
            if self._group is not None and isinstance(event, ResourceUpdated) and event.uri == uri:
                self._group.start_soon(_notify, session, uri)

        following = self.following([uri])
        following.__enter__()
        silence = self.bus.subscribe(told)

        def end() -> None:
            silence()
            following.__exit__(None, None, None)

        self._subscriptions[key] = end
        connection.exit_stack.callback(self._end, key)

    def unsubscribe(self, session: ServerSession, uri: str) -> None:
        self._end((id(session._connection), uri))

    def _end(self, key: tuple[int, str]) -> None:
        end = self._subscriptions.pop(key, None)
        if end is not None:
            end()

    async def _look(self, uris: list[str]) -> None:
        signatures = await asyncio.to_thread(lambda: [self._signature(uri) for uri in uris])
        for uri, signature in zip(uris, signatures, strict=True):
            if uri in self._seen and self._seen[uri] != signature:
                self._seen[uri] = signature
                await self.bus.publish(ResourceUpdated(uri=uri))

    def _signature(self, uri: str) -> Signature:
        parts = parse(uri)
        session = parts and self._sessions.peek(parts[0])
        if not parts or session is None:
            return None
        try:
            status = session.files.status(clean(parts[1]))
        except (OSError, ToolError):
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


async def _notify(session: ServerSession, uri: str) -> None:
    await session.send_resource_updated(uri)

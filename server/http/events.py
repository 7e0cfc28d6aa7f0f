"""Server-sent events whose producer is stopped when the client leaves."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .disconnect import ClientGone, until_disconnect

_KEEP_ALIVE = 15.0  # seconds
_LAST_WORDS = 5.0  # seconds that a client has for taking the last event of a stream that is cut short
_STRAIGHT = "agenthost.straight"
_COMMENT = b": keep-alive\n\n"

Write = Callable[[bytes], Awaitable[None]]


class Straight:
    """ASGI middleware, outside of those that look at answers: lets streams send past them what follows a beginning.

    These wrap ``send`` to see or change how an answer begins, and pass on the rest as it is. To run through all of them
    for every token takes a server longer than to make the token's event.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, _STRAIGHT: send}, receive, send)


class EventStream(Response):
    """Calls ``produce`` with a function that sends bytes; the stream ends when ``produce`` returns.

    ``produce`` ends every stream itself, also a failed one: the status has been sent by then. While it writes nothing,
    as during a long prefill, comments keep proxies and clients from giving up; ``app.state.sse_keep_alive`` says after
    how many seconds, 0 for never.

    Args:
        abandon: gives up what ``produce`` would have used. It is called instead, when the client has left before.
        stopped: ends a stream whose ``produce`` is cancelled because the server stops.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        produce: Callable[[Write], Awaitable[None]],
        abandon: Callable[[], Awaitable[None]] | None = None,
        *,
        stopped: bytes = b"",
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._produce = produce
        self._abandon = abandon
        self._stopped = stopped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        except BaseException:
            if self._abandon is not None:
                with anyio.CancelScope(shield=True):
                    await self._abandon()
            raise
        send = scope.get(_STRAIGHT, send)
        interval: float = getattr(scope["app"].state, "sse_keep_alive", _KEEP_ALIVE) if "app" in scope else _KEEP_ALIVE
        written = time.monotonic()

        async def write(data: bytes) -> None:
            # Comments may come between two pieces, not into one: a server writes each message at once.
            nonlocal written
            await send({"type": "http.response.body", "body": data, "more_body": True})
            written = time.monotonic()

        async def keep_alive() -> None:
            while True:
                idle = time.monotonic() - written
                if idle >= interval:
                    await write(_COMMENT)
                else:
                    await anyio.sleep(interval - idle)

        async def work() -> None:
            async with anyio.create_task_group() as group:
                if interval > 0:
                    group.start_soon(keep_alive)
                await self._produce(write)
                group.cancel_scope.cancel()

        try:
            await until_disconnect(receive, work)
        except ClientGone:
            return
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_LAST_WORDS, shield=True):
                await write(self._stopped)
            raise
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event(data: bytes) -> bytes:
    """One unnamed event with a single line of data."""
    return b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")

HOLE = "\ufdd2"
"""Stands in a :class:`Frame` for the text to come. A noncharacter: Unicode guarantees that nothing else means it."""


class Frame:
    """Events that differ by a text alone, so that all but the text is encoded once. The event was made for ``HOLE``."""

    def __init__(self, event: bytes) -> None:
        self._parts = event.split(msgspec.json.encode(HOLE))

    def around(self, text: str) -> bytes:
        """The event for ``text``."""
        return msgspec.json.encode(text).join(self._parts)

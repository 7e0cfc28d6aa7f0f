"""Server-sent events whose producer is stopped when the client leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .disconnect import ClientGone, until_disconnect

Write = Callable[[bytes], Awaitable[None]]


class EventStream(Response):
    """Calls ``produce`` with a function that sends bytes; the stream ends when ``produce`` returns.

    ``produce`` ends every stream itself, also a failed one: the status has been sent by then.
    """

    media_type = "text/event-stream"

    def __init__(self, produce: Callable[[Write], Awaitable[None]]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        turn = anyio.Lock()

        async def write(data: bytes) -> None:
            async with turn:
                await send({"type": "http.response.body", "body": data, "more_body": True})

        try:
            await until_disconnect(receive, lambda: self._produce(write))
        except ClientGone:
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event(data: bytes) -> bytes:
    """One unnamed event with a single line of data."""
    return b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")

"""The end of the server's service: what runs may go on for a while, and what then still runs is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..openai.errors import ApiError


def stopping() -> ApiError:
    """What those are told whose work did not end in time."""
    return ApiError("The server is stopping.", status=503, code="server_stopping", retry_after=5)


class Drain:
    """One deadline for all that runs when the server is told to stop.

    Args:
        seconds: from the first call of :meth:`begin` to the deadline.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: float | None = None
        self._requests: set[anyio.CancelScope] = set()

    def begin(self) -> float:
        """The deadline, by the event loop's clock. It stands from the first call on."""
        if self._deadline is None:
            self._deadline = anyio.current_time() + self._seconds
        return self._deadline

    @contextmanager
    def request(self) -> Iterator[anyio.CancelScope]:
        """A scope in which a request is worked on."""
        with anyio.CancelScope() as scope:
            self._requests.add(scope)
            try:
                yield scope
            finally:
                self._requests.discard(scope)

    def cancel_requests(self) -> None:
        """Stop all that run; each says so to its client, see :class:`Drained`."""
        for scope in self._requests:
            scope.cancel()


class Drained:
    """ASGI middleware: a cancelled request is answered as one that the stop of the server has ended.

    Streams of events write their last one themselves, in the words of their protocol.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = ended = False

        async def noted(message: Message) -> None:
            nonlocal begun, ended
            begun, ended = True, message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        with self._drain.request() as request:
            await self.app(scope, receive, noted)
        if not request.cancelled_caught or ended:
            return
        if begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await stopping().response(scope["path"])(scope, receive, send)

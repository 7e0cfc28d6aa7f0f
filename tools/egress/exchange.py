"""One client's connection to the egress proxy: request after request, or a tunnel.

Plain requests are read, sent on and answered message by message, so that both sides agree where each one ends.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import h11
import httpcore2
from anyio.abc import ByteStream

from .connect import Egress
from .errors import EgressError, OverBudget, Refused, Unreachable
from .target import Target, split_authority

log = logging.getLogger(__name__)
Headers = list[tuple[bytes, bytes]]

REFUSED = "x-agenthost-egress"
"""Header of the proxy's own answers, by which tools tell them from a server's."""

BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
_CHUNK = 65536
_HEAD_SECONDS = 30.0
_IDLE_SECONDS = 300.0  # of a tunnel
_ANSWER_SECONDS = 60.0  # from a server that says nothing
_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"alt-svc",
}  # fmt: skip


class Exchange:
    """One connection of a client, request after request."""

    def __init__(self, stream: ByteStream, egress: Egress, pool: httpcore2.AsyncConnectionPool) -> None:
        self._stream = stream
        self._egress = egress
        self._pool = pool
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_CHUNK)

    async def serve(self) -> None:
        while True:
            try:
                with anyio.fail_after(_HEAD_SECONDS):
                    event = await self._next()
                if not isinstance(event, h11.Request):
                    return
                if event.method == b"CONNECT":
                    await self._tunnel(event)
                    return
                await self._forward(event)
            except h11.RemoteProtocolError as error:
                await self._answer(400, f"the request cannot be read: {error}.")
                return
            except EgressError as error:
                await self._answer(_status(error), str(error))
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _tunnel(self, request: h11.Request) -> None:
        host, port = split_authority(request.target.decode("ascii", "replace"))
        while not isinstance(await self._next(), h11.EndOfMessage):
            pass
        server = await self._egress.connect(host, port)
        async with server:
            await self._stream.send(self._http.send(h11.Response(status_code=200, headers=[], reason=b"connected")))
            early, _ = self._http.trailing_data
            if early:
                await server.send(early)
            await _join(self._stream, server)

    async def _forward(self, request: h11.Request) -> None:
        target = Target.parse(request.target.decode("ascii", "replace"))
        if target.scheme != "http":
            raise Refused("https goes through this proxy by CONNECT only. Set it as the proxy for https too.")
        upstream = httpcore2.Request(
            request.method,
            target.url,
            headers=_request_headers(target, list(request.headers.raw_items())),
            content=self._body(),
            extensions={"timeout": {"connect": 20.0, "read": _ANSWER_SECONDS, "write": _ANSWER_SECONDS, "pool": 60.0}},
        )
        try:
            response = await self._pool.handle_async_request(upstream)
        except httpcore2.TimeoutException as error:
            await self._answer(504, f"{target.host} does not answer.", error)
            return
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            await self._answer(502, f"{target.host} gave no usable answer.", error)
            return
        try:
            await self._reply(response)
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, EgressError) as error:
            log.debug("%s stopped in the middle of an answer: %s", target.host, error)
            self._http.send_failed()  # the client sees a body that breaks off, not one that ends early
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _reply(self, response: httpcore2.Response) -> None:
        headers = _end_to_end(response.headers)
        await self._send(h11.Response(status_code=response.status, headers=headers))
        async for part in response.aiter_stream():
            await self._send(h11.Data(data=part))
        await self._send(h11.EndOfMessage())

    async def _body(self) -> AsyncIterator[bytes]:
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def _answer(self, status: int, text: str, cause: Exception | None = None) -> None:
        """The proxy's own answer; the connection is closed after it."""
        if cause:
            log.debug("answering %d: %s (%s)", status, text, cause)
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{text[0].upper()}{text[1:]}\n".encode()
        headers = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(body)),
            (REFUSED.encode(), b"refused" if status == 403 else b"failed"),
            (b"Connection", b"close"),
        ]
        await self._send(h11.Response(status_code=status, headers=headers))
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())
        # Closing with a request unread would take the answer away from the client.
        with anyio.move_on_after(1), suppress(h11.RemoteProtocolError):
            while self._http.their_state is h11.SEND_BODY:
                await self._next()

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            with anyio.fail_after(_ANSWER_SECONDS):
                await self._stream.send(data)

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                with anyio.fail_after(_ANSWER_SECONDS):
                    self._http.receive_data(await self._receive())
                continue
            assert not isinstance(event, type) or event is h11.PAUSED
            return event

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(_CHUNK)
        except anyio.EndOfStream:
            return b""


def _status(error: EgressError) -> int:
    match error:
        case Unreachable():
            return 502
        case OverBudget():
            return 429
        case _:
            return 403


def _authority(target: Target) -> bytes:
    return target.url.split("/")[2].encode("ascii")


def _request_headers(target: Target, headers: Headers) -> Headers:
    """What the server gets: the host that was checked, and the body's framing as this proxy read it."""
    kept = [(b"Host", _authority(target)), *(item for item in _end_to_end(headers) if item[0].lower() != b"host")]
    return [*kept, (b"Transfer-Encoding", b"chunked")] if _chunked(headers) else kept


def _end_to_end(headers: Headers) -> Headers:
    """Headers that are meant for the other end, not for the next hop. A length beside chunks means nothing."""
    dropped = _HOP | {b"content-length"} if _chunked(headers) else set(_HOP)
    for name, value in headers:
        if name.lower() == b"connection":
            dropped |= {word.strip().lower() for word in value.split(b",")}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _chunked(headers: Headers) -> bool:
    return any(name.lower() == b"transfer-encoding" for name, _ in headers)


async def _join(client: ByteStream, server: ByteStream) -> None:
    """Pass bytes both ways until either side ends, or both are silent for long."""
    with anyio.CancelScope() as scope:
        scope.deadline = anyio.current_time() + _IDLE_SECONDS

        async def pump(source: ByteStream, sink: ByteStream) -> None:
            try:
                async for data in source:
                    scope.deadline = anyio.current_time() + _IDLE_SECONDS
                    await sink.send(data)
                await sink.send_eof()
            except (*BROKEN, OSError, OverBudget):
                scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pump, client, server)
            tasks.start_soon(pump, server, client)

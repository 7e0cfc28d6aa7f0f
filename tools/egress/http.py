"""HTTP clients whose every connection passes the egress policy, at each redirect anew."""

from __future__ import annotations

import select
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio
import anyio.abc
import httpcore2
import httpx2
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from .connect import Egress
from .errors import EgressError
from .target import Target, canonical_host

_SHORT = 64 << 10  # bytes


class EgressTransport(httpx2.AsyncBaseTransport):
    """For ``httpx2.AsyncClient(transport=EgressTransport(egress), trust_env=False)``.

    Args:
        egress: the way out.
        ssl_context: how servers' certificates are checked; None for the usual way.

    Raises from requests:
        Refused, Unreachable, OverBudget: see :class:`Egress`; also for redirects and other schemes than http(s).
        httpx2.HTTPError: what else goes wrong on the way.
    """

    def __init__(self, egress: Egress, ssl_context: ssl.SSLContext | None = None) -> None:
        self._pool = connection_pool(egress, ssl_context)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        Target.parse(str(request.url))
        try:
            response = await self._pool.handle_async_request(
                httpcore2.Request(
                    request.method,
                    httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except httpcore2.TimeoutException as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise httpx2.TransportError(str(error), request=request) from error
        answer = httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response, request),
            extensions=response.extensions,
        )
        if answer.has_redirect_location:
            answer.stream = _Unread(response, request)
        return answer

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._response.aiter_stream():
                yield part
        except httpcore2.TimeoutException as error:
            raise httpx2.ReadTimeout(str(error), request=self._request) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise httpx2.TransportError(str(error), request=self._request) from error

    async def aclose(self) -> None:
        await self._response.aclose()


class _Unread(_Body):
    """The body of a redirect. Whoever follows one reads it to its end, unpacked, however large, and nobody wants it.

    A short one is passed over, so that the connection can be used again.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in super().__aiter__():
            size += len(part)
            if size > _SHORT:
                break
        return
        yield  # nothing, as an iterator


def connection_pool(egress: Egress, ssl_context: ssl.SSLContext | None = None) -> httpcore2.AsyncConnectionPool:
    """Connections that are kept for reuse by the host and port that was checked for them."""
    return httpcore2.AsyncConnectionPool(
        ssl_context=ssl_context,
        max_connections=egress.policy.max_connections,
        max_keepalive_connections=16,
        keepalive_expiry=15.0,
        network_backend=_Backend(egress),
    )


class _Backend(httpcore2.AsyncNetworkBackend):
    """Makes httpcore's connections by way of :meth:`Egress.connect`."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            with anyio.fail_after(timeout):
                stream = await self._egress.connect(canonical_host(host), port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} does not answer") from error
        return _Stream(stream)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise EgressError("only internet hosts can be connected to.")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _Stream(httpcore2.AsyncNetworkStream):
    """A stream of anyio's as httpcore wants it."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            with anyio.fail_after(timeout):
                return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as error:
            raise httpcore2.ReadTimeout("the server stopped sending") from error
        except _BROKEN as error:
            raise httpcore2.ReadError("the connection broke") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            with anyio.fail_after(timeout):
                await self._stream.send(buffer)
        except TimeoutError as error:
            raise httpcore2.WriteTimeout("the server stopped reading") from error
        except _BROKEN as error:
            raise httpcore2.WriteError("the connection broke") from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        try:
            with anyio.fail_after(timeout):
                return _Stream(
                    await TLSStream.wrap(
                        self._stream,
                        hostname=server_hostname,
                        ssl_context=ssl_context,
                        standard_compatible=False,
                        server_side=False,
                    )
                )
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(self._stream)
            if isinstance(error, TimeoutError):
                raise httpcore2.ConnectTimeout("the server did not finish the TLS handshake") from error
            if isinstance(error, ssl.SSLError):
                raise httpcore2.ConnectError(f"no secure connection: {error.reason or error}") from error
            if isinstance(error, _BROKEN):
                raise httpcore2.ConnectError("the connection broke") from error
            raise

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._stream.extra(TLSAttribute.ssl_object, None)
        if info == "is_readable":  # on an idle connection: the server has closed it
            poll = select.poll()
            poll.register(self._stream.extra(SocketAttribute.raw_socket).fileno(), select.POLLIN)
            return bool(poll.poll(0))
        return None


_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)

"""HTTP clients for external servers: what their requests pass through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import httpx2
from mcp.types import CONNECTION_CLOSED

from ..egress.connect import Egress
from ..egress.http import EgressTransport
from ..egress.policy import EgressPolicy
from .config import ServerConfig

if TYPE_CHECKING:
    from .login import Login

Waiting = Callable[[], AbstractContextManager[None]]
"""Entered while a person is waited for, so that no time limit of the connection runs."""

HttpClient = Callable[[ServerConfig, Waiting], httpx2.AsyncClient]

_TIMEOUT = httpx2.Timeout(30.0, read=300.0)
_LARGEST_ANSWER = 16 << 20  # bytes
_STREAM = "text/event-stream"  # without an end of its own; its events are bounded by the SDK


class BadAnswer(httpx2.StreamError):
    """A body that is not read or breaks off. The SDK takes a stream error for one of this answer alone."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._stream = response.stream
        self._packed = response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
        is_stream = response.headers.get("content-type", "").lower().startswith(_STREAM)
        self._endless = is_stream and not response.has_redirect_location  # the body of a redirect is read as a whole

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._packed:
            raise BadAnswer("the answer is packed, which was not asked for")
        size = 0
        try:
            async for part in self._stream:
                size += len(part)
                if size > _LARGEST_ANSWER and not self._endless:
                    raise BadAnswer(f"the answer has more than {_LARGEST_ANSWER >> 20} MiB")
                yield part
        except httpx2.HTTPError as error:
            raise BadAnswer(f"the answer broke off ({type(error).__name__})") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    """Before its body is read: few bytes on the wire must not become many here, and an answer ends."""
    response.stream = _Bounded(response)


class _Client(httpx2.AsyncClient):
    """A request that fails is answered with an error. The SDK would end the connection, and others' calls with it."""

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        try:
            return await super().send(request, **how)
        except httpx2.TransportError as error:
            problem = {"code": CONNECTION_CLOSED, "message": f"{type(error).__name__}: {error}"}
            return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": problem}, request=request)


def bounded_client(config: ServerConfig, **how: Any) -> httpx2.AsyncClient:
    """``how``: further arguments of the client. What it receives is bounded, see :class:`BadAnswer`."""
    headers = httpx2.Headers(dict(config.headers))
    headers["Accept-Encoding"] = "identity"
    return _Client(headers=headers, timeout=_TIMEOUT, event_hooks={"response": [_bound]}, **how)


def trusted_client(login: Login | None = None) -> HttpClient:
    """For the servers of the operator's own configuration. The SDK follows redirects on the same origin only.

    Args:
        login: how to log in where a server wants it; None for not at all.
    """

    def make(config: ServerConfig, waiting: Waiting) -> httpx2.AsyncClient:
        auth = None if login is None else login.auth(config, waiting)
        return bounded_client(config, auth=auth)

    return make


def egress_client(policy: EgressPolicy) -> HttpClient:
    """For servers that requests name: every connection passes ``policy``, and nobody logs in."""

    def make(config: ServerConfig, waiting: Waiting) -> httpx2.AsyncClient:
        return bounded_client(config, transport=EgressTransport(Egress(policy)), trust_env=False)

    return make

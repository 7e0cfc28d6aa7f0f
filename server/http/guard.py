"""Refuses requests that a web page smuggles in, that lack the key, or that are too large, before any route sees them.

The server runs code for those who may call it, so a browser must not be made to call it on a page's behalf: the Host
must be one of ours (DNS rebinding), the Origin too (cross-site requests), and every body must say that it is JSON,
which pages cannot send across sites without asking first; only where files are uploaded it may be a form.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..openai.errors import ApiError
from .caller import ANYBODY, KEYHOLDER, set_caller
from .upload import FORM, takes_forms

_OPEN_PATHS = ("/health", "/version")


class Guard:
    """ASGI middleware.

    Args:
        hosts: names that the Host header may hold; ``*`` admits any.
        origins: origins (``https://app.example``) of web pages that may call, besides those served from here.
        key: what ``Authorization: Bearer`` or ``x-api-key`` must hold; None asks for none.
        max_body: bytes.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str], key: str | None, max_body: int
    ) -> None:
        self.app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._key = key.encode() if key else None
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = self._problem(scope)
        if problem is not None:
            await problem.response()(scope, receive, send)
            return
        set_caller(scope, ANYBODY if self._key is None else KEYHOLDER)
        await self.app(scope, self._counting(receive), send)

    def _problem(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if "*" not in self._hosts and _hostname(host) not in self._hosts:
            return ApiError(
                f"Host {host!r} is not served here. Allow it with --allowed-hosts.", status=403, code="host_not_allowed"
            )
        origin = headers.get("origin")
        if origin is not None and not self._admits(origin.lower(), host.lower()):
            return ApiError(
                f"Origin {origin!r} may not call this server. Allow it with --allowed-origins.",
                status=403,
                code="origin_not_allowed",
            )
        # Browsers ask before they send a key: OPTIONS answers who may call, and does nothing.
        open_to_all = scope["path"] in _OPEN_PATHS or scope["method"] == "OPTIONS"
        if self._key is not None and not open_to_all and not self._has_key(headers):
            return ApiError(
                "Missing or wrong API key. Send it as 'Authorization: Bearer KEY'.", status=401, code="invalid_api_key"
            )
        return self._body_problem(scope, headers)

    def _admits(self, origin: str, host: str) -> bool:
        return origin in self._origins or (origin != "null" and urlsplit(origin).netloc == host)

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return self._key is not None and hmac.compare_digest(given.encode(), self._key)

    def _body_problem(self, scope: Scope, headers: Headers) -> ApiError | None:
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return ApiError("Content-Length is not a number.")
        if int(length) > self._max_body:
            return self._too_large()
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        form = kind == FORM and takes_forms(scope["path"])
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if scope["method"] in ("POST", "PUT", "PATCH") and has_body and kind != "application/json" and not form:
            return ApiError(
                f"Content-Type is {kind!r}, expected 'application/json'.", status=415, code="unsupported_media_type"
            )
        return None

    def _counting(self, receive: Receive) -> Receive:
        """Bodies without a length, or with a wrong one, are counted as they come."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> ApiError:
        return ApiError(
            f"The body is larger than {self._max_body} bytes. The operator can raise this with --max-body-bytes.",
            status=413,
            code="request_too_large",
        )


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""

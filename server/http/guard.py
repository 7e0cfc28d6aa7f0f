"""Refuses requests that a web page smuggles in, that lack the key, or that are too large, before any route sees them.

The server runs code for those who may call it, so a browser must not be made to call it on a page's behalf: where no
key is sent the Host must be one of ours (DNS rebinding), the Origin always (cross-site requests), and every body must
say that it is JSON, which pages cannot send across sites without asking first; only where files are uploaded it may be
a form.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..openai.errors import ApiError, rate_limited
from .caller import ANYBODY, Caller, set_caller
from .keys import Key, Keys
from .limits import Limiter
from .upload import FORM, takes_forms

_OPEN_PATHS = ("/health", "/ready", "/ping", "/version")


class Guard:
    """ASGI middleware.

    Args:
        hosts: names that the Host header of requests without a key may hold; ``*`` admits any.
        origins: origins (``https://app.example``) of web pages that may call, besides those served from here; ``*``
            admits any.
        keys: one of which ``Authorization: Bearer`` or ``x-api-key`` must hold; without any, none is asked for.
        max_body: bytes.
        open_paths: that ask for no key.
        token_paths: that check other credentials themselves, and find out who calls, where no key is given.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        origins: Iterable[str],
        keys: Keys,
        max_body: int,
        open_paths: Iterable[str] = (),
        token_paths: Iterable[str] = (),
    ) -> None:
        self.app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._keys = keys
        self._limiter = Limiter()
        self._max_body = max_body
        self._open_paths = frozenset([*_OPEN_PATHS, *open_paths])
        self._token_paths = frozenset(token_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = self._keys.find(_secret(headers)) if self._keys else None
        problem = self._problem(scope, headers, key)
        if problem is not None:
            await problem.response(scope["path"])(scope, receive, send)
            return
        if key is not None:
            set_caller(scope, Caller(key.name, limits=key.limits, operator=key.operator))
        elif scope["path"] not in self._token_paths:
            set_caller(scope, ANYBODY)
        if key is None:
            await self.app(scope, self._counting(receive), send)
        else:
            await self._limited(key, scope, receive, send)

    async def _limited(self, key: Key, scope: Scope, receive: Receive, send: Send) -> None:
        wait = self._limiter.enter(key.name, key.limits)
        if wait is not None:
            message = f"This key has reached its limit of requests. Try again in {wait} seconds."
            await rate_limited(message, wait).response(scope["path"])(scope, receive, send)
            return
        try:
            await self.app(scope, self._counting(receive), send)
        finally:
            self._limiter.leave(key.name)

    def _problem(self, scope: Scope, headers: Headers, key: Key | None) -> ApiError | None:
        host = headers.get("host", "")
        # A page that a name leads here has no key, and what is open to probes, which call addresses, tells it nothing.
        named = key is None and scope["path"] not in self._open_paths
        if named and "*" not in self._hosts and _hostname(host) not in self._hosts:
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
        keyless = scope["path"] in self._open_paths | self._token_paths
        if self._keys and key is None and not keyless:
            return ApiError(
                "Missing or wrong API key. Send it as 'Authorization: Bearer KEY'.", status=401, code="invalid_api_key"
            )
        return self._body_problem(scope, headers)

    def _admits(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        try:
            return origin != "null" and urlsplit(origin).netloc == host
        except ValueError:
            return False

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


def _secret(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""

"""OAuth for ``/mcp``: this server as a protected resource (RFC 9728) of an authorization server elsewhere.

A token must be signed by the issuer, made for this resource (its audience), unexpired, and have the wanted scopes. It
is looked at here and goes nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..http.caller import Caller, has_caller, set_caller
from ..json_values import JsonObject

if TYPE_CHECKING:
    import jwt

    from ..config import ServerConfig

log = logging.getLogger(__name__)


_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LEEWAY = 30  # seconds that clocks may differ
_LONGEST = 16 * 1024  # characters of a token
_TIMEOUT = 10.0
_PAUSE = 30.0  # seconds between two looks for keys, however many tokens name unknown ones


class BadToken(Exception):
    """Why a token is not accepted, for the log; clients hear only that it is not."""


@dataclass
class Tokens:
    """Checks access tokens.

    Args:
        issuer: URL of the authorization server, as tokens name it.
        resource: URL of ``/mcp``, as tokens name their audience.
        scopes: that each token must have.
    """

    issuer: str
    resource: str
    scopes: tuple[str, ...] = ()
    _keys: dict[str | None, jwt.PyJWK] = field(default_factory=dict)
    _looked: float = float("-inf")
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, config: ServerConfig) -> Self | None:
        """None where the operator wants no tokens."""
        if config.oauth_issuer is None or config.oauth_resource is None:
            return None
        return cls(config.oauth_issuer, config.oauth_resource, tuple(config.oauth_scopes))

    @property
    def metadata_paths(self) -> tuple[str, str]:
        """Where clients look for :meth:`metadata`: by this resource's path, and without one."""
        return f"{_WELL_KNOWN}{urlsplit(self.resource).path.rstrip('/')}", _WELL_KNOWN

    @property
    def metadata_url(self) -> str:
        parts = urlsplit(self.resource)
        return f"{parts.scheme}://{parts.netloc}{self.metadata_paths[0]}"

    def metadata(self) -> JsonObject:
        """What clients have to know to get a token."""
        known: JsonObject = {
            "resource": self.resource,
            "authorization_servers": [self.issuer],
            "bearer_methods_supported": ["header"],
            "resource_name": "agenthost",
        }
        return {**known, "scopes_supported": list(self.scopes)} if self.scopes else known

    def metadata_routes(self) -> list[Route]:
        async def show(request: Request) -> JSONResponse:
            return JSONResponse(self.metadata(), headers={"Access-Control-Allow-Origin": "*"})

        return [Route(path, show) for path in dict.fromkeys(self.metadata_paths)]

    async def claims(self, token: str) -> JsonObject:
        """What a token says. Raises BadToken."""
        import jwt

        if len(token) > _LONGEST:
            raise BadToken("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            return jwt.decode(
                token,
                key,
                algorithms=list(_ALGORITHMS),
                issuer=self.issuer,
                audience=[self.resource, self.resource.rstrip("/")],
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise BadToken(str(error)) from error

    async def _key(self, key_id: str | None) -> jwt.PyJWK:
        if key_id not in self._keys:
            async with self._looking:
                if key_id not in self._keys and time.monotonic() - self._looked > _PAUSE:
                    self._looked = time.monotonic()
                    await self._look()
        if key_id not in self._keys:
            raise BadToken("it is signed by an unknown key")
        return self._keys[key_id]

    async def _look(self) -> None:
        """Get the issuer's keys, from where its metadata says. Raises BadToken."""
        import httpx2
        import jwt

        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT) as http:
                for url in _metadata_urls(self.issuer):
                    answer = await http.get(url)
                    if answer.status_code == 200 and answer.json().get("issuer") == self.issuer:
                        keys = (await http.get(answer.json()["jwks_uri"])).raise_for_status().json()
                        break
                else:
                    raise BadToken(f"the issuer {self.issuer} has no metadata of its own name")
            found = jwt.PyJWKSet.from_dict(keys).keys
        except (httpx2.HTTPError, jwt.PyJWTError, ValueError, KeyError, AttributeError) as error:
            log.warning("the keys of %s could not be read: %s", self.issuer, error)
            raise BadToken("the issuer's keys could not be read") from error
        self._keys = {key.key_id: key for key in found}


class TokenGate:
    """ASGI middleware: lets requests through that the guard knows the caller of, or that bring a good token."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not has_caller(scope):
            problem = await self._admit(scope)
            if problem is not None:
                await problem(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> JSONResponse | None:
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return self._refusal(401, None, "a token is needed")
        try:
            claims = await self._tokens.claims(token.strip())
        except BadToken as reason:
            log.info("a token was refused: %s", reason)
            return self._refusal(401, "invalid_token", "the token is not valid here")
        if not set(self._tokens.scopes) <= _scopes(claims):
            return self._refusal(403, "insufficient_scope", "the token lacks a scope")
        client = str(claims.get("client_id") or claims.get("azp") or "")
        principal = "\0".join((self._tokens.issuer, str(claims["sub"]), client))
        set_caller(scope, Caller(f"oauth-{hashlib.sha256(principal.encode()).hexdigest()[:32]}"))
        return None

    def _refusal(self, status: int, error: str | None, description: str) -> JSONResponse:
        parts = [f'error="{error}"', f'error_description="{description}"'] if error else []
        parts.append(f'resource_metadata="{self._tokens.metadata_url}"')
        if self._tokens.scopes:
            parts.append(f'scope="{" ".join(self._tokens.scopes)}"')
        body = {"error": error or "invalid_request", "error_description": description}
        return JSONResponse(body, status_code=status, headers={"WWW-Authenticate": f"Bearer {', '.join(parts)}"})


def _scopes(claims: JsonObject) -> set[str]:
    given = claims.get("scope", claims.get("scp", ()))
    return set(given.split() if isinstance(given, str) else map(str, given))


def _metadata_urls(issuer: str) -> list[str]:
    """RFC 8414 and OpenID Connect, with the issuer's path where each of them wants it."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    kinds = ("oauth-authorization-server", "openid-configuration")
    return [*(f"{origin}/.well-known/{kind}{path}" for kind in kinds), f"{origin}{path}/.well-known/{kinds[1]}"]

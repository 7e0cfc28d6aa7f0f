"""Logging in to external servers that want it, by OAuth 2.1: discovery, registration, PKCE and refresh are the SDK's.

A person logs in once, on a page of the server's; what comes of it is kept in a folder, so that a server without a
terminal finds it there.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.abc
import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl, ValidationError

from .config import OAuth, ServerConfig
from .http import Waiting

Show = Callable[[str, str], Awaitable[None]]
"""Shows a person where to log in: the server's label, and the page's URL."""

_PATIENCE = 600.0  # seconds that a person may take
_LONGEST_REQUEST = 16 * 1024
_PATH = "/callback"
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nDone. You can close this page.\n"
_OTHER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Login:
    """
    Args:
        folder: where tokens are kept, readable by this user alone; None for this process's memory.
        show: None where there is no person: only what was logged in to before can be used.
    """

    def __init__(self, folder: Path | None = None, show: Show | None = None) -> None:
        self._folder = folder
        self._show = show

    def auth(self, config: ServerConfig, waiting: Waiting) -> httpx2.Auth | None:
        """For requests to ``config``'s URL; None where the configuration brings credentials of its own."""
        if config.url is None or any(name.lower() == "authorization" for name in config.headers):
            return None
        oauth = config.oauth or OAuth()
        kept = TokenFile(self._folder, config, oauth)
        if oauth.client_credentials and oauth.client_id and oauth.client_secret:
            return ClientCredentialsOAuthProvider(
                config.url, kept, oauth.client_id, oauth.client_secret, scope=oauth.scope, issuer=oauth.issuer
            )
        page = _Page(config.label, kept.port or oauth.callback_port or _free_port(), self._show, waiting)
        kept.redirect = page.url
        metadata = OAuthClientMetadata(client_name="agenthost", redirect_uris=[AnyUrl(page.url)], scope=oauth.scope)
        return OAuthClientProvider(
            config.url, metadata, kept, page.open, page.result, client_metadata_url=oauth.client_metadata_url
        )


class TokenFile:
    """The SDK's token storage: one server's tokens and registration, in a file or in memory.

    Attributes:
        redirect: the page that a client known beforehand comes back to.
    """

    def __init__(self, folder: Path | None, config: ServerConfig, oauth: OAuth) -> None:
        # Another client or another URL is another login.
        identity = json.dumps([config.url, oauth.client_id, oauth.client_metadata_url])
        name = f"{config.label}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
        self._file = None if folder is None else folder / name
        self._oauth = oauth
        self._kept = self._read()
        self.redirect = ""

    @property
    def port(self) -> int | None:
        """Where an earlier registration said that its page is."""
        uris = self._kept.get("client", {}).get("redirect_uris") or [""]
        return urlsplit(str(uris[0])).port

    async def get_tokens(self) -> OAuthToken | None:
        try:
            return OAuthToken.model_validate(self._kept["tokens"]) if "tokens" in self._kept else None
        except ValidationError:
            return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._keep("tokens", tokens.model_dump(mode="json", exclude_none=True))

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        if self._oauth.client_id is not None:
            method = "none" if self._oauth.client_secret is None else "client_secret_basic"
            return OAuthClientInformationFull(
                client_id=self._oauth.client_id, client_secret=self._oauth.client_secret,
                redirect_uris=[AnyUrl(self.redirect)], token_endpoint_auth_method=method,
            )  # fmt: skip
        try:
            return OAuthClientInformationFull.model_validate(self._kept["client"]) if "client" in self._kept else None
        except ValidationError:
            return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._keep("client", client_info.model_dump(mode="json", exclude_none=True))

    def _read(self) -> dict[str, Any]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            kept = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _keep(self, part: str, value: object) -> None:
        self._kept[part] = value
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._file.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self._kept, file)
        new.replace(self._file)


class _Page:
    """The page on this machine to which a login comes back, open while one is under way."""

    def __init__(self, label: str, port: int, show: Show | None, waiting: Waiting) -> None:
        self.url = f"http://127.0.0.1:{port}{_PATH}"
        self._label = label
        self._port = port
        self._show = show
        self._waiting = waiting
        self._listener: anyio.abc.Listener[anyio.abc.SocketStream] | None = None

    async def open(self, authorization_url: str) -> None:
        if self._show is None:
            raise OAuthFlowError("it wants a login. Run `agenthost run` with this configuration once, in a terminal")
        if urlsplit(authorization_url).scheme not in ("http", "https"):
            raise OAuthFlowError("its login page is not on the web")
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port)
        await self._show(self._label, authorization_url)

    async def result(self) -> AuthorizationCodeResult:
        assert self._listener is not None
        found: list[AuthorizationCodeResult | str] = []
        async with self._listener as listener:
            with self._waiting(), anyio.move_on_after(_PATIENCE) as scope:

                async def answer(stream: anyio.abc.SocketStream) -> None:
                    async with stream:
                        result = _result(await _first_line(stream))
                        with suppress(anyio.BrokenResourceError):
                            await stream.send(_OTHER if result is None else _PAGE)
                    if result is not None:
                        found.append(result)
                        scope.cancel()

                await listener.serve(answer)
        match found:
            case [AuthorizationCodeResult() as result, *_]:
                return result
            case [str() as error, *_]:
                raise OAuthFlowError(f"the login failed: {error}")
        raise OAuthFlowError("nobody logged in")


async def _first_line(stream: anyio.abc.SocketStream) -> str:
    """Of a request; empty if none comes: browsers connect ahead of time."""
    data = b""
    with anyio.move_on_after(10), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while b"\n" not in data and len(data) < _LONGEST_REQUEST:
            data += await stream.receive()
    line, end, _ = data.partition(b"\n")
    return line.decode("ascii", "replace") if end else ""


def _result(line: str) -> AuthorizationCodeResult | str | None:
    """What a request for the page brings, or the error that it tells; None for other requests."""
    words = line.split()
    if len(words) < 2 or words[0] != "GET" or urlsplit(words[1]).path != _PATH:
        return None
    query = {name: values[0] for name, values in parse_qs(urlsplit(words[1]).query).items()}
    if "error" in query:
        return query["error"][:100]
    return AuthorizationCodeResult(code=query.get("code", ""), state=query.get("state"), iss=query.get("iss"))


def _free_port() -> int:
    """One below those that Linux gives to outgoing connections, so that none of these takes it until the login."""
    for _ in range(100):
        with suppress(OSError), socket.create_server(("127.0.0.1", 20_000 + secrets.randbelow(12_768))) as listener:
            return listener.getsockname()[1]
    raise OAuthFlowError("there is no free port for the page that a login comes back to")

"""Which external MCP servers there are: ``mcp.json`` in the form that MCP clients share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import RemoteConfigError
from ..json_values import JsonObject

# The label ends at the first "__" of its tools' names.
_LABEL = re.compile(r"(?!.*__)[A-Za-z0-9]([A-Za-z0-9_-]{0,30}[A-Za-z0-9-])?")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class OAuth:
    """How to log in to a server; without any of these by a registration that the server makes itself.

    Args:
        client_id, client_secret: of a client that was registered beforehand.
        client_metadata_url: where a document describes this client; it is then its id.
        scope: to ask for, separated by spaces; None for what the server says.
        callback_port: of the page on this machine to which the login comes back; None for any.
        client_credentials: log in as the client itself, without a person.
        issuer: the authorization server to which these credentials belong.
    """

    client_id: str | None = None
    client_secret: str | None = None
    client_metadata_url: str | None = None
    scope: str | None = None
    callback_port: int | None = None
    client_credentials: bool = False
    issuer: str | None = None


@dataclass(frozen=True)
class ServerConfig:
    """One external server, reached by a command or by a URL.

    Args:
        label: our name for it, which its tools carry. What the server calls itself is of no account.
        command: the program and its arguments; it runs with the rights of this process.
        env: further environment variables of the command.
        cwd: where the command runs.
        url: of a streamable HTTP endpoint.
        headers: sent with every request to ``url``. oauth: how to log in there, if it asks for that.
        allowed: names of the tools to offer; None for all.
        excluded: names of tools not to offer.
        approved: names of tools that may be called without asking; ``*`` for all.
        timeout: seconds of one call.
        defer: put its tools behind a search, even if they are few.
    """

    label: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    oauth: OAuth | None = None
    allowed: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()
    timeout: float = 60.0
    defer: bool = False

    def offers(self, tool: str) -> bool:
        return (self.allowed is None or tool in self.allowed) and tool not in self.excluded

    def approves(self, tool: str) -> bool:
        return "*" in self.approved or tool in self.approved


def read_config(file: Path, environment: Mapping[str, str]) -> list[ServerConfig]:
    """The servers that ``file`` describes, except the disabled ones, in its order.

    ``${NAME}`` and ``${NAME:-default}`` in values stand for variables of ``environment``.

    Raises RemoteConfigError.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RemoteConfigError(f"cannot read {file}: {error}") from error
    servers = content.get("mcpServers", content.get("servers")) if isinstance(content, dict) else None
    if not isinstance(servers, dict):
        raise RemoteConfigError(f'{file}: expected an object with "mcpServers", an object of servers by label')
    found = []
    for label, given in servers.items():
        try:
            config = _server(label, given, environment)
        except RemoteConfigError as error:
            raise RemoteConfigError(f"{file}: server {label!r}: {error}") from None
        if config is not None:
            found.append(config)
    return found


def _server(label: str, given: object, environment: Mapping[str, str]) -> ServerConfig | None:
    if not _LABEL.fullmatch(label):
        raise RemoteConfigError(
            "a label has 1 to 32 letters, digits, '-' and single '_', begins with a letter or digit, and does not end "
            "with '_'"
        )
    if not isinstance(given, dict):
        raise RemoteConfigError("expected an object")
    if given.get("disabled") is True or given.get("enabled") is False:
        return None
    fill = _Filler(environment)
    common = {
        "label": label,
        "allowed": _names(given, "allowedTools", "includeTools"),
        "excluded": _names(given, "excludedTools", "excludeTools") or frozenset(),
        "approved": _names(given, "autoApprove", "alwaysAllow") or frozenset(),
        "timeout": _seconds(given.get("timeoutSeconds", 60.0)),
        "defer": given.get("defer") is True,
    }
    kind = given.get("type", given.get("transport"))
    url = given.get("url", given.get("httpUrl", given.get("serverUrl")))
    if kind == "sse":
        raise RemoteConfigError("the SSE transport is out of use; give the server's streamable HTTP URL, type 'http'")
    if kind not in (None, "stdio", "http", "streamable-http", "streamableHttp", "streamable_http"):
        raise RemoteConfigError(f"type is {kind!r}, expected 'stdio' or 'http'")
    if "command" in given and url is None and kind in (None, "stdio"):
        words = [given["command"], *_strings(given.get("args", []), "args")]
        command = tuple(fill(word, "command") for word in words)
        env = _mapping(given.get("env", {}), "env", fill)
        cwd = given.get("cwd")
        return ServerConfig(command=command, env=env, cwd=None if cwd is None else fill(cwd, "cwd"), **common)
    if url is not None and "command" not in given and kind != "stdio":
        address = fill(url, "url")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RemoteConfigError(f"url is {address!r}, expected http:// or https://")
        headers = _mapping(given.get("headers", {}), "headers", fill)
        return ServerConfig(url=address, headers=headers, oauth=_oauth(given.get("oauth"), fill), **common)
    raise RemoteConfigError('expected either "command" (with "args", "env") or "url" (with "headers")')


class _Filler:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __call__(self, value: object, where: str) -> str:
        if not isinstance(value, str):
            raise RemoteConfigError(f"{where}: expected a string, got {value!r}")
        return _VARIABLE.sub(lambda match: self._variable(match, where), value)

    def _variable(self, match: re.Match[str], where: str) -> str:
        value = self._environment.get(match[1], match[2])
        if value is None:
            raise RemoteConfigError(f"{where}: the environment variable {match[1]} is not set")
        return value


def _oauth(given: object, fill: _Filler) -> OAuth | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise RemoteConfigError("oauth: expected an object")
    known = {"clientId", "clientSecret", "clientMetadataUrl", "scopes", "callbackPort", "grant", "issuer"}
    if unknown := sorted(set(given) - known):
        raise RemoteConfigError(f"oauth: unknown: {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
    texts = {key: fill(given[key], f"oauth.{key}") for key in known - {"scopes", "callbackPort"} if key in given}
    grant, port, secret = texts.get("grant", "authorization_code"), given.get("callbackPort"), texts.get("clientSecret")
    if grant not in ("authorization_code", "client_credentials"):
        raise RemoteConfigError(f"oauth.grant is {grant!r}, expected 'authorization_code' or 'client_credentials'")
    if grant == "client_credentials" and not ("clientId" in texts and secret):
        raise RemoteConfigError("oauth.grant 'client_credentials' needs clientId and clientSecret")
    if port is not None and (not isinstance(port, int) or not 0 < port < 65536):
        raise RemoteConfigError(f"oauth.callbackPort is {port!r}, expected a port")
    scope = " ".join(_strings(given["scopes"], "oauth.scopes")) if "scopes" in given else None
    return OAuth(
        texts.get("clientId"), secret, texts.get("clientMetadataUrl"), scope, port, grant == "client_credentials",
        texts.get("issuer"),
    )  # fmt: skip


def _mapping(given: object, where: str, fill: _Filler) -> dict[str, str]:
    if not isinstance(given, dict):
        raise RemoteConfigError(f"{where}: expected an object of strings")
    return {name: fill(value, f"{where}.{name}") for name, value in given.items()}


def _strings(given: object, where: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise RemoteConfigError(f"{where}: expected a list of strings")
    return given


def _names(given: JsonObject, *keys: str) -> frozenset[str] | None:
    for key in keys:
        if key in given:
            return frozenset(["*"] if given[key] is True else _strings(given[key], key))
    return None


def _seconds(given: object) -> float:
    if not isinstance(given, int | float) or isinstance(given, bool) or not 0 < given <= 3600:
        raise RemoteConfigError(f"timeoutSeconds is {given!r}, expected a number of seconds up to 3600")
    return float(given)

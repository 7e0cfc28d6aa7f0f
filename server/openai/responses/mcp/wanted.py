"""Reads tools of type ``mcp`` that stand for an external server."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .....tools.egress.errors import Refused
from .....tools.egress.target import Target
from .....tools.remote import ServerConfig
from ....json_values import JsonObject
from ...errors import ApiError

if TYPE_CHECKING:
    from .....tools.remote.definition import Definition


MOST_SERVERS = 16
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_MOST_HEADERS = 32
# What the transport writes itself.
_OURS = frozenset(
    ("accept", "connection", "content-length", "content-type", "host", "mcp-session-id", "te", "transfer-encoding")
)


@dataclass(frozen=True)
class Filter:
    """Which of a server's tools are meant: all that fit every part that is given; none, when no part is.

    Args:
        read_only: those that claim to be so. Whoever filters by it trusts that claim.
    """

    names: frozenset[str] | None = None
    read_only: bool | None = None

    def matches(self, name: str, *, read_only: bool) -> bool:
        if self.names is None and self.read_only is None:
            return False
        return (self.names is None or name in self.names) and self.read_only in (None, read_only)


_NONE = Filter()


@dataclass(frozen=True)
class Policy:
    """Which tools the model may know of, and which calls a client wants to be asked about.

    Args:
        allowed: None for all.
        always, never: the tools whose calls need approval, and those whose calls do not. What is in both or in neither
            needs it; ``never`` is None where nothing does.
    """

    allowed: Filter | None = None
    always: Filter = _NONE
    never: Filter | None = _NONE

    def allows(self, name: str, *, read_only: bool) -> bool:
        return self.allowed is None or self.allowed.matches(name, read_only=read_only)

    def asks(self, name: str, *, read_only: bool) -> bool:
        if self.never is None:
            return False
        return self.always.matches(name, read_only=read_only) or not self.never.matches(name, read_only=read_only)


@dataclass(frozen=True)
class Wanted:
    """One external server of a request.

    Args:
        config: where it is; None for the operator's server ``operator``.
        deferred: its tools go behind a search.
    """

    label: str
    operator: str | None = None
    config: ServerConfig | None = None
    policy: Policy = Policy()
    deferred: bool = False

    def allows(self, definition: Definition) -> bool:
        return self.policy.allows(definition.name, read_only=definition.says_read_only)

    def asks(self, definition: Definition) -> bool:
        return self.policy.asks(definition.name, read_only=definition.says_read_only)


def read_policy(tool: JsonObject, place: str) -> Policy:
    """Raises :class:`ApiError`."""
    always, never = _approval(tool.get("require_approval"), f"{place}.require_approval")
    return Policy(_allowed(tool.get("allowed_tools"), f"{place}.allowed_tools"), always, never)


def read_wanted(tool: JsonObject, place: str, operators: Collection[str]) -> Wanted:
    """Raises :class:`ApiError`.

    Args:
        operators: labels of the operator's servers, which ``connector_id`` names, or ``server_label`` alone.
    """
    label = tool.get("server_label")
    if not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise _invalid(f"{place}.server_label", "1 to 64 letters, digits, '-' and '_', no mark first")
    for field in ("command", "args", "tunnel_id"):
        if tool.get(field) is not None:
            raise ApiError(
                f"{place}.{field} is not supported: give a server_url. Only the operator can start commands.",
                code="unsupported_value",
                param=f"{place}.{field}",
            )
    operator, config = _place(tool, label, place, operators)
    return Wanted(label, operator, config, read_policy(tool, place), tool.get("defer_loading") is True)


def redacted(url: str) -> str:
    """A server's URL as it may be stored and shown: paths and queries of some are secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<redacted>"
    hidden = parts.path.strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" + ("/<redacted>" if hidden else "")


def _place(
    tool: JsonObject, label: str, place: str, operators: Collection[str]
) -> tuple[str | None, ServerConfig | None]:
    url, connector = tool.get("server_url"), tool.get("connector_id")
    if url is None:
        name = label if connector is None else connector
        if name in operators:
            return str(name), None
        known = ", ".join(("agenthost_files", *operators))
        message = f"There is no connector {str(name)[:100]!r} on this server. Give a server_url, or one of: {known}."
        field = "server_url" if connector is None else "connector_id"
        raise ApiError(message, code="unsupported_value", param=f"{place}.{field}")
    if connector is not None:
        raise ApiError(f"{place} has both server_url and connector_id; give one.", code="invalid_value", param=place)
    if not isinstance(url, str):
        raise _invalid(f"{place}.server_url", "a URL")
    try:
        target = Target.parse(url)
    except Refused as error:
        raise ApiError(f"{place}.server_url: {error}", code="invalid_value", param=f"{place}.server_url") from error
    return None, ServerConfig(label, url=target.url, headers=_headers(tool, place))


def _headers(tool: JsonObject, place: str) -> dict[str, str]:
    given = tool.get("headers") or {}
    where = f"{place}.headers"
    if not isinstance(given, dict) or len(given) > _MOST_HEADERS:
        raise _invalid(where, f"an object of at most {_MOST_HEADERS} strings")
    headers: dict[str, str] = {}
    for name, value in given.items():
        if not _HEADER.fullmatch(name) or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise _invalid(where, "names and values that HTTP allows")
        if name.lower() in _OURS:
            raise ApiError(f"{where} must not have {name!r}.", code="invalid_value", param=where)
        headers[name.lower()] = value
    token = tool.get("authorization")
    if token is None:
        return headers
    if not isinstance(token, str) or not _VALUE.fullmatch(token):
        raise _invalid(f"{place}.authorization", "an access token")
    if "authorization" in headers:
        raise ApiError(
            f"{place} has both authorization and an Authorization header; give one.", code="invalid_value", param=place
        )
    return {**headers, "authorization": f"Bearer {token}"}


def _allowed(given: object, where: str) -> Filter | None:
    if given is None:
        return None
    return Filter(_names(given, where)) if isinstance(given, list) else _filter(given, where)


def _approval(given: object, where: str) -> tuple[Filter, Filter | None]:
    """``always`` and ``never``. What nobody has said needs approval."""
    match given:
        case None | "always":
            return _NONE, _NONE
        case "never":
            return _NONE, None
        case dict():
            always, never = (_filter(given.get(kind) or {}, f"{where}.{kind}") for kind in ("always", "never"))
            return always, never
        case _:
            raise _invalid(where, "'always', 'never', or an object with 'always' and 'never'")


def _filter(given: object, where: str) -> Filter:
    if not isinstance(given, dict):
        raise _invalid(where, "an object with tool_names and read_only")
    names, read_only = given.get("tool_names"), given.get("read_only")
    if read_only is not None and not isinstance(read_only, bool):
        raise _invalid(f"{where}.read_only", "true or false")
    return Filter(None if names is None else _names(names, f"{where}.tool_names"), read_only)


def _names(given: object, where: str) -> frozenset[str]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise _invalid(where, "a list of tools' names")
    return frozenset(given)


def _invalid(where: str, expected: str) -> ApiError:
    return ApiError(f"Invalid '{where}': expected {expected}.", code="invalid_value", param=where)

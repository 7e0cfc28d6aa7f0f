"""Addresses of workspace files as MCP resources: ``workspace:///SESSION/PATH``.

The session's id is in the path, where case counts; as a host name, clients would write it in lower case.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

_PREFIX = "workspace:///"

TEMPLATE = _PREFIX + "{session_id}/{+path}"


def workspace_uri(session_id: str, path: str) -> str:
    """``path`` is relative to the workspace; names that are not UTF-8 keep their bytes."""
    return f"{_PREFIX}{session_id}/{quote(path, errors='surrogateescape')}"


def parse(uri: str) -> tuple[str, str] | None:
    """The session's id and the path, or None for any other address."""
    if not uri.startswith(_PREFIX):
        return None
    session_id, slash, path = uri.removeprefix(_PREFIX).partition("/")
    path = unquote(path, errors="surrogateescape")
    return (session_id, path) if slash and session_id and path else None

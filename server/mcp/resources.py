"""Workspace files as MCP resources: list, read, templates, subscribe."""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import os
from collections.abc import Sequence
from itertools import islice

import mcp.types as types
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ...tools import Session, ToolError
from ...tools.files.beneath import clean, regular
from ...tools.files.text import read_bytes
from ...tools.files.walk import shown, walk
from .uris import TEMPLATE, parse, workspace_uri
from .visits import Context, Visits, caller
from .watch import Watch

PAGE = 200  # resources
_MOST_READ = 8 << 20  # bytes of one file
_MOST_LISTED = 5000  # files of one workspace
_MOST_FOLLOWED = 100  # resources of one subscription
_NOT_FOUND_BEFORE = -32002  # before 2026-07-28


class Resources:
    """
    Args:
        visits: whose sessions there are.
        watch: tells of changes.
    """

    def __init__(self, visits: Visits, watch: Watch) -> None:
        self._visits = visits
        self._watch = watch
        self._listening = ListenHandler(watch.bus)

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """Files of the caller's sessions. Anonymous callers see none: they share a name, and know their own ids."""
        skip = _position(params.cursor if params is not None else None)
        sessions = self._visits.listed(caller(context))
        page, more = await asyncio.to_thread(_page, sessions, skip)
        return types.ListResourcesResult(resources=page, next_cursor=str(skip + PAGE) if more else None)

    async def templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="workspace_file", title="Workspace file", uri_template=TEMPLATE, description="A file of a session"
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read(self, context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """Raises MCPError: no such file for this caller, or it is too large."""
        session, path = self._find(context, params.uri)
        try:
            data = await asyncio.to_thread(_read, session, path, _MOST_READ + 1)
        except (OSError, ToolError):
            raise _not_found(context, params.uri) from None
        if len(data) > _MOST_READ:
            message = f"The file has more than {_MOST_READ} bytes. Read parts of it with a tool."
            raise MCPError(types.INVALID_PARAMS, message, data={"uri": params.uri})
        kind = mimetypes.guess_type(path)[0]
        try:
            text = types.TextResourceContents(uri=params.uri, mime_type=kind or "text/plain", text=data.decode())
            return types.ReadResourceResult(contents=[text])
        except UnicodeDecodeError:
            blob = base64.b64encode(data).decode()
            kind = kind or "application/octet-stream"
            return types.ReadResourceResult(
                contents=[types.BlobResourceContents(uri=params.uri, mime_type=kind, blob=blob)]
            )

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """For clients with a handshake: notify this connection of changes until it ends. Raises MCPError."""
        self._find(context, params.uri)
        self._watch.subscribe(context.session, params.uri)
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self._watch.unsubscribe(context.session, params.uri)
        return types.EmptyResult()

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """For clients without a handshake: a stream of changes to those resources that the caller may read."""
        wanted = (params.notifications.resource_subscriptions or [])[:_MOST_FOLLOWED]
        allowed = [uri for uri in wanted if self._may_read(context, uri)]
        only = types.SubscriptionFilter(resource_subscriptions=allowed or None)
        with self._watch.following(allowed):
            return await self._listening(context, params.model_copy(update={"notifications": only}))

    def _may_read(self, context: Context, uri: str) -> bool:
        try:
            self._find(context, uri)
        except MCPError:
            return False
        return True

    def _find(self, context: Context, uri: str) -> tuple[Session, str]:
        """The caller's session and the cleaned path. The file need not be there. Raises MCPError."""
        parts = parse(uri)
        if parts is None:
            raise _not_found(context, uri)
        try:
            return self._visits.find(caller(context), parts[0]), clean(parts[1])
        except ToolError:
            raise _not_found(context, uri) from None


def _not_found(context: Context, uri: str) -> MCPError:
    modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
    return MCPError(types.INVALID_PARAMS if modern else _NOT_FOUND_BEFORE, "Resource not found", data={"uri": uri})


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 9):
        raise MCPError(types.INVALID_PARAMS, "Invalid cursor")
    return int(cursor)


def _page(sessions: Sequence[Session], skip: int) -> tuple[list[types.Resource], bool]:
    """The files of a page that begins after ``skip`` of them, and whether there are more. Looks no further."""
    found: list[types.Resource] = []
    for session in sessions:
        paths = _paths(session)
        for path in paths[skip:]:
            if len(found) == PAGE:
                return found, True
            found.append(_resource(session, path))
        skip = max(0, skip - len(paths))
    return found, False


def _paths(session: Session) -> list[str]:
    try:
        entries = islice(walk(session.files), _MOST_LISTED)
        return sorted(path for path, entry in entries if entry.is_file(follow_symlinks=False))
    except (OSError, ToolError):  # the session has just ended
        return []


def _resource(session: Session, path: str) -> types.Resource:
    try:
        size = session.files.status(path).st_size
    except (OSError, ToolError):  # gone since it was listed
        size = None
    kind = mimetypes.guess_type(path)[0]
    return types.Resource(name=shown(path), uri=workspace_uri(session.id, path), mime_type=kind, size=size)


def _read(session: Session, path: str, most: int) -> bytes:
    fd = session.files.open(path, os.O_RDONLY)
    try:
        regular(fd, path)
        return read_bytes(fd, most)
    finally:
        os.close(fd)

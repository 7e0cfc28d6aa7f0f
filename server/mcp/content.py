"""Tools and their results in MCP's words."""

from __future__ import annotations

import base64

import mcp.types as types

from ...tools import Session, ToolResult, ToolSpec
from ..json_values import JsonObject
from .uris import workspace_uri

SESSION_ID = "session_id"
# In _meta of results: the workspace, and that variables of earlier calls are gone.
_SESSION_KEY, _STATE_LOST_KEY = "agenthost/session_id", "agenthost/state_lost"
_SESSION_ARGUMENT: JsonObject = {
    "type": "string",
    "description": "Workspace to work in: the session_id of an earlier result. Leave out to start with an empty one.",
}
_OWN_ARGUMENT: JsonObject = {"type": "string", "description": "Workspace to work in, if not this server's own"}
_SESSION_RESULT: JsonObject = {"type": "string", "description": "The workspace that was made for this call"}


def tool(spec: ToolSpec, *, own_session: bool) -> types.Tool:
    """``spec`` as MCP clients see it: with the argument that names a session."""
    hints = spec.annotations
    argument = _OWN_ARGUMENT if own_session else _SESSION_ARGUMENT
    return types.Tool(
        name=spec.name,
        description=spec.description,
        input_schema=_with_property(spec.parameters, argument),
        output_schema=None if spec.output is None else _with_property(spec.output, _SESSION_RESULT),
        annotations=types.ToolAnnotations(
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def result(given: ToolResult, session: Session | None, *, is_new: bool, limit: int) -> types.CallToolResult:
    """What a call gave back, with the id of its session.

    Args:
        limit: bytes that all content may have together; more becomes an error that says so.
    """
    size = _size(given)
    if size > limit:
        return failure(
            f"the result has {size} bytes, more than the {limit} that can be returned. Ask for a part of it, or write "
            "it to a file and read parts of that."
        )
    content: list[types.ContentBlock] = [types.TextContent(text=given.text)]
    content += [_media(media.data, media.mime_type) for media in given.media]
    structured = given.structured
    if session is not None:
        content += [
            types.ResourceLink(
                name=file.path, uri=workspace_uri(session.id, file.path), mime_type=file.mime_type, size=file.size
            )
            for file in given.files
        ]
        if is_new:
            content.append(types.TextContent(text=f"{SESSION_ID}: {session.id} (pass it on to work in this workspace)"))
            structured = None if structured is None else {**structured, SESSION_ID: session.id}
    meta: JsonObject = {} if session is None else {_SESSION_KEY: session.id}
    if given.state_lost:
        meta[_STATE_LOST_KEY] = True
    return types.CallToolResult(
        content=content, structured_content=structured, is_error=given.is_error, _meta=meta or None
    )


def failure(message: str) -> types.CallToolResult:
    """A tool execution error, which the model is meant to read."""
    return types.CallToolResult(content=[types.TextContent(text=f"Error: {message}")], is_error=True)


def session_id(result: types.CallToolResult | None) -> str | None:
    """Of the session that a call worked in, where its result tells it."""
    return None if result is None else (result.meta or {}).get(_SESSION_KEY)


def size(result: types.CallToolResult | None) -> int:
    """Characters of a result's texts and encoded media."""
    blocks = () if result is None else result.content
    return sum(len(getattr(block, "text", getattr(block, "data", ""))) for block in blocks)


def _media(data: bytes, mime_type: str) -> types.ContentBlock:
    encoded = base64.b64encode(data).decode()
    if mime_type.startswith("audio/"):
        return types.AudioContent(data=encoded, mime_type=mime_type)
    return types.ImageContent(data=encoded, mime_type=mime_type)


def _size(given: ToolResult) -> int:
    # Structured content repeats the text; only what is more than that counts.
    return len(given.text.encode("utf-8", "replace")) + sum(len(media.data) * 4 // 3 for media in given.media)


def _with_property(schema: JsonObject, argument: JsonObject) -> JsonObject:
    return {**schema, "properties": {**schema.get("properties", {}), SESSION_ID: argument}}

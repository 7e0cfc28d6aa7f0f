"""What a fixture is, and the pieces that fixtures are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import mcp.types as types

from ...json_values import JsonObject
from ..visits import Context

Given = types.CallToolResult | types.InputRequiredResult | JsonObject
Handler = Callable[[Context, types.CallToolRequestParams], Awaitable[Given]]

NOTHING: JsonObject = {"type": "object", "properties": {}}

# One red pixel, and half a millisecond of silence.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA=="


@dataclass(frozen=True)
class Fixture:
    name: str
    handler: Handler
    schema: JsonObject = field(default_factory=lambda: NOTHING)
    description: str = "For the conformance suite"


def text(words: str, *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=words)], is_error=is_error)


def form(message: str, properties: JsonObject, required: list[str] | None = None) -> types.ElicitRequest:
    schema: JsonObject = {"type": "object", "properties": properties}
    if required is not None:
        schema["required"] = required
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(words: str, max_tokens: int) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(text=words))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def strings(*names: str) -> JsonObject:
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": list(names)}

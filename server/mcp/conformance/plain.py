"""Fixtures that answer at once, tell progress, log, or ask over a connection with a handshake."""

from __future__ import annotations

import json

import anyio
import mcp.types as types
from mcp.server.subscriptions import PromptsListChanged, SubscriptionBus, ToolsListChanged
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

from ...json_values import JsonObject
from ..visits import Context
from .fixture import PNG, WAV, Fixture, Given, form, sample, strings, text

_PAUSE = 0.05
_MISSING_CAPABILITY = -32021

Params = types.CallToolRequestParams


async def _simple_text(context: Context, params: Params) -> Given:
    return text("This is a simple text response for testing.")


async def _image(context: Context, params: Params) -> Given:
    return types.CallToolResult(content=[types.ImageContent(data=PNG, mime_type="image/png")])


async def _audio(context: Context, params: Params) -> Given:
    return types.CallToolResult(content=[types.AudioContent(data=WAV, mime_type="audio/wav")])


def _resource(uri: str, kind: str, words: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=kind, text=words))


async def _embedded(context: Context, params: Params) -> Given:
    words = "This is an embedded resource content."
    return types.CallToolResult(content=[_resource("test://embedded-resource", "text/plain", words)])


async def _mixed(context: Context, params: Params) -> Given:
    data = json.dumps({"test": "data", "value": 123})
    return types.CallToolResult(
        content=[
            types.TextContent(text="Multiple content types test:"),
            types.ImageContent(data=PNG, mime_type="image/png"),
            _resource("test://mixed-content-resource", "application/json", data),
        ]
    )


async def _logging(context: Context, params: Params) -> Given:
    for number, words in enumerate(("Tool execution started", "Tool processing data", "Tool execution completed")):
        if number:
            await anyio.sleep(_PAUSE)
        await context.session.send_log_message("info", words, related_request_id=context.request_id)
    return text("Logged.")


async def _progress(context: Context, params: Params) -> Given:
    for number, done in enumerate((0, 50, 100)):
        if number:
            await anyio.sleep(_PAUSE)
        await context.session.report_progress(done, 100)
    return text("Done.")


async def _error(context: Context, params: Params) -> Given:
    return text("This tool intentionally returns an error for testing", is_error=True)


async def _sampling(context: Context, params: Params) -> Given:
    request = sample((params.arguments or {}).get("prompt", ""), 100)
    result = await context.session.send_request(request, types.CreateMessageResult, metadata=_related(context))
    content = result.content if isinstance(result.content, types.TextContent) else None
    return text(f"LLM response: {content.text if content else result.content}")


async def _ask(context: Context, request: types.ElicitRequest) -> types.ElicitResult:
    return await context.session.send_request(request, types.ElicitResult, metadata=_related(context))


def _related(context: Context) -> ServerMessageMetadata:
    return ServerMessageMetadata(related_request_id=context.request_id)


def _ended(result: types.ElicitResult) -> Given:
    return text(f"Elicitation completed: action={result.action}, content={json.dumps(result.content)}")


async def _elicitation(context: Context, params: Params) -> Given:
    fields: JsonObject = {"username": {"type": "string"}, "email": {"type": "string"}}
    result = await _ask(context, form((params.arguments or {}).get("message", ""), fields, ["username", "email"]))
    return text(f"User response: action={result.action}, content={json.dumps(result.content)}")


async def _defaults(context: Context, params: Params) -> Given:
    fields: JsonObject = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return _ended(await _ask(context, form("Please confirm these values", fields, [])))


def _titled(*pairs: tuple[str, str]) -> list[JsonObject]:
    return [{"const": value, "title": title} for value, title in pairs]


async def _enums(context: Context, params: Params) -> Given:
    options = ["option1", "option2", "option3"]
    names = (("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option"))
    choices = (("value1", "First Choice"), ("value2", "Second Choice"), ("value3", "Third Choice"))
    legacy = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}
    fields: JsonObject = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": _titled(*names)},
        "legacyEnum": {"type": "string", **legacy},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": _titled(*choices)}},
    }
    return _ended(await _ask(context, form("Please choose", fields, [])))


async def _reconnection(context: Context, params: Params) -> Given:
    """Closes the stream under the call; the client comes back for the result."""
    if context.close_sse_stream is not None:
        await context.close_sse_stream()
    await anyio.sleep(2 * _PAUSE)
    return text("Reconnection test completed successfully.")


async def _region(context: Context, params: Params) -> Given:
    return text(f"Region: {(params.arguments or {}).get('region')}")


async def _missing_capability(context: Context, params: Params) -> Given:
    declared = context.session.client_capabilities
    if declared is None or declared.sampling is None:
        missing = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(_MISSING_CAPABILITY, "This tool needs the sampling capability", data=missing)
    return text("The client can sample.")


async def _quiet_logging(context: Context, params: Params) -> Given:
    await context.session.send_log_message("info", "only for those who asked", related_request_id=context.request_id)
    return text("Logged for those who asked.")


def triggers(bus: SubscriptionBus) -> list[Fixture]:
    """Fixtures that make news for listeners."""

    async def tools(context: Context, params: Params) -> Given:
        await bus.publish(ToolsListChanged())
        return text("Told that the tools have changed.")

    async def prompts(context: Context, params: Params) -> Given:
        await bus.publish(PromptsListChanged())
        return text("Told that the prompts have changed.")

    return [Fixture("test_trigger_tool_change", tools), Fixture("test_trigger_prompt_change", prompts)]


_SCHEMA: JsonObject = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
_HEADER: JsonObject = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}

PLAIN = [
    Fixture("test_simple_text", _simple_text),
    Fixture("test_image_content", _image),
    Fixture("test_audio_content", _audio),
    Fixture("test_embedded_resource", _embedded),
    Fixture("test_multiple_content_types", _mixed),
    Fixture("test_tool_with_logging", _logging),
    Fixture("test_tool_with_progress", _progress),
    Fixture("test_error_handling", _error),
    Fixture("test_sampling", _sampling, strings("prompt")),
    Fixture("test_elicitation", _elicitation, strings("message")),
    Fixture("test_elicitation_sep1034_defaults", _defaults),
    Fixture("test_elicitation_sep1330_enums", _enums),
    Fixture("json_schema_2020_12_tool", _simple_text, _SCHEMA, "Tool with JSON Schema 2020-12 features"),
    Fixture("test_reconnection", _reconnection),
    Fixture("test_x_mcp_header", _region, _HEADER),
    Fixture("test_missing_capability", _missing_capability),
    Fixture("test_logging_tool", _quiet_logging),
    Fixture("test_streaming_elicitation", _progress),
]

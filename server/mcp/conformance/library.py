"""The resources and prompts that the scenarios name."""

from __future__ import annotations

import json
import re

import mcp.types as types
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ..visits import Context
from .fixture import PNG, form
from .questions import answers, asking

_TEMPLATE = re.compile(r"test://template/([^/]{1,100})/data")
_CONTEXT = form("What context should the prompt use?", {"context": {"type": "string"}}, ["context"])


async def list_resources(context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    return types.ListResourcesResult(
        resources=[
            types.Resource(name="static-text", uri="test://static-text", mime_type="text/plain"),
            types.Resource(name="static-binary", uri="test://static-binary", mime_type="image/png"),
            types.Resource(name="watched-resource", uri="test://watched-resource", mime_type="text/plain"),
        ]
    )


async def list_templates(
    context: Context, params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    template = types.ResourceTemplate(
        name="template", uri_template="test://template/{id}/data", mime_type="application/json"
    )
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = params.uri
    if uri == "test://static-binary":
        binary = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
        return types.ReadResourceResult(contents=[binary])
    kind = "text/plain"
    if uri == "test://static-text":
        words = "This is the content of the static text resource."
    elif uri == "test://watched-resource":
        words = "This is a watched resource."
    elif match := _TEMPLATE.fullmatch(uri):
        kind = "application/json"
        words = json.dumps({"id": match[1], "templateTest": True, "data": f"Data for ID: {match[1]}"})
    else:
        code = types.INVALID_PARAMS if context.protocol_version in MODERN_PROTOCOL_VERSIONS else -32002
        raise MCPError(code, "Resource not found", data={"uri": uri})
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=kind, text=words)])


async def subscribe(context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
    return types.EmptyResult()


async def unsubscribe(context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    return types.EmptyResult()


def _prompt(name: str, *arguments: str) -> types.Prompt:
    listed = [types.PromptArgument(name=argument, required=True) for argument in arguments]
    return types.Prompt(name=name, description="For the conformance suite", arguments=listed or None)


async def list_prompts(context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(
        prompts=[
            _prompt("test_simple_prompt"),
            _prompt("test_prompt_with_arguments", "arg1", "arg2"),
            _prompt("test_prompt_with_embedded_resource", "resourceUri"),
            _prompt("test_prompt_with_image"),
            _prompt("test_input_required_result_prompt"),
        ]
    )


def _said(*contents: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=content) for content in contents])


async def get_prompt(
    context: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    given = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return _said(types.TextContent(text="This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            words = f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"
            return _said(types.TextContent(text=words))
        case "test_prompt_with_embedded_resource":
            resource = types.TextResourceContents(
                uri=given.get("resourceUri", ""), mime_type="text/plain", text="Embedded resource content for testing."
            )
            asked = types.TextContent(text="Please process the embedded resource above.")
            return _said(types.EmbeddedResource(resource=resource), asked)
        case "test_prompt_with_image":
            asked = types.TextContent(text="Please analyze the image above.")
            return _said(types.ImageContent(data=PNG, mime_type="image/png"), asked)
        case "test_input_required_result_prompt":
            answered = answers(params).get("user_context")
            if answered is None:
                return asking({"user_context": _CONTEXT})
            return _said(types.TextContent(text=f"Context: {answered.get('content', {}).get('context')}"))
        case _:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name[:200]}")


async def complete(context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))


async def set_level(context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
    return types.EmptyResult()

"""What routes answer, for the OpenAPI description: clients check against it, and so do our own tests."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI

from ..anthropic.errors import PATH as ANTHROPIC
from ..http.body import REFERENCE
from . import wire

JsonObject = dict[str, Any]

_TEXT: JsonObject = {"type": "string"}
_OR_NULL: JsonObject = {"type": ["string", "null"]}
_ERRORS: JsonObject = {
    "Error": {
        "type": "object", "required": ["error"],
        "properties": {"error": {
            "type": "object", "required": ["message", "type", "param", "code"],
            "properties": {"message": _TEXT, "type": _TEXT, "param": _OR_NULL, "code": _OR_NULL},
        }},
    },
    "AnthropicError": {
        "type": "object", "required": ["type", "error"],
        "properties": {"type": {"const": "error"}, "error": {
            "type": "object", "required": ["type", "message"], "properties": {"type": _TEXT, "message": _TEXT},
        }},
    },
}  # fmt: skip
_DETAILS: JsonObject = {"type": "object", "additionalProperties": {"type": "integer"}}
_USAGE: JsonObject = {
    "type": "object",
    "required": ["input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"],
    "properties": {
        "input_tokens": {"type": "integer"}, "input_tokens_details": _DETAILS, "output_tokens": {"type": "integer"},
        "output_tokens_details": _DETAILS, "total_tokens": {"type": "integer"},
    },
}  # fmt: skip
_RESPONSE: JsonObject = {
    "type": "object",
    # Those that the Open Responses specification requires.
    "required": [
        "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
        "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
        "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "user", "usage",
        "max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier",
        "prompt_cache_key",
    ],
    "properties": {
        "id": _TEXT, "object": {"const": "response"}, "created_at": {"type": "integer"}, "model": _TEXT,
        "status": {"enum": ["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]},
        "output": {"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
        "usage": {"anyOf": [_USAGE, {"type": "null"}]},
    },
}  # fmt: skip


def describe_answers(app: FastAPI) -> None:
    """Add the schemas that routes name, and the shape of errors, which all have in common."""
    original = app.openapi
    _, written = msgspec.json.schema_components([wire.Completion], ref_template=REFERENCE)

    def openapi() -> JsonObject:
        description = original()
        description["components"]["schemas"] |= {**written, **_ERRORS, "Response": _RESPONSE}
        for path, operations in description["paths"].items():
            error = "AnthropicError" if path.startswith(ANTHROPIC) else "Error"
            schema = {"$ref": REFERENCE.format(name=error)}
            for operation in operations.values():
                operation["responses"].pop("422", None)  # FastAPI's own, which nobody gets
                content = {"application/json": {"schema": schema}}
                operation["responses"]["4XX"] = {"description": "What was wrong with the request", "content": content}
        return description

    app.openapi = openapi

"""The response object: all keys that Open Responses requires, and OpenAI's further ones."""

from __future__ import annotations

import time
from typing import Any, Literal, TypedDict

from ...chat.generate import Usage
from ...json_values import JsonObject
from .items import Item
from .mcp.wanted import redacted
from .schemas import ResponseRequest


class InputDetails(TypedDict):
    """Of the input, what was in the cache."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(TypedDict):
    """Of the output, what was thought."""

    reasoning_tokens: int


class ResponseUsage(TypedDict):
    """Tokens of all turns that the model took."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseBody(TypedDict):
    """A response, with all keys that Open Responses requires."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]
    background: bool
    error: JsonObject | None
    incomplete_details: JsonObject | None
    instructions: Any
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: JsonObject | None
    prompt_cache_key: str | None
    reasoning: JsonObject
    safety_identifier: str | None
    service_tier: str
    store: bool
    temperature: float
    text: JsonObject
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    top_logprobs: int
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    truncation: str
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]


_SECRET = ("authorization", "headers")


def new_body(request: ResponseRequest, response_id: str, model: str, *, defaults: dict[str, float]) -> JsonObject:
    """A response that has just begun. What the client left open shows the value that is used."""
    text = request.text
    format = text.format.model_dump() if text is not None and text.format is not None else {"type": "text"}
    if format["type"] == "json_schema":
        format = {"description": None, "strict": True, **format}
    reasoning = request.reasoning
    extra = request.model_extra or {}
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": bool(request.background),
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "model": model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "conversation": {"id": request.conversation_id} if request.conversation_id else None,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {
            "effort": reasoning.effort if reasoning else None, "summary": reasoning.summary if reasoning else None,
        },
        "safety_identifier": request.safety_identifier,
        "service_tier": request.service_tier or "default",
        "store": request.store is not False,
        "temperature": defaults.get("temperature", 1.0) if request.temperature is None else request.temperature,
        "text": {"format": format, "verbosity": (text.verbosity if text else None) or "medium"},
        "tool_choice": request.tool_choice or "auto",
        "tools": [_shown(tool) for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": defaults.get("top_p", 1.0) if request.top_p is None else request.top_p,
        "presence_penalty": _number(extra.get("presence_penalty")),
        "frequency_penalty": _number(extra.get("frequency_penalty")),
        "truncation": request.truncation or "disabled",
        "usage": None,
        "user": request.user,
        "metadata": request.metadata or {},
    }  # fmt: skip


def terminal(status: str) -> str:
    """The event that ends a stream. OpenAI has none for what was cancelled; the status in it says so."""
    return "response.incomplete" if status == "cancelled" else f"response.{status}"


def new_usage() -> ResponseUsage:
    return {
        "input_tokens": 0, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0,
    }  # fmt: skip


def count(usage: ResponseUsage, turn: Usage) -> None:
    """Add a turn of the model: each reads its whole prompt."""
    usage["input_tokens"] += turn.prompt_tokens
    usage["input_tokens_details"]["cached_tokens"] += turn.cached_tokens
    usage["output_tokens"] += turn.completion_tokens
    usage["output_tokens_details"]["reasoning_tokens"] += turn.reasoning_tokens
    usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]


def _shown(tool: JsonObject) -> JsonObject:
    """A tool as it is echoed, without what authorises its use. Functions show every key, as clients expect them."""
    shown = {key: value for key, value in tool.items() if key not in _SECRET}
    if isinstance(url := shown.get("server_url"), str):
        shown["server_url"] = redacted(url)
    if shown.get("type") == "function" and "function" not in shown:
        shown = {"description": None, "parameters": None, "strict": True, **shown}
    return shown


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0

"""From Anthropic's blocks to chat messages, and a messages request to a chat request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..json_values import JsonObject
from ..openai.errors import ApiError
from ..openai.schemas import ChatRequest
from .schemas import CountRequest, MessagesRequest, Tool

# Some clients begin the system prompt with a line that is another one in every request: no prefix would ever match.
_NONCE = "x-anthropic-billing-header"
# "Error: ...", "ValueError: ...", "<tool_use_error>...".
_ERROR = re.compile(r"\W*\w*error\b", re.IGNORECASE)


def chat_request(asked: CountRequest) -> ChatRequest:
    """The same as a chat request. Raises :class:`ApiError`."""
    messages = [*_system(asked.system), *_messages(asked.messages)]
    fields: JsonObject = {"messages": messages, "tools": [_tool(tool, i) for i, tool in enumerate(asked.tools or ())]}
    fields |= _choice(asked) | _thinking(asked)
    if messages and messages[-1]["role"] == "assistant":
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    format = asked.output_config.format if asked.output_config else None
    if format is not None and format.json_schema is not None:
        fields["response_format"] = {"type": "json_schema", "json_schema": {"schema": format.json_schema}}
    if isinstance(asked, MessagesRequest):
        fields |= {
            "max_tokens": asked.max_tokens, "stop": asked.stop_sequences, "temperature": asked.temperature,
            "top_p": asked.top_p, "top_k": asked.top_k,
        }  # fmt: skip
    return ChatRequest.model_validate(fields)


def _system(system: str | list[JsonObject] | None) -> list[JsonObject]:
    blocks = [system] if isinstance(system, str) else [_plain(block, "system") for block in system or ()]
    texts = [text for block in blocks if (text := _without_nonce(block))]
    return [{"role": "system", "content": "\n\n".join(texts)}] if texts else []


def _without_nonce(text: str) -> str:
    lines = text.split("\n")
    kept = [line for line in lines if not line.startswith(_NONCE)]
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")


def _messages(messages: Sequence[JsonObject]) -> list[JsonObject]:
    return [said for index, message in enumerate(messages) for said in _message(message, f"messages[{index}]")]


def _message(message: JsonObject, place: str) -> list[JsonObject]:
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        problem = f"{place}: role is {str(role)[:50]!r}, expected user, assistant or system."
        raise ApiError(problem, code="invalid_value", param=f"{place}.role")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        problem = f"{place}: content must be a string or a list of blocks."
        raise ApiError(problem, code="invalid_value", param=f"{place}.content")
    if role == "assistant":
        return [_assistant(content, f"{place}.content")]
    return _said(role, content, f"{place}.content")


def _said(role: str, blocks: list[JsonObject], place: str) -> list[JsonObject]:
    """Tool results are messages of their own; what stands between them is the user's."""
    messages: list[JsonObject] = []
    texts: list[str] = []

    def flush() -> None:
        if texts:
            messages.append({"role": role, "content": "\n".join(texts)})
            texts.clear()

    for index, block in enumerate(blocks):
        if block.get("type") == "tool_result":
            flush()
            messages.append(_result(block))
        else:
            texts.append(_plain(block, f"{place}[{index}]"))
    flush()
    return messages


def _result(block: JsonObject) -> JsonObject:
    content = block.get("content")
    if isinstance(content, list):
        content = [_as_part(part) for part in content]
    if block.get("is_error") is True:
        content = _as_error(content)
    return {"role": "tool", "tool_call_id": str(block.get("tool_use_id", "")), "content": content}


def _as_error(content: Any) -> Any:
    """With a word that it is one, unless it begins with such a word: chat messages have no other place for that."""
    if isinstance(content, str | None):
        text = content or ""
        return text if _ERROR.match(text) else f"Error: {text}"
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return content
    first, *rest = content
    if isinstance(first.get("text"), str):
        return [{**first, "text": _as_error(first["text"])}, *rest]
    return [{"type": "text", "text": "Error:"}, *content]


def _as_part(part: Any) -> Any:
    """Text that a document block holds is text; other blocks become a note that they are left out."""
    source = part.get("source") if isinstance(part, dict) else None
    if isinstance(source, dict) and source.get("type") == "text":
        return {"type": "text", "text": str(source.get("data", ""))}
    return part


def _assistant(blocks: list[JsonObject], place: str) -> JsonObject:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[JsonObject] = []
    for index, block in enumerate(blocks):
        match block.get("type"):
            case "thinking":
                thoughts.append(str(block.get("thinking", "")))
            case "redacted_thinking":
                pass
            case "tool_use":
                function = {"name": block.get("name"), "arguments": block.get("input") or {}}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            case _:
                texts.append(_plain(block, f"{place}[{index}]"))
    message: JsonObject = {"role": "assistant", "content": "".join(texts)}
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message


def _plain(block: JsonObject, place: str) -> str:
    part = _as_part(block)
    kind, text = part.get("type"), part.get("text")
    if kind in ("text", None) and isinstance(text, str):
        return text
    if kind == "text":
        raise ApiError(f'{place} must look like {{"type": "text", "text": "..."}}.', code="invalid_value", param=place)
    problem = f"{place}: a block of type {str(kind)[:50]!r} is not supported: this model reads text only."
    raise ApiError(problem, code="unsupported_value", param=place)


def _tool(tool: Tool, index: int) -> JsonObject:
    if tool.type not in (None, "custom"):
        raise ApiError(
            f"tools[{index}]: there is no tool of type {tool.type[:50]!r} here. Give a tool with an input_schema.",
            code="unsupported_value",
            param=f"tools[{index}].type",
        )
    if tool.input_schema is None:
        raise ApiError(
            f"tools[{index}]: input_schema is missing.",
            code="missing_required_parameter",
            param=f"tools[{index}].input_schema",
        )
    function: JsonObject = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _choice(asked: CountRequest) -> JsonObject:
    choice = asked.tool_choice
    if choice is None:
        return {}
    wanted: Any = {"auto": "auto", "any": "required", "none": "none"}.get(choice.type)
    if choice.type == "tool":
        if choice.name is None:
            raise ApiError(
                "tool_choice of type 'tool' needs a name.", code="missing_required_parameter", param="tool_choice.name"
            )
        wanted = {"type": "function", "function": {"name": choice.name}}
    return {"tool_choice": wanted, "parallel_tool_calls": not choice.disable_parallel_tool_use}


def _thinking(asked: CountRequest) -> JsonObject:
    """Thinking is the template's to switch; without a word on it, the model does as its template has it."""
    effort = asked.output_config.effort if asked.output_config else None
    thinking = asked.thinking
    if thinking is None:
        return {"reasoning_effort": effort} if effort else {}
    if thinking.type == "disabled":
        return {"reasoning_effort": "none"}
    budget = {} if thinking.budget_tokens is None else {"thinking_token_budget": thinking.budget_tokens}
    return {"reasoning_effort": effort or "medium", **budget}

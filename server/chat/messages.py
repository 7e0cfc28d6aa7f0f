"""Brings the messages that clients send into the one shape that chat templates expect.

Lenient in: null content, content as parts, arguments as JSON text, a developer or late system message, old field names.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..json_values import JsonObject, loads

_ROLES = {"developer": "system", "function": "tool"}
KNOWN_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TEXT_PARTS = ("text", "input_text", "output_text")
_THOUGHTS = ("thinking", "reasoning", "reasoning_text")
_OMITTED = "[{kind} left out: this model reads text only]"


class MessageError(ValueError):
    """A message cannot be understood. ``index`` is its place in the list, None when it is about the list."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


def normalise(messages: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """Messages as templates expect them: ``role``, ``content`` as text, and ``tool_calls`` with argument mappings.

    Raises :class:`MessageError`.
    """
    if not messages:
        raise MessageError("messages is empty. Give at least one message.")
    return _with_names(_with_one_leading_system([_message(message, index) for index, message in enumerate(messages)]))


def easier_messages(messages: Sequence[JsonObject]) -> list[JsonObject] | None:
    """The same conversation for templates that insist on what most do not; None when there is nothing to ease.

    Every system message is merged into one at the front, a user's messages in a row into one too, and arguments that
    are no JSON object become one.
    """
    system = [message for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    easier = _with_one_leading_system(system + _one_at_a_time([_with_mappings(message) for message in others]))
    return None if easier == list(messages) else easier


def _one_at_a_time(messages: Sequence[JsonObject]) -> list[JsonObject]:
    merged: list[JsonObject] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"] == "user":
            merged[-1] = {**merged[-1], "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged


def _with_mappings(message: JsonObject) -> JsonObject:
    calls = [
        {**call, "function": {**call["function"], "arguments": {"arguments": call["function"]["arguments"]}}}
        if not isinstance(call["function"]["arguments"], dict)
        else call
        for call in message.get("tool_calls", ())
    ]
    return {**message, "tool_calls": calls} if calls else message


def new_call_id() -> str:
    """An id for a tool call, as OpenAI's look."""
    return f"call_{secrets.token_hex(12)}"


def assistant(text: str, calls: Iterable[tuple[str, str, str]] = (), reasoning: str = "") -> JsonObject:
    """An assistant turn as templates expect it; ``calls`` are (id, name, arguments as JSON text)."""
    message: JsonObject = {"role": "assistant", "content": text}
    if reasoning:
        message["reasoning_content"] = reasoning
    tool_calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": _arguments(arguments)}}
        for id, name, arguments in calls
    ]
    if tool_calls:
        message["tool_calls"] = tool_calls
    return message


def _message(message: Mapping[str, Any], index: int) -> JsonObject:
    role = message.get("role")
    if role not in KNOWN_ROLES:
        raise MessageError(f"role is {role!r}, expected one of {', '.join(KNOWN_ROLES)}.", index)
    content = message.get("content")
    if content is None:
        content = message.get("refusal")
    result: JsonObject = {"role": _ROLES.get(role, role), "content": _text(content, index, role)}
    for key in ("name", "tool_call_id"):
        if isinstance(message.get(key), str):
            result[key] = message[key]
    if role == "assistant":
        reasoning = message.get("reasoning_content") or message.get("reasoning")
        if isinstance(reasoning, str):
            result["reasoning_content"] = reasoning
        calls = message.get("tool_calls")
        if calls is None and message.get("function_call"):
            calls = [{"function": message["function_call"]}]
        if calls:
            result["tool_calls"] = [_call(call, index) for call in calls]
    return result


def _text(content: object, index: int, role: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise MessageError("content must be a string, a list of parts or null.", index)
    texts = [_part(part, index, role) for part in content]
    return "\n".join(text for text in texts if text is not None)


def _part(part: object, index: int, role: str) -> str | None:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict):
        text = part.get("refusal") if kind == "refusal" else part.get("text")
        if (kind in _TEXT_PARTS or kind in ("refusal", None)) and isinstance(text, str):
            return text
    if kind is None or kind in _TEXT_PARTS or kind == "refusal":
        raise MessageError('a content part must look like {"type": "text", "text": "..."}.', index)
    if role == "assistant" and kind in _THOUGHTS:
        return None
    if role in ("tool", "function"):  # the model should know that there was something
        return _OMITTED.format(kind=kind)
    raise MessageError(f"content part of type {kind!r} is not supported: this model reads text only.", index)


def _call(call: object, index: int) -> JsonObject:
    function = call.get("function") if isinstance(call, dict) else None
    custom = call.get("custom") if isinstance(call, dict) else None
    if isinstance(custom, dict):
        function = {"name": custom.get("name"), "arguments": {"input": custom.get("input") or ""}}
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise MessageError(
            'a tool call must look like {"id": "...", "type": "function", '
            '"function": {"name": "...", "arguments": "..."}}.',
            index,
        )
    called: JsonObject = {
        "type": "function",
        "function": {"name": function["name"], "arguments": _arguments(function.get("arguments"))},
    }
    return {"id": call["id"], **called} if isinstance(call.get("id"), str) else called


def _arguments(arguments: object) -> object:
    """Templates want a mapping, clients send its JSON. What is not JSON stays the text that the model wrote."""
    if arguments is None or arguments == "":
        return {}
    if not isinstance(arguments, str):
        return arguments
    try:
        value = loads(arguments)
    except ValueError:
        return arguments
    return value if isinstance(value, dict) else arguments


def _with_names(messages: list[JsonObject]) -> list[JsonObject]:
    """Some templates print a result under its function's name, which most clients leave out."""
    names: dict[str, str] = {}
    for message in messages:
        names |= {call["id"]: call["function"]["name"] for call in message.get("tool_calls", ()) if "id" in call}
        if message["role"] == "tool" and "name" not in message and message.get("tool_call_id") in names:
            message["name"] = names[message["tool_call_id"]]
    return messages


def _with_one_leading_system(messages: list[JsonObject]) -> list[JsonObject]:
    """Templates look at the first message only, so a client's several leading system messages become one."""
    leading = 0
    while leading < len(messages) and messages[leading]["role"] == "system":
        leading += 1
    if leading < 2:
        return messages
    text = "\n\n".join(message["content"] for message in messages[:leading] if message["content"])
    return [{"role": "system", "content": text}, *messages[leading:]]

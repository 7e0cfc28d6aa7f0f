"""The chat format: Hermes tool calls in ChatML, as Qwen2.5 and Qwen3 write them.

:func:`render` makes the text that the model is trained on, cut into segments with a loss weight each. It equals what
chat_template.jinja makes of the same messages; a test holds the two together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple, Required, TypedDict

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TAGS = [
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<tools>",
    "</tools>",
    "<think>",
    "</think>",
]
TEMPLATE = Path(__file__).with_name("chat_template.jinja")

TOOLS_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


class Function(TypedDict):
    name: str
    arguments: dict[str, Any]


class ToolCall(TypedDict):
    type: Literal["function"]
    function: Function


class Message(TypedDict, total=False):
    """An OpenAI chat message. ``trained`` is ours: False for a turn that the model must not imitate."""

    role: Required[str]
    content: Required[str]
    tool_calls: list[ToolCall]
    trained: bool


class Segment(NamedTuple):
    """``shared`` marks text that recurs between conversations, whose token ids are worth keeping."""

    text: str
    weight: float
    shared: bool = False


def tool_call(name: str, arguments: dict[str, Any]) -> ToolCall:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def render(messages: list[Message], tool_lines: list[str], context_weight: float = 0.1) -> list[Segment]:
    """Segments of a whole conversation. Assistant turns weigh 1, all else ``context_weight``."""
    segments = []
    system = messages[0]["content"] if messages and messages[0]["role"] == "system" else ""
    if tool_lines:
        # Segments are tokenized apart, so they may only be cut where the tokenizer cuts too: blank lines stay whole.
        segments.append(Segment(f"<|im_start|>system\n{system}", context_weight))
        segments.append(Segment(("\n\n" if system else "") + TOOLS_BEFORE, 0.0, shared=True))
        for line in tool_lines:
            segments.append(Segment("\n", 0.0, shared=True))
            segments.append(Segment(line, context_weight, shared=True))
        segments.append(Segment(TOOLS_AFTER, 0.0, shared=True))
        segments.append(Segment("<|im_end|>\n", 0.0, shared=True))
    elif system:
        segments.append(Segment(f"<|im_start|>system\n{system}<|im_end|>\n", context_weight))
    previous = None
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "system":
            continue
        if role == "assistant":
            weight = 1.0 if message.get("trained", True) else 0.0
            segments.append(Segment("<|im_start|>assistant\n", 0.0, shared=True))
            segments.append(Segment(assistant_text(message) + "<|im_end|>", weight))
            segments.append(Segment("\n", 0.0, shared=True))
        elif role == "tool":
            before = "" if previous == "tool" else "<|im_start|>user"
            last = index + 1 == len(messages) or messages[index + 1]["role"] != "tool"
            after = "<|im_end|>\n" if last else ""
            text = f"{before}\n<tool_response>\n{message['content']}\n</tool_response>{after}"
            segments.append(Segment(text, context_weight))
        else:
            segments.append(Segment(f"<|im_start|>{role}\n{message['content']}<|im_end|>\n", context_weight))
        previous = role
    return segments


def assistant_text(message: Message) -> str:
    """The body of an assistant turn: what it says, then its calls."""
    parts = [message["content"]] if message.get("content") else []
    for call in message.get("tool_calls", []):
        arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
        name = json.dumps(call["function"]["name"], ensure_ascii=False)
        parts.append(f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>')
    return "\n".join(parts)


def prompt(messages: list[Message], tool_lines: list[str]) -> str:
    """The text up to where the assistant speaks next."""
    return "".join(segment.text for segment in render(messages, tool_lines)) + "<|im_start|>assistant\n"

"""The tool-call formats under test: a template of each, and turns as that template writes them."""

from pathlib import Path
from typing import Any

import pytest
from agenthost.server.chat import formats
from agenthost.server.chat.formats import CallArguments, CallStart, FunctionTool, ReasoningDelta, TextDelta
from agenthost.server.chat.probes import observe
from agenthost.server.chat.template import ChatTemplate

TEMPLATES = Path(__file__).parent / "templates"
FAMILIES = {
    "chatml": "hermes", "qwen3_coder": "qwen3_coder", "llama3_json": "llama3_json", "pythonic": "pythonic",
    "llama4_pythonic": "llama4_pythonic", "mistral": "mistral", "mistral_args": "mistral",
    "deepseek_v3": "deepseek_v3", "deepseek_v31": "deepseek_v31", "openai": "openai", "kimi_k2": "kimi_k2",
    "glm45": "glm45", "granite": "granite", "phi4_mini_json": "phi4_mini_json",
    "phi4_mini_tokens": "phi4_mini_json", "gemma": "gemma", "gemma4": "gemma", "seed_oss": "qwen3_coder",
    "mistral_ids": "mistral",
}  # fmt: skip
"""Template to the name of its format."""

WAYS = [
    pytest.param(family, marks=() if family in ("chatml", "pythonic", "qwen3_coder", "gemma") else pytest.mark.slow)
    for family in FAMILIES
]
"""The same as parameters of long tests, of which the fast ones have a family of each way to write a text: in JSON, in
Python, and up to three marks. The others write JSON too."""

ONE_CALL = {"openai"}
"""Families in which a call ends the turn."""

ENDS = {
    "llama3_json": "<|eot_id|>", "pythonic": "<|eot|>", "llama4_pythonic": "<|eot|>", "openai": "<|call|>",
    "deepseek_v3": "<｜end▁of▁sentence｜>", "deepseek_v31": "<｜end▁of▁sentence｜>", "granite": "<|end_of_text|>",
    "phi4_mini_json": "<|end|>", "phi4_mini_tokens": "<|end|>", "gemma": "<end_of_turn>", "gemma4": "<turn|>",
    "glm45": "<|observation|>", "seed_oss": "<seed:eos>",
}  # fmt: skip
"""The token that ends a turn, where it is not ChatML's. GLM's turns end with the mark of whoever speaks next."""

_TURN_ENDS = ("<|im_end|>\n", "<|im_end|>", "<|eot_id|>", "<|eot|>", "</s>", "<|end|>", "<end_of_turn>\n", "<turn|>\n",
              "<｜end▁of▁sentence｜>", "<|call|>", "<|return|>", "<seed:eos>", "<|end_of_text|>\n")  # fmt: skip

VALUES = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "[A-Z][a-z]{1,9}"},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "unit": {"enum": ["C", "F"]},
        "exact": {"type": "boolean"},
        "note": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "where": {
            "type": "object",
            "properties": {"lat": {"type": "number"}, "name": {"type": "string"}},
            "required": ["lat", "name"],
            "additionalProperties": False,
        },
        "until": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
TOOLS = [FunctionTool("forecast", VALUES), FunctionTool("now", {"type": "object", "properties": {}})]
FULL = {
    "city": "Oslo", "days": 3, "unit": "C", "exact": True, "note": 'say "hé🙂",\nthen {stop} [now] (or) 1 < 2\\3',
    "tags": ["a", "b c"], "where": {"lat": 59.9, "name": "centre"}, "until": None,
}  # fmt: skip
PLAIN = {"city": "Rome", "days": 1, "unit": "F"}


def template(family):
    return (TEMPLATES / f"{family}.jinja").read_text()


def detected(family):
    found = formats.detect(template(family))
    assert found is not None
    return found


def turn(family, text="", calls=(), reasoning=None):
    """An assistant's turn as the family's template writes it, without what ends it. ``calls``: (name, arguments)."""
    chat = ChatTemplate(template(family), {"bos_token": "<s>", "eos_token": "</s>"})
    user = {"role": "user", "content": "?"}
    assistant: dict[str, Any] = {"role": "assistant", "content": text}
    if reasoning is not None:
        assistant["reasoning_content"] = reasoning
    if calls:
        assistant["tool_calls"] = [
            {"id": f"functions.{name}:{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(calls)
        ]
    user, assistant = observe(chat).fit([user, assistant])
    prompt = chat.render([user], enable_thinking=reasoning is not None)
    whole = chat.render([user, assistant], add_generation_prompt=False)
    assert whole.startswith(prompt)
    written = whole[len(prompt) :]
    for end in _TURN_ENDS:
        if written.endswith(end):
            return written.removesuffix(end)
    return written


def parsed(parser, text, chunk=None):
    """(content, reasoning, [(name, arguments), ...]) of ``text`` fed in pieces of ``chunk`` characters."""
    size = chunk or max(1, len(text))
    deltas = [delta for i in range(0, len(text), size) for delta in parser.feed(text[i : i + size])]
    return gathered([*deltas, *parser.finish()])


def gathered(deltas):
    content, reasoning, calls = "", "", []
    for delta in deltas:
        match delta:
            case TextDelta():
                content += delta.text
            case ReasoningDelta():
                reasoning += delta.text
            case CallStart():
                assert delta.index == len(calls)
                calls.append([delta.name, ""])
            case CallArguments():
                assert delta.index == len(calls) - 1
                assert delta.text
                calls[delta.index][1] += delta.text
    return content, reasoning, [tuple(call) for call in calls]

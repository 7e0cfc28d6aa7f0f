"""Finds out what a chat template wants, by rendering short conversations and looking for what was said in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from ..json_values import JsonObject
from .habits import Habits
from .template import ChatTemplate, TemplateError

_SYSTEM = {"role": "system", "content": "Heed this."}
_USER = {"role": "user", "content": "Go."}
_TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "probe_tool", "description": "A tool.",
        "parameters": {"type": "object", "properties": {"key": {"type": "string", "description": "A key."}}},
    },
}  # fmt: skip
_ODD = ("{'city'", '\\"city')  # a mapping as Python shows it, and text that is quoted again


def observe(template: ChatTemplate) -> Habits:
    """The template's habits."""
    variants = [Habits(*variant) for variant in product((False, True), repeat=3)]
    variants.sort(key=lambda habits: habits.text_arguments + habits.null_content + habits.short_ids)
    habits = next((habits for habits in variants if _prints_calls(template, habits)), None)
    hidden = habits is None and _printed(template, [_USER, _turn(["probe"])]) is not None
    habits = replace(
        habits or Habits(), hidden_calls=hidden, thinking="thinking" in f"{template.source}{template.tools_source}"
    )
    return replace(habits, **_for_calls(template, habits), **_for_tools(template), **_for_system(template))


def _for_calls(template: ChatTemplate, habits: Habits) -> dict[str, bool]:
    if not _prints_calls(template, habits):
        return {}
    words, both = (_prints_calls(template, habits, text="Words.", thoughts=said) for said in ("", "Thoughts."))
    return {"one_call": not _prints_calls(template, habits, 2), "lone_thoughts": words and not both}


def _for_tools(template: ChatTemplate) -> dict[str, bool]:
    name = _TOOL["function"]["name"]
    usual = _printed(template, [_SYSTEM, _USER]) or _printed(template, [_USER])
    inside = _printed(template, Habits(system_tools=True).fit([_SYSTEM, _USER], [_TOOL]), [])
    hidden = usual is not None and name not in usual
    without = _printed(template, [_USER], None) is None and _printed(template, [_USER], []) is not None
    system = hidden and inside is not None and name in inside
    return {"hidden_tools": hidden and not system, "system_tools": system, "no_tools": without}


def _for_system(template: ChatTemplate) -> dict[str, bool]:
    if _SYSTEM["content"] not in (_printed(template, [_SYSTEM, _USER]) or ""):
        return {"no_system": _printed(template, [_USER]) is not None}
    late = _printed(template, [_USER, {"role": "assistant", "content": "Yes."}, _SYSTEM, _USER])
    return {"leading_system": late is not None and _SYSTEM["content"] not in late}


def _prints_calls(template: ChatTemplate, habits: Habits, calls: int = 1, text: str = "", thoughts: str = "") -> bool:
    """Whether so many come out, with arguments in a notation that is meant."""
    names = [f"probe_{number}" for number in range(calls)]
    printed = _printed(template, habits.fit([_USER, _turn(names, text, thoughts)])) or ""
    return all(name in printed for name in names) and "Oslo" in printed and not any(mark in printed for mark in _ODD)


def _turn(names: Sequence[str], text: str = "", thoughts: str = "") -> JsonObject:
    # Kimi's template prints no name but an id that has the name in it. Two templates want more characters than these.
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": {"city": "Oslo"}}} for name in names
    ]
    turn: JsonObject = {"role": "assistant", "content": text, "tool_calls": calls}
    return {**turn, "reasoning_content": thoughts} if thoughts else turn


def _printed(
    template: ChatTemplate, messages: Sequence[JsonObject], tools: Sequence[JsonObject] | None = (_TOOL,)
) -> str | None:
    """What the template prints, None when it refuses."""
    try:
        return template.render(messages, None if tools is None else list(tools))
    except TemplateError:
        return None

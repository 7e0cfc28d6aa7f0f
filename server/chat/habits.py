"""How chat templates differ in what they want of a message, found out by trying them, since none says.

The server has one shape for messages, which suits most templates. The others refuse it, or print a part of it wrongly
or not at all; :meth:`Habits.fit` brings it into the shape that they print.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from .template import ChatTemplate, TemplateError

JsonObject = dict[str, Any]

_SHORT_ID = 9  # letters and digits, which Mistral's templates insist on
_SYSTEM = {"role": "system", "content": "Help."}
_USER = {"role": "user", "content": "Go."}
_TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": "probe_tool", "description": "A tool.",
        "parameters": {"type": "object", "properties": {"key": {"type": "string", "description": "A key."}}},
    },
}  # fmt: skip


@dataclass(frozen=True)
class Habits:
    """What a template wants unlike most others.

    Attributes:
        text_arguments: the arguments of a call as JSON text instead of a mapping.
        null_content: a turn of calls whose content is null; beside any other, it does not print them.
        short_ids: ids of calls that are nine letters and digits.
        one_call: a single call in a turn.
        thinking: thoughts under this name too.
        lone_thoughts: no words of a turn beside its thoughts, if it calls.
        hidden_calls: calls among the words of their turn, since it prints no others.
        system_tools: tools as JSON text in the system message, since it prints no others.
        no_system: what a system message says at the front of the user's first message.
    """

    text_arguments: bool = False
    null_content: bool = False
    short_ids: bool = False
    one_call: bool = False
    thinking: bool = False
    lone_thoughts: bool = False
    hidden_calls: bool = False
    system_tools: bool = False
    no_system: bool = False

    def fit(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None = None,
        write: Callable[[Sequence[JsonObject]], str | None] = lambda calls: None,
    ) -> Sequence[JsonObject]:
        """The same conversation as the template wants it. ``write`` gives calls the form in which models write them."""
        if self == Habits():
            return messages
        if self.no_system:
            messages = _without_system(messages)
        if self.system_tools and tools:
            messages = _with_tools(messages, tools)
        if self.hidden_calls:
            messages = [_with_calls_said(message, write) for message in messages]
        if self.one_call:
            messages = list(_one_by_one(messages))
        return [fitted for message in messages for fitted in self._fitted(message)]

    def _fitted(self, message: JsonObject) -> Iterator[JsonObject]:
        if self.short_ids and message["role"] == "tool":
            message = {**message, "tool_call_id": _short(message.get("tool_call_id"))}
        calls = message.get("tool_calls")
        thoughts = message.get("reasoning_content")
        if thoughts and calls and self.lone_thoughts and message["content"]:
            thoughts = f"{thoughts}\n\n{message['content']}"
            message = {**message, "content": "", "reasoning_content": thoughts}
        if thoughts and self.thinking:
            message = {**message, "thinking": thoughts}
        if not calls:
            yield message
            return
        message = {**message, "tool_calls": [self._call(call) for call in calls]}
        if self.null_content:
            if message["content"]:
                yield {key: value for key, value in message.items() if key != "tool_calls"}
            message["content"] = None
        yield message

    def _call(self, call: JsonObject) -> JsonObject:
        function = call["function"]
        if self.text_arguments and not isinstance(function["arguments"], str):
            function = {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}
        id = {"id": _short(call.get("id"))} if self.short_ids else {}
        return {**call, **id, "function": function}


def observe(template: ChatTemplate) -> Habits:
    """Try the template with short conversations."""
    variants = [Habits(*variant) for variant in product((False, True), repeat=3)]
    variants.sort(key=lambda habits: habits.text_arguments + habits.null_content + habits.short_ids)
    habits = next((habits for habits in variants if _prints(template, habits, 1)), None)
    thinking = "thinking" in template.source
    roles = {
        "no_system": not _accepts(template, _SYSTEM, _USER) and _accepts(template, _USER),
        "system_tools": _shows_tools_in_system_message_only(template),
    }
    if habits is None:
        hidden = _accepts(template, _USER, {"role": "assistant", "content": "", "tool_calls": [_call("probe")]})
        return Habits(thinking=thinking, hidden_calls=hidden, **roles)
    habits = replace(habits, thinking=thinking, one_call=not _prints(template, habits, 2))
    lone = not _prints(template, habits, 1, "Words.", "Thoughts.") and _prints(template, habits, 1, "Words.")
    return replace(habits, lone_thoughts=lone, **roles)


def _prints(template: ChatTemplate, habits: Habits, calls: int, text: str = "", thoughts: str = "") -> bool:
    """Whether so many calls come out of the template, with arguments that are not in Python's notation by accident."""
    names = [f"probe_{number}" for number in range(calls)]
    turn: JsonObject = {"role": "assistant", "content": text, "tool_calls": [_call(name) for name in names]}
    if thoughts:
        turn["reasoning_content"] = thoughts
    try:
        printed = template.render(habits.fit([_USER, turn]), [_TOOL])
    except TemplateError:
        return False
    odd = ("{'city'", '\\"city')  # a mapping as Python shows it, and text that is quoted again
    return all(name in printed for name in names) and "Oslo" in printed and not any(mark in printed for mark in odd)


def _call(name: str) -> JsonObject:
    # Kimi's template prints a call's id, which has its name in it, and no name.
    return {"id": f"functions.{name}:0", "type": "function", "function": {"name": name, "arguments": {"city": "Oslo"}}}


def _accepts(template: ChatTemplate, *messages: JsonObject) -> bool:
    try:
        template.render(messages, [_TOOL])
    except TemplateError:
        return False
    return True


def _shows_tools_in_system_message_only(template: ChatTemplate) -> bool:
    try:
        usual = template.render([_SYSTEM, _USER], [_TOOL])
        inside = template.render(_with_tools([_SYSTEM, _USER], [_TOOL]))
    except TemplateError:
        return False
    name = _TOOL["function"]["name"]
    return name not in usual and name in inside


def _with_tools(messages: Sequence[JsonObject], tools: Sequence[JsonObject]) -> list[JsonObject]:
    text = json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
    led = messages[:1] if messages[0]["role"] == "system" else [{"role": "system", "content": ""}]
    return [{**led[0], "tools": text}, *(messages[1:] if led[0] is messages[0] else messages)]


def _with_calls_said(message: JsonObject, write: Callable[[Sequence[JsonObject]], str | None]) -> JsonObject:
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    written = write([{key: call[key] for key in ("name", "arguments")} for call in calls]) if calls else None
    return message if written is None else {**message, "content": message["content"] + written}


def _without_system(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """What system messages say comes first in the user's first message, or is one where there is none."""
    told = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    others = [message for message in messages if message["role"] != "system"]
    if not told:
        return others
    if others and others[0]["role"] == "user":
        return [{**others[0], "content": f"{told}\n\n{others[0]['content']}"}, *others[1:]]
    return [{"role": "user", "content": told}, *others]


def _one_by_one(messages: Sequence[JsonObject]) -> Iterator[JsonObject]:
    """Turns of several calls as several turns, each followed by its result."""
    place = 0
    while place < len(messages):
        message = messages[place]
        place += 1
        calls = message.get("tool_calls") or []
        if len(calls) < 2:
            yield message
            continue
        results: list[JsonObject] = []
        while place < len(messages) and messages[place]["role"] == "tool":
            results.append(messages[place])
            place += 1
        for number, call in enumerate(calls):
            said = message if number == 0 else {"role": "assistant", "content": ""}
            yield {**said, "tool_calls": [call]}
            own = next((result for result in results if result.get("tool_call_id") == call.get("id")), None)
            if own is not None:
                results.remove(own)
                yield own
        yield from results


def _short(id: object) -> str:
    """A call's id of nine characters: itself, or one that is always the same for it."""
    if isinstance(id, str) and len(id) == _SHORT_ID and id.isascii() and id.isalnum():
        return id
    return hashlib.blake2b(str(id).encode("utf-8", "surrogatepass")).hexdigest()[:_SHORT_ID]

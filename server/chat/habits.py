"""How chat templates differ in what they want of a message, found out by trying them, since none says.

The server has one shape for messages, which suits most templates. The others refuse it, or print a part of it wrongly
or not at all; :meth:`Habits.fit` brings it into the shape that they print.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from .template import ChatTemplate, TemplateError

JsonObject = dict[str, Any]

_SHORT_ID = 9  # letters and digits, which Mistral's templates insist on
_USER = {"role": "user", "content": "Go."}
_TOOL = {
    "type": "function",
    "function": {
        "name": "tool", "description": "A tool.",
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
    """

    text_arguments: bool = False
    null_content: bool = False
    short_ids: bool = False
    one_call: bool = False
    thinking: bool = False
    lone_thoughts: bool = False

    def fit(self, messages: Sequence[JsonObject]) -> Sequence[JsonObject]:
        """The same conversation as the template wants it."""
        if self == Habits():
            return messages
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
    if habits is None:
        return Habits(thinking=thinking)
    habits = replace(habits, thinking=thinking, one_call=not _prints(template, habits, 2))
    lone = not _prints(template, habits, 1, "Words.", "Thoughts.") and _prints(template, habits, 1, "Words.")
    return replace(habits, lone_thoughts=lone)


def _prints(template: ChatTemplate, habits: Habits, calls: int, text: str = "", thoughts: str = "") -> bool:
    """Whether so many calls come out of the template, with arguments that are not in Python's notation by accident."""
    names = [f"probe_{number}" for number in range(calls)]
    turn: JsonObject = {"role": "assistant", "content": text, "tool_calls": []}
    if thoughts:
        turn["reasoning_content"] = thoughts
    results: list[JsonObject] = []
    for number, name in enumerate(names):
        id = f"call_{number:024}"
        function = {"name": name, "arguments": {"city": "Oslo"}}
        turn["tool_calls"].append({"id": id, "type": "function", "function": function})
        results.append({"role": "tool", "tool_call_id": id, "name": "tool", "content": "Sun."})
    try:
        printed = template.render(habits.fit([_USER, turn, *results]), [_TOOL])
    except TemplateError:
        return False
    odd = ("{'city'", '\\"city')  # a mapping as Python shows it, and text that is quoted again
    return all(name in printed for name in names) and "Oslo" in printed and not any(mark in printed for mark in odd)


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

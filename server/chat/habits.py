"""What chat templates want of a conversation unlike most others: :mod:`probes` finds it out, since none says.

The server has one shape for messages, which suits most templates. The others refuse it, or print a part of it wrongly
or not at all; :meth:`Habits.fit` brings it into the shape that they print.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..json_values import JsonObject
from .formats import ToolFormat

_SHORT_ID = 9  # letters and digits, which Mistral's templates insist on


@dataclass(frozen=True)
class Habits:
    """What a template wants.

    Attributes:
        text_arguments: the arguments of a call as JSON text instead of a mapping.
        null_content: a turn of calls whose content is null; beside any other, it does not print them.
        short_ids: ids of calls that are nine letters and digits.
        one_call: a single call in a turn.
        thinking: thoughts under this name too.
        lone_thoughts: no words of a turn beside its thoughts, if it calls.
        hidden_calls: calls among the words of their turn, since it prints no others.
        hidden_tools: tools in the system message, since it prints no others.
        system_tools: the same, as a field of that message.
        no_tools: an empty list where there are no tools.
        leading_system: all that system messages say in the first message, since it prints no later ones.
        no_system: the same at the front of the user's first message.
    """

    text_arguments: bool = False
    null_content: bool = False
    short_ids: bool = False
    one_call: bool = False
    thinking: bool = False
    lone_thoughts: bool = False
    hidden_calls: bool = False
    hidden_tools: bool = False
    system_tools: bool = False
    no_tools: bool = False
    leading_system: bool = False
    no_system: bool = False

    def fit(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None = None,
        format: ToolFormat | None = None,
    ) -> Sequence[JsonObject]:
        """The same conversation as the template wants it. ``format`` writes what the template does not."""
        if self == Habits():
            return messages
        if self.leading_system or self.no_system:
            messages = _led(messages)
        if tools and self.system_tools:
            messages = _with_system(
                messages, tools=json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
            )
        elif tools and self.hidden_tools and format is not None:
            messages = _with_system(messages, content=format.described(tools))
        if self.no_system:
            messages = _without_system(messages)
        if self.hidden_calls and format is not None:
            messages = [_with_calls_said(message, format) for message in messages]
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


def _led(messages: Sequence[JsonObject]) -> Sequence[JsonObject]:
    """One system message says what all do."""
    told = [message for message in messages if message["role"] == "system"]
    if not told or (len(told) == 1 and messages[0] is told[0]):
        return messages
    text = "\n\n".join(message["content"] for message in told if message["content"])
    others = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": text}, *others]


def _with_system(messages: Sequence[JsonObject], content: str = "", **fields: str) -> Sequence[JsonObject]:
    """A first message that also says ``content`` and has ``fields``."""
    first: JsonObject = {"role": "system", "content": ""}
    if messages and messages[0]["role"] == "system":
        first, *messages = messages
    said = "\n\n".join(text for text in (first["content"], content) if text)
    return [{**first, "content": said, **fields}, *messages]


def _without_system(messages: Sequence[JsonObject]) -> Sequence[JsonObject]:
    """What the first message says begins the user's, or is it where the user does not speak first."""
    if not messages or messages[0]["role"] != "system":
        return messages
    told, *others = messages
    if not told["content"]:
        return others
    if others and others[0]["role"] == "user":
        return [{**others[0], "content": f"{told['content']}\n\n{others[0]['content']}"}, *others[1:]]
    return [{"role": "user", "content": told["content"]}, *others]


def _with_calls_said(message: JsonObject, format: ToolFormat) -> JsonObject:
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    written = format.written([{key: call[key] for key in ("name", "arguments")} for call in calls]) if calls else None
    return message if written is None else {**message, "content": message["content"] + written}


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

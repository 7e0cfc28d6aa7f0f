"""gpt-oss: a turn is messages in channels, of which one may be addressed to a function.

<|channel|>analysis<|message|>I need the weather.<|end|><|start|>assistant<|channel|>commentary to=functions.f
<|constrain|>json<|message|>{...}<|call|>  (in one line), or <|channel|>final<|message|>It rains.<|return|>

A call ends the turn, so there is one at most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...json_values import JsonObject
from .base import (
    CallArguments,
    CallStart,
    Delta,
    FunctionTool,
    ReasoningDelta,
    StreamParser,
    TextDelta,
    ToolChoice,
    ToolFormat,
    json_arguments,
)
from .json_scan import JsonExtent
from .markup import Marks

_START, _CHANNEL, _MESSAGE, _CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
_END, _CALL, _RETURN = "<|end|>", "<|call|>", "<|return|>"
_ENDS = (_END, _CALL, _RETURN)
_MARKS = Marks((*_ENDS, _START))
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"to=\s*(?:functions\.)?([^\s<]+)")
_LONGEST_HEADER = 512


class Harmony(ToolFormat):
    name = "openai"
    markers = (_START, _CHANNEL, _MESSAGE, _CONSTRAIN, *_ENDS)
    ends = (_END,)
    whole_turn = True

    @classmethod
    def writes(cls, template: str) -> bool:
        return _CHANNEL in template and _MESSAGE in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return HarmonyParser({tool.name for tool in tools})

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        return [tag for tool in tools for tag in _tags(tool)]

    def body(
        self,
        tools: Sequence[FunctionTool],
        choice: ToolChoice,
        text: JsonObject | None = None,
        excludes: Sequence[str] = (),
    ) -> JsonObject:
        offered = choice.offered(tools) if choice.mode != "none" else []
        words: JsonObject = {"type": "any_text", "excludes": [*excludes, _START, *_ENDS]}
        # Where the mark is a token that ends the output, it is no text.
        said = {"type": "sequence", "elements": [text or words, _optional(_RETURN)]}
        final: JsonObject = {"type": "tag", "begin": f"{_CHANNEL}final{_MESSAGE}", "content": said, "end": ""}
        last = [*self.tags(offered, choice.one), *([] if choice.mode in ("required", "named") else [final])]
        # Any number of thoughts, and words to the user before a call, come first.
        thoughts = [_message("analysis"), *([_message("commentary")] if offered else [])]
        before = {"type": "tags_with_separator", "tags": thoughts, "separator": f"{_START}assistant"}
        then = {"type": "sequence", "elements": [{**before, "at_least_one": True}, _const(f"{_START}assistant")]}
        return {
            "type": "sequence",
            "elements": [{"type": "optional", "content": then}, {"type": "or", "elements": last}],
        }


def _tags(tool: FunctionTool) -> list[JsonObject]:
    """The call as the model is trained to begin it: the recipient behind the channel, or before it."""
    to = f"to=functions.{tool.name}"
    begins = [
        f"{_CHANNEL}commentary {to} {_CONSTRAIN}json{_MESSAGE}",
        f"{_CHANNEL}commentary {to}{_CONSTRAIN}json{_MESSAGE}",
        f" {to}{_CHANNEL}commentary {_CONSTRAIN}json{_MESSAGE}",
        f" {to}{_CHANNEL}commentary json{_MESSAGE}",
    ]
    content = {"type": "sequence", "elements": [json_arguments(tool), _optional(_CALL)]}
    return [{"type": "tag", "begin": begin, "content": content, "end": ""} for begin in begins]


def _message(channel: str) -> JsonObject:
    content = {"type": "any_text", "excludes": [_START, _CALL, _RETURN]}
    return {"type": "tag", "begin": f"{_CHANNEL}{channel}{_MESSAGE}", "content": content, "end": _END}


def _optional(text: str) -> JsonObject:
    return {"type": "optional", "content": _const(text)}


def _const(text: str) -> JsonObject:
    return {"type": "const_string", "value": text}


class HarmonyParser(StreamParser):
    """In a message's header, or in its body, which is thought, said or called. Text without a channel is said."""

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._buffer = ""
        self._calls = 0
        # Of the message whose body is read: analysis, final, call, or called behind its object. None in a header.
        self._kind: str | None = None
        self._arguments = JsonExtent()
        self._begun = False
        self._first = True

    def feed(self, text: str) -> list[Delta]:
        self._buffer += text
        deltas: list[Delta] = []
        while self._header(deltas) if self._kind is None else self._body(deltas):
            pass
        return deltas

    def finish(self) -> list[Delta]:
        deltas: list[Delta] = []
        if self._kind is None:
            header = self._buffer
            if self._first and not header.lstrip().startswith(("<|", "to=")):
                self._say(deltas, "final", header)
        else:
            self._say(deltas, self._kind, self._buffer)
            self._close(deltas)
        self._buffer = ""
        return deltas

    def _header(self, deltas: list[Delta]) -> bool:
        header, mark, rest = self._buffer.partition(_MESSAGE)
        start = header.lstrip()
        if not start and not mark:
            return False
        longest = _LONGEST_HEADER if mark else _LONGEST_HEADER + len(_MESSAGE)
        if not self._may_be_header(start, whole=bool(mark)) or len(header) > longest:
            # The model forgot its channels: what it says is said to the user.
            self._kind = "final"
            return True
        if not mark:
            return False
        self._buffer = rest
        self._kind = self._kind_of(header, deltas)
        return True

    def _may_be_header(self, start: str, *, whole: bool) -> bool:
        openings = (_CHANNEL, _START, _MESSAGE, "to=", "assistant", *(() if self._first else _ENDS))
        if whole:
            return not start or start.startswith(openings)
        return any(start.startswith(opening) or opening.startswith(start) for opening in openings)

    def _kind_of(self, header: str, deltas: list[Delta]) -> str:
        self._first = False
        self._begun = False
        channel = _CHANNEL_NAME.search(header)
        recipient = _RECIPIENT.search(header)
        if (
            recipient
            and recipient[1] not in ("assistant", "user")
            and not (self._known and recipient[1] not in self._known)
        ):
            deltas.append(CallStart(self._calls, recipient[1]))
            self._calls += 1
            self._arguments = JsonExtent()
            return "call"
        self.thinking = channel is not None and channel[1] == "analysis"
        return "analysis" if self.thinking else "final"

    def _body(self, deltas: list[Delta]) -> bool:
        assert self._kind is not None
        if self._kind == "call" and not self._begun:
            self._buffer = self._buffer.lstrip()
        if self._arguments.begun or (self._kind == "call" and not self._begun and self._buffer.startswith("{")):
            return self._object(deltas)
        at, mark = _MARKS.look(self._buffer)
        if not mark:
            self._say(deltas, self._kind, self._buffer[:at])
            self._buffer = self._buffer[at:]
            return False
        self._say(deltas, self._kind, self._buffer[:at])
        self._close(deltas)
        self._buffer = self._buffer[at + len(mark) :]
        self._kind = None
        self.thinking = False
        return True

    def _object(self, deltas: list[Delta]) -> bool:
        """The arguments of a call as models write them. A mark inside of their strings is what the string says."""
        taken = self._arguments.feed(self._buffer, 0)
        self._say(deltas, "call", self._buffer[:taken])
        self._buffer = self._buffer[taken:]
        if self._arguments.ended:
            self._arguments = JsonExtent()
            self._kind = "called"
        return self._kind == "called"

    def _say(self, deltas: list[Delta], kind: str, text: str) -> None:
        if not text or kind == "called":
            return
        self._begun = True
        match kind:
            case "call":
                deltas.append(CallArguments(self._calls - 1, text))
            case "analysis":
                deltas.append(ReasoningDelta(text))
            case _:
                deltas.append(TextDelta(text))

    def _close(self, deltas: list[Delta]) -> None:
        if self._kind == "call" and not self._begun:
            deltas.append(CallArguments(self._calls - 1, "{}"))

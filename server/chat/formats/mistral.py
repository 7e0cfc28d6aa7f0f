"""Mistral's calls, in two spellings of which the template tells: a list, and since 2025 a name and its arguments.

[TOOL_CALLS][{"name": "f", "arguments": {...}}, ...]
[TOOL_CALLS]f[ARGS]{...}[TOOL_CALLS]g[ARGS]{...}

Some put ``[CALL_ID]`` and an id behind the name. Their templates print the ids of old calls, so clients get the model's
own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...json_values import JsonObject
from .base import (
    Delta,
    FunctionTool,
    StreamParser,
    TextDelta,
    ToolFormat,
    json_arguments,
    object_tag,
    several,
)
from .named_calls import NamedCalls
from .object_calls import ObjectCalls

_CALL = "[TOOL_CALLS]"
_ARGUMENTS = "[ARGS]"
_ID = "[CALL_ID]"
_HEADER = re.compile(
    rf"\s*(?P<name>[^\s\[{{]+)\s*(?:{re.escape(_ID)}\s*(?P<id>[^\s\[{{]+)\s*)?(?:{re.escape(_ARGUMENTS)}|(?=\{{))"
)


class Mistral(ToolFormat):
    name = "mistral"
    markers = (_CALL, _ARGUMENTS, _ID)
    trigger = _CALL

    def __init__(self, template: str = "") -> None:
        self._named = _ARGUMENTS in template
        self._ids = _ID in template
        self.section = not self._named

    @classmethod
    def writes(cls, template: str) -> bool:
        return _CALL in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return _EitherSpelling()

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        if self._named:
            return [self._tag(tool) for tool in tools]
        calls = several([object_tag(tool) for tool in tools], ", ", one)
        # Templates differ in whether they write a space here, so a model may write either.
        opens = {"type": "regex", "pattern": r" ?\["}
        content = {"type": "sequence", "elements": [opens, calls]}
        return [{"type": "tag", "begin": _CALL, "content": content, "end": "]"}]

    def _tag(self, tool: FunctionTool) -> JsonObject:
        content = json_arguments(tool)
        if not self._ids:
            return {"type": "tag", "begin": f"{_CALL}{tool.name}{_ARGUMENTS}", "content": content, "end": ""}
        id: JsonObject = {"type": "regex", "pattern": "[a-zA-Z0-9]{9}"}
        numbered = {"type": "tag", "begin": _ID, "content": id, "end": _ARGUMENTS}
        opens = {"type": "or", "elements": [numbered, {"type": "const_string", "value": _ARGUMENTS}]}
        content = {"type": "sequence", "elements": [opens, content]}
        return {"type": "tag", "begin": f"{_CALL}{tool.name}", "content": content, "end": ""}


class _EitherSpelling(StreamParser):
    """The first character behind the first mark tells the spelling, whatever the template says."""

    def __init__(self) -> None:
        self._parser: StreamParser = _named()  # words before a call are the same in both
        self._held: str | None = ""  # what it has not said yet; None: the spelling is known

    def feed(self, text: str) -> list[Delta]:
        if self._held is None:
            return self._parser.feed(text)
        self._held += text
        behind = self._held.partition(_CALL)[2].lstrip()
        if behind:
            self._parser = _listed() if behind[0] in "[{" else _named()
            text, self._held = self._held, None
            return self._parser.feed(text)
        deltas = self._parser.feed(text)
        said = sum(len(delta.text) for delta in deltas if isinstance(delta, TextDelta))
        self._held = self._held[said:]
        return deltas

    def finish(self) -> list[Delta]:
        return self._parser.finish()


def _listed() -> StreamParser:
    return ObjectCalls([_CALL], several=True)


def _named() -> StreamParser:
    return NamedCalls(_CALL, _HEADER)

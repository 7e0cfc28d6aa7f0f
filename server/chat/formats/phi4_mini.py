"""Phi-4-mini's calls: ``functools[{"name": "f", "arguments": {...}}, ...]``, or the same list between its own tokens.

Which of the two a model is told to write shows in its template.
"""

from __future__ import annotations

from collections.abc import Sequence

from .base import FunctionTool, StreamParser
from .listed_calls import ListedCalls
from .object_calls import ObjectCalls

_WORD = "functools"
_OPEN, _CLOSE = "<|tool_call|>", "<|/tool_call|>"


class Phi4Mini(ListedCalls):
    name = "phi4_mini_json"
    markers = (_OPEN, _CLOSE)
    trigger = _WORD

    def __init__(self, template: str = "") -> None:
        super().__init__(template)
        if _OPEN in template:
            self.trigger, self.close = _OPEN, _CLOSE

    @classmethod
    def writes(cls, template: str) -> bool:
        return "<|/tool|>" in template or f"{_WORD}[" in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return ObjectCalls([f"{_WORD}[", _OPEN], [_CLOSE], several=True)

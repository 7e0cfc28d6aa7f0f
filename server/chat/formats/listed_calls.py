"""What Granite 3 and Phi-4-mini have in common: a JSON list of call objects behind a mark."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ...json_values import JsonObject
from .base import FunctionTool, StreamParser, ToolFormat, object_tag, several
from .object_calls import ObjectCalls


class ListedCalls(ToolFormat):
    """One section per turn: the ``trigger``, a list, and ``close``, which is empty where nothing closes a section."""

    section = True
    close = ""
    between = ", "

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        closes = [self.close] if self.close else []
        return ObjectCalls([self.trigger], closes, several=True)

    def written(self, calls: Sequence[JsonObject]) -> str:
        return f"{self.trigger}{json.dumps(calls, ensure_ascii=False)}{self.close}"

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        calls = several([object_tag(tool) for tool in tools], self.between, one)
        return [{"type": "tag", "begin": f"{self.trigger}[", "content": calls, "end": f"]{self.close}"}]

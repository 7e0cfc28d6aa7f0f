"""Llama 3's JSON calls, without any mark: ``{"name": "f", "parameters": {...}}``, several separated by ``; ``.

Models of the family also put ``<|python_tag|>`` before them, Llama 4 an empty pair of tokens. A turn is either calls or
text, which follows from its first character.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...json_values import JsonObject
from .base import FunctionTool, StreamParser, ToolFormat, object_tag
from .object_calls import ObjectCalls

TAG, START, END = "<|python_tag|>", "<|python_start|>", "<|python_end|>"
_HEADERS = ("<|start_header_id|>", "<|header_start|>")


class Llama3Json(ToolFormat):
    name = "llama3_json"
    markers = (TAG, START, END)
    first = "{"
    separator = "; "

    @classmethod
    def writes(cls, template: str) -> bool:
        asked = any(header in template for header in _HEADERS) and '"parameters"' in template
        return asked or (TAG in template and "<function=" not in template)

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        known = {tool.name for tool in tools} or None
        return ObjectCalls(self.markers, several=True, between=",;", at_start=True, known=known)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        return [object_tag(tool, "parameters") for tool in tools]

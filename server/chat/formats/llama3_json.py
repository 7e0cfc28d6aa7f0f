"""Llama 3's JSON calls, without any mark: ``{"name": "f", "parameters": {...}}``, several separated by ``; ``.

Models of the family also put ``<|python_tag|>`` before them. A turn is either calls or text, which follows from its
first character.
"""

from __future__ import annotations

from collections.abc import Sequence

from .base import FunctionTool, JsonObject, StreamParser, ToolFormat, object_tag
from .object_calls import ObjectCalls

TAG = "<|python_tag|>"


class Llama3Json(ToolFormat):
    name = "llama3_json"
    markers = (TAG,)
    first = "{"
    separator = "; "

    @classmethod
    def writes(cls, template: str) -> bool:
        return TAG in template or ("<|start_header_id|>" in template and '"parameters"' in template)

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        known = {tool.name for tool in tools} or None
        return ObjectCalls([TAG], several=True, between=",;", at_start=True, known=known)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        return [object_tag(tool, "parameters") for tool in tools]

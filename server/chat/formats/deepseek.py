"""DeepSeek's calls: a section of calls, each a name and a JSON object between tokens.

V3 and R1 (in one line but for the breaks that are shown as \\n):
<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\\n```json\\n{...}\\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>

V3.1: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{...}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ...json_values import JsonObject
from .base import FunctionTool, StreamParser, ToolFormat, json_arguments, several
from .named_calls import NamedCalls

_SECTION, _SECTION_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL, _CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
_SEPARATOR = "<｜tool▁sep｜>"
_FENCE, _FENCE_END = "\n```json\n", "\n```"
_V3_HEADER = re.compile(rf"\s*\w*{re.escape(_SEPARATOR)}\s*(?P<name>[^\s<{{]+)\s*```(?:json\s*)?(?=[{{`])")
_V31_HEADER = re.compile(rf"\s*(?P<name>[^\s<]+)\s*{re.escape(_SEPARATOR)}")


class DeepSeekV3(ToolFormat):
    name = "deepseek_v3"
    markers = (_SECTION, _SECTION_END, _CALL, _CALL_END, _SEPARATOR)
    trigger = _SECTION
    section = True
    _header = _V3_HEADER
    _closes = ("```", _CALL_END, _SECTION_END)
    _between = "\n"

    @classmethod
    def writes(cls, template: str) -> bool:
        return _SECTION in template and "```json" in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return NamedCalls(_CALL, self._header, section=_SECTION, closes=self._closes)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        calls = several([self._tag(tool) for tool in tools], self._between, one)
        return [{"type": "tag", "begin": _SECTION, "content": calls, "end": _SECTION_END}]

    def written(self, calls: Sequence[JsonObject]) -> str:
        tags = [self._tag(FunctionTool(call["name"], {})) for call in calls]
        texts = [json.dumps(call["arguments"], ensure_ascii=False) for call in calls]
        inside = [f"{tag['begin']}{text}{tag['end']}" for tag, text in zip(tags, texts, strict=True)]
        return f"{_SECTION}{self._between.join(inside)}{_SECTION_END}"

    def _tag(self, tool: FunctionTool) -> JsonObject:
        begin = f"{_CALL}function{_SEPARATOR}{tool.name}{_FENCE}"
        return {"type": "tag", "begin": begin, "content": json_arguments(tool), "end": f"{_FENCE_END}{_CALL_END}"}


class DeepSeekV31(DeepSeekV3):
    name = "deepseek_v31"
    _header = _V31_HEADER
    _closes = (_CALL_END, _SECTION_END)
    _between = ""

    @classmethod
    def writes(cls, template: str) -> bool:
        return _SECTION in template and "```json" not in template

    def _tag(self, tool: FunctionTool) -> JsonObject:
        begin = f"{_CALL}{tool.name}{_SEPARATOR}"
        return {"type": "tag", "begin": begin, "content": json_arguments(tool), "end": _CALL_END}

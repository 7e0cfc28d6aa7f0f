"""Qwen3-Coder's and Qwen3.5's calls: a function and its parameters as tags, the values as plain text.

<tool_call>
<function=get_weather>
<parameter=city>
Oslo
</parameter>
</function>
</tool_call>
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .base import MOST_WHITESPACE, FunctionTool, JsonObject, StreamParser, ToolFormat
from .tagged_calls import TaggedCalls, Tags

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_TAGS = Tags(
    opens=_OPEN,
    also=(_FUNCTION,),
    name=re.compile(rf"\s*{_FUNCTION}\s*(?P<name>[^\s<>]+)\s*>"),
    key="<parameter=",
    key_end=">",
    value="",
    value_end="</parameter>",
    ends=(_FUNCTION_END, _CLOSE),
    closes=(_CLOSE,),
)


class Qwen3Coder(ToolFormat):
    name = "qwen3_coder"
    markers = (_OPEN, _CLOSE)
    trigger = _OPEN
    separator = "\n"

    @classmethod
    def writes(cls, template: str) -> bool:
        return _FUNCTION in template and "<parameter=" in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return TaggedCalls(_TAGS, tools)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        return [_tag(tool) for tool in tools]


def _tag(tool: FunctionTool) -> JsonObject:
    content = {
        "type": "json_schema", "json_schema": tool.parameters, "style": "qwen_xml",
        "max_whitespace_cnt": MOST_WHITESPACE,
    }  # fmt: skip
    begin = f"{_OPEN}\n{_FUNCTION}{tool.name}>\n"
    return {"type": "tag", "begin": begin, "content": content, "end": f"{_FUNCTION_END}\n{_CLOSE}"}

"""GLM-4.5's and later GLMs' calls: a name, then keys and values between tags, strings as plain text.

<tool_call>get_weather
<arg_key>city</arg_key>
<arg_value>Oslo</arg_value>
</tool_call>
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .base import MOST_WHITESPACE, FunctionTool, JsonObject, StreamParser, ToolFormat
from .tagged_calls import TaggedCalls, Tags

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TAGS = Tags(
    opens=_OPEN,
    name=re.compile(r"\s*(?P<name>[^\s<>{}]+)\s*(?=<)"),
    key="<arg_key>",
    key_end="</arg_key>",
    value="<arg_value>",
    value_end="</arg_value>",
    ends=(_CLOSE,),
)


class Glm45(ToolFormat):
    name = "glm45"
    markers = (_OPEN, _CLOSE, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
    trigger = _OPEN
    separator = "\n"
    lead = r"\n?"

    @classmethod
    def writes(cls, template: str) -> bool:
        return "<arg_key>" in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return TaggedCalls(_TAGS, tools)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        return [_tag(tool) for tool in tools]


def _tag(tool: FunctionTool) -> JsonObject:
    content = {
        "type": "json_schema", "json_schema": tool.parameters, "style": "glm_xml",
        "max_whitespace_cnt": MOST_WHITESPACE,
    }  # fmt: skip
    return {"type": "tag", "begin": f"{_OPEN}{tool.name}", "content": content, "end": _CLOSE}

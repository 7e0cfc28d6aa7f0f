"""Kimi K2's calls: a section of calls, each with an id that holds its name and its number in the conversation.

<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{...}<|tool_call_end|>
<|tool_calls_section_end|>  (in one line)

The template prints the ids of old calls, so clients get the model's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...json_values import JsonObject
from .base import FunctionTool, StreamParser, ToolFormat, json_arguments, several
from .named_calls import NamedCalls

_SECTION, _SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_CALL, _CALL_END = "<|tool_call_begin|>", "<|tool_call_end|>"
_ARGUMENTS = "<|tool_call_argument_begin|>"
_HEADER = re.compile(rf"\s*(?P<id>(?:functions\.)?(?P<name>[^\s<]+?)(?::\d+)?)\s*{re.escape(_ARGUMENTS)}")


class KimiK2(ToolFormat):
    name = "kimi_k2"
    markers = (_SECTION, _SECTION_END, _CALL, _CALL_END, _ARGUMENTS)
    trigger = _SECTION
    section = True

    @classmethod
    def writes(cls, template: str) -> bool:
        return _SECTION in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return NamedCalls(_CALL, _HEADER, section=_SECTION, closes=[_CALL_END, _SECTION_END])

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        calls = several([_tag(tool) for tool in tools], "", one)
        return [{"type": "tag", "begin": _SECTION, "content": calls, "end": _SECTION_END}]


def _tag(tool: FunctionTool) -> JsonObject:
    number = {"type": "regex", "pattern": r"\d{1,4}"}
    opens = {"type": "const_string", "value": _ARGUMENTS}
    content = {"type": "sequence", "elements": [number, opens, json_arguments(tool)]}
    return {"type": "tag", "begin": f"{_CALL}functions.{tool.name}:", "content": content, "end": _CALL_END}

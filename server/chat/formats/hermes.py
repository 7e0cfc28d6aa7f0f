"""Hermes calls, as Qwen2.5, Qwen3, Granite 4 and the embedded model write them: JSON objects between tags.

<tool_call>
{"name": "get_weather", "arguments": {"city": "Oslo"}}
</tool_call>
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ...json_values import JsonObject
from .base import FunctionTool, StreamParser, ToolFormat, json_arguments
from .object_calls import ObjectCalls

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


class Hermes(ToolFormat):
    name = "hermes"
    markers = (OPEN, CLOSE)
    trigger = OPEN
    separator = "\n"

    @classmethod
    def writes(cls, template: str) -> bool:
        return (
            OPEN in template
            and "<tool_calls>" not in template
            and ('"arguments"' in template or '\\"arguments\\"' in template)
        )

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return ObjectCalls([OPEN], [CLOSE])

    def written(self, calls: Sequence[JsonObject]) -> str:
        return self.separator.join(f"{OPEN}\n{json.dumps(call, ensure_ascii=False)}\n{CLOSE}" for call in calls)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        return [_tag(tool) for tool in tools]


def _tag(tool: FunctionTool) -> JsonObject:
    begin = f'{OPEN}\n{{"name": {json.dumps(tool.name)}, "arguments": '
    return {"type": "tag", "begin": begin, "content": json_arguments(tool), "end": f"}}\n{CLOSE}"}

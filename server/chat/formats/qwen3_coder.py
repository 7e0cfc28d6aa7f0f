"""The calls of Qwen3-Coder, Qwen3.5 and Seed-OSS: a function and its parameters as tags, the values as plain text.

<tool_call>
<function=get_weather>
<parameter=city>
Oslo
</parameter>
</function>
</tool_call>

Seed-OSS puts ``<seed:tool_call>`` around them; which of the two a model writes shows in its template.
"""

from __future__ import annotations

import re
from dataclasses import replace

from .tagged_calls import TaggedFormat, Tags

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_SEED_OPEN, _SEED_CLOSE = "<seed:tool_call>", "</seed:tool_call>"
_FUNCTION, _FUNCTION_END = "<function=", "</function>"


class Qwen3Coder(TaggedFormat):
    name = "qwen3_coder"
    markers = (_OPEN, _CLOSE)
    trigger = _OPEN
    begin = f"{_OPEN}\n{_FUNCTION}{{}}>\n"
    end = f"{_FUNCTION_END}\n{_CLOSE}"
    style = "qwen_xml"
    spelling = Tags(
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

    def __init__(self, template: str = "") -> None:
        super().__init__(template)
        if _SEED_OPEN in template:
            self.markers = (_SEED_OPEN, _SEED_CLOSE)
            self.trigger = _SEED_OPEN
            self.begin = f"{_SEED_OPEN}\n{_FUNCTION}{{}}>\n"
            self.end = f"{_FUNCTION_END}\n{_SEED_CLOSE}"
            ends = (_FUNCTION_END, _SEED_CLOSE)
            self.spelling = replace(self.spelling, opens=_SEED_OPEN, ends=ends, closes=(_SEED_CLOSE,))

    @classmethod
    def writes(cls, template: str) -> bool:
        return _FUNCTION in template and "<parameter=" in template

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

from .tagged_calls import TaggedFormat, Tags

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
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

    @classmethod
    def writes(cls, template: str) -> bool:
        return _FUNCTION in template and "<parameter=" in template

"""GLM-4.5's and later GLMs' calls: a name, then keys and values between tags, strings as plain text.

<tool_call>get_weather
<arg_key>city</arg_key>
<arg_value>Oslo</arg_value>
</tool_call>
"""

from __future__ import annotations

import re

from .tagged_calls import TaggedFormat, Tags

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


class Glm45(TaggedFormat):
    name = "glm45"
    markers = (_OPEN, _CLOSE, "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
    trigger = _OPEN
    lead = r"\n?"
    begin = f"{_OPEN}{{}}"
    end = _CLOSE
    style = "glm_xml"
    spelling = Tags(
        opens=_OPEN,
        name=re.compile(r"\s*(?P<name>[^\s<>{}]+)\s*(?=<)"),
        key="<arg_key>",
        key_end="</arg_key>",
        value="<arg_value>",
        value_end="</arg_value>",
        ends=(_CLOSE,),
    )

    @classmethod
    def writes(cls, template: str) -> bool:
        return "<arg_key>" in template

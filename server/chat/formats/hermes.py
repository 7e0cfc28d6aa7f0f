"""Hermes calls, as Qwen2.5, Qwen3 and the embedded model write them: JSON objects between ``<tool_call>`` tags.

<tool_call>
{"name": "get_weather", "arguments": {"city": "Oslo"}}
</tool_call>
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .base import (
    CallArguments,
    CallStart,
    Delta,
    FunctionTool,
    JsonObject,
    StreamParser,
    TextDelta,
    ToolChoice,
    ToolFormat,
)
from .json_scan import ObjectScanner

OPEN = "<tool_call>"
CLOSE = "</tool_call>"

# Spaces that JSON allows between two tokens; a model that pretty-prints deeper than this is stuck in a loop.
_MOST_WHITESPACE = 32


class Hermes(ToolFormat):
    name = "hermes"
    markers = (OPEN, CLOSE)

    def parser(self) -> StreamParser:
        return HermesParser()

    def grammar(self, tools: Sequence[FunctionTool], choice: ToolChoice, text: JsonObject | None = None) -> JsonObject:
        if choice.mode == "none":
            return _tag(text or {"type": "any_text", "excludes": [OPEN]})
        offered = [tool for tool in tools if choice.mode != "named" or tool.name == choice.name]
        tags = [_call_tag(tool) for tool in offered]
        one = choice.mode == "named" or not choice.parallel
        calls = {
            "type": "tags_with_separator", "separator": "\n", "tags": tags, "at_least_one": True,
            "stop_after_first": one,
        }  # fmt: skip
        if choice.mode != "auto":
            return _tag(calls)
        if text is not None:
            return _tag({"type": "or", "elements": [text, calls]})
        return _tag({"type": "triggered_tags", "triggers": [OPEN], "tags": tags, "stop_after_first": one})


def _tag(format: JsonObject) -> JsonObject:
    return {"type": "structural_tag", "format": format}


def _call_tag(tool: FunctionTool) -> JsonObject:
    content = {"type": "json_schema", "json_schema": tool.parameters, "max_whitespace_cnt": _MOST_WHITESPACE}
    begin = f'{OPEN}\n{{"name": {json.dumps(tool.name)}, "arguments": '
    return {"type": "tag", "begin": begin, "content": content, "end": f"}}\n{CLOSE}"}


class HermesParser(StreamParser):
    """The parser is in one of three places: in text, between the tags, or behind a call's object.

    A call is announced when its name is known and its arguments open with ``{``. From then on the arguments are
    passed on verbatim, so what a client concatenates is what the model wrote. Anything between the tags that never
    gets that far comes out as the text it is.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._calls = 0
        self._call: ObjectScanner | None = None
        self._space_before_call = ""
        self._behind_call = False

    def feed(self, text: str) -> list[Delta]:
        self._buffer += text
        deltas: list[Delta] = []
        while self._step(deltas):
            pass
        return deltas

    def finish(self) -> list[Delta]:
        deltas: list[Delta] = []
        if self._call is not None:
            if not self._call.announced:
                deltas += _text(self._space_before_call + OPEN + self._call.source)
            self._call = None
        elif self._behind_call:
            self._buffer = ""
        if not (self._calls and self._buffer.isspace()):
            deltas += _text(self._buffer)
        self._buffer = ""
        return deltas

    def _step(self, deltas: list[Delta]) -> bool:
        """Consume what is certain. True when there may be more to do with what is left."""
        if self._call is not None:
            return self._inside(self._call, deltas)
        if self._behind_call:
            return self._close()
        return self._outside(deltas)

    def _outside(self, deltas: list[Delta]) -> bool:
        opened = self._buffer.find(OPEN)
        if opened >= 0:
            before = self._buffer[:opened]
            deltas += _text(before.rstrip())
            self._space_before_call = before[len(before.rstrip()) :]
            self._buffer = self._buffer[opened + len(OPEN) :]
            self._call = ObjectScanner(("arguments", "parameters"))
            return True
        # Held back: what may become a tag, and the white space before it, which belongs to the format.
        certain = len(self._buffer) - _partial(self._buffer, OPEN)
        certain = len(self._buffer[:certain].rstrip())
        deltas += _text(self._buffer[:certain])
        self._buffer = self._buffer[certain:]
        return False

    def _inside(self, call: ObjectScanner, deltas: list[Delta]) -> bool:
        taken = call.feed(self._buffer)
        self._buffer = self._buffer[taken:]
        if call.announced and not call.reported:
            call.reported = True
            deltas.append(CallStart(self._calls, call.name))
            self._calls += 1
        if call.announced and (fragment := call.take()):
            deltas.append(CallArguments(self._calls - 1, fragment))
        if call.failed:
            # Not a call. Its opening tag and all that was read of it are text; the rest is looked at again.
            deltas += _text(self._space_before_call + OPEN)
            self._buffer = call.source + self._buffer
            self._call = None
            return True
        if call.complete:
            self._call = None
            self._behind_call = True
            return True
        return False

    def _close(self) -> bool:
        """Skip the closing tag, and the white space or surplus braces that models put before it."""
        rest = self._buffer.lstrip(" \t\r\n}")
        if not rest or (CLOSE.startswith(rest) and rest != CLOSE):
            return False
        self._buffer = rest.removeprefix(CLOSE)
        self._behind_call = False
        return True


def _text(text: str) -> list[Delta]:
    return [TextDelta(text)] if text else []


def _partial(text: str, marker: str) -> int:
    """How many characters at the end of ``text`` could be the beginning of ``marker``."""
    for length in range(min(len(text), len(marker) - 1), 0, -1):
        if marker.startswith(text[-length:]):
            return length
    return 0

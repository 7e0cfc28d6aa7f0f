"""Gemma's calls: a name and an object without JSON's quotes, its strings between marks of their own.

FunctionGemma: <start_function_call>call:f{city:<escape>Oslo<escape>,days:3}<end_function_call>
Gemma 4:       <|tool_call>call:f{city:<|"|>Oslo<|"|>,days:3}<tool_call|>
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...json_values import JsonObject
from .base import Delta, FunctionTool, StreamParser, ToolFormat, plain_text
from .markup import MarkupParser
from .notation import Notation, members
from .raw_values import dumped, literal


@dataclass(frozen=True)
class _Marks:
    open: str
    close: str
    quote: str


_FUNCTION_GEMMA = _Marks("<start_function_call>", "<end_function_call>", "<escape>")
_GEMMA_4 = _Marks("<|tool_call>", "<tool_call|>", '<|"|>')
_NAME = re.compile(r"\s*(?:call:)?\s*(?P<name>[^\s{}]+)\s*\{")
_BARE = re.compile(r"[^,\]}]*")
_KEY = re.compile(r"\s*(?P<name>[^:,{}]+?)\s*:")
_DEEPEST = 40


class Gemma(ToolFormat):
    name = "gemma"

    def __init__(self, template: str = "") -> None:
        self._marks = _GEMMA_4 if _GEMMA_4.open in template else _FUNCTION_GEMMA
        self.trigger = self._marks.open
        self.markers = (self._marks.open, self._marks.close, self._marks.quote)

    @classmethod
    def writes(cls, template: str) -> bool:
        return _GEMMA_4.open in template or _FUNCTION_GEMMA.open in template

    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        return GemmaCalls(self._marks)

    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        marks = self._marks
        return [
            {
                "type": "tag", "begin": f"{marks.open}call:{tool.name}{{", "content": self._arguments(tool),
                "end": f"}}{marks.close}",
            }
            for tool in tools
        ]  # fmt: skip

    def _arguments(self, tool: FunctionTool) -> JsonObject:
        if tool.language is None:
            return members(tool.parameters, _notation(self._marks))
        quote = self._marks.quote
        return plain_text(tool.language, f"{tool.argument}:{quote}", quote)


def _notation(marks: _Marks) -> Notation:
    quote = marks.quote

    def text(schema: JsonObject) -> JsonObject:
        pattern = schema.get("pattern")
        inside: JsonObject = {"type": "any_text", "excludes": [quote]}
        if isinstance(pattern, str):
            inside = {"type": "regex", "pattern": pattern.removeprefix("^").removesuffix("$")}
        return {"type": "tag", "begin": quote, "content": inside, "end": quote}

    # Strings of any value hold no angle bracket, which is where the closing mark begins.
    any_value = (
        f'root ::= text | number | "true" | "false" | "null" | list | object\n'
        f"text ::= {dumped(quote)} [^<]* {dumped(quote)}\n"
        'number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)?\n'
        'list ::= "[" (root ("," root)*)? "]"\n'
        'object ::= "{" (member ("," member)*)? "}"\n'
        'member ::= [a-zA-Z_] [a-zA-Z0-9_]* ":" root\n'
    )
    return Notation(
        text=text,
        quoted=lambda value: f"{quote}{value}{quote}",
        key="{}:".format,
        names={True: "true", False: "false", None: "null"},
        any={"type": "grammar", "grammar": any_value},
        separator=",",
        by_name=True,
    )


class GemmaCalls(MarkupParser):
    """A call is announced, with all its arguments, when it is closed: until then its quotes may be anywhere."""

    def __init__(self, marks: _Marks) -> None:
        super().__init__([marks.open])
        self._gemma = marks
        self._looked = 0

    def _opens(self, mark: str) -> Callable[[list[Delta]], bool]:
        self._looked = 0
        return self._in_call

    def _in_call(self, deltas: list[Delta]) -> bool:
        marks = self._gemma
        end = self._close()
        if end is None:
            return False
        body, self._buffer = self._buffer[:end], self._buffer[end:]
        found = _NAME.match(body)
        if found is None:
            self._buffer = body + self._buffer
            return self._fail(deltas)
        value = _Reader(body[found.end() - 1 :], marks.quote).value(0)
        self._announce(deltas, found["name"])
        self._argue(deltas, dumped(value if isinstance(value, dict) else {}))
        self._buffer = self._buffer.removeprefix(marks.close)
        self._state = self._outside
        return True

    def _close(self) -> int | None:
        """The place of the mark that closes the call, outside of quotes; None while it is not there."""
        marks, text = self._gemma, self._buffer
        while True:
            close = text.find(marks.close, self._looked)
            quote = text.find(marks.quote, self._looked)
            if quote < 0 or 0 <= close < quote:
                return close if close >= 0 else None
            ending = text.find(marks.quote, quote + len(marks.quote))
            if ending < 0:
                return None
            self._looked = ending + len(marks.quote)


class _Reader:
    """Reads one value. Nothing raises: what has no value is the text that it is."""

    def __init__(self, text: str, quote: str) -> None:
        self._text = text
        self._quote = quote
        self._at = 0

    def value(self, depth: int) -> Any:
        self._space()
        text = self._text
        if text.startswith(self._quote, self._at):
            start = self._at + len(self._quote)
            end = text.find(self._quote, start)
            end = len(text) if end < 0 else end
            self._at = end + len(self._quote)
            return text[start:end]
        if depth < _DEEPEST and text[self._at : self._at + 1] == "{":
            return self._object(depth)
        if depth < _DEEPEST and text[self._at : self._at + 1] == "[":
            return self._list(depth)
        bare = _BARE.match(text, self._at)
        raw = bare[0].strip() if bare else ""
        self._at += max(len(bare[0]) if bare else 0, 0)
        try:
            return literal(raw)
        except ValueError:
            return raw

    def _object(self, depth: int) -> dict[str, Any]:
        self._at += 1
        values: dict[str, Any] = {}
        while (char := self._next()) not in ("", "}"):
            found = _KEY.match(self._text, self._at)
            if found is None:
                self._at += 1  # nothing that an object could hold
                continue
            self._at = found.end()
            key = found["name"].replace(self._quote, "").strip("\"'")
            value = self.value(depth + 1)
            values.setdefault(key, value)
        self._at += len(char)
        return values

    def _list(self, depth: int) -> list[Any]:
        self._at += 1
        values: list[Any] = []
        while (char := self._next()) not in ("", "]"):
            before = self._at
            values.append(self.value(depth + 1))
            self._at = max(self._at, before + 1)
        self._at += len(char)
        return values

    def _next(self) -> str:
        """The character at which the next member begins, behind commas."""
        while self._text[self._at : self._at + 1] in tuple(" \t\r\n,"):
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _space(self) -> None:
        while self._text[self._at : self._at + 1] in tuple(" \t\r\n"):
            self._at += 1

"""What a tool-call format is: how calls are parsed from the model's text, and which grammar makes them valid.

The third face, how calls and results are rendered, belongs to the model's chat template; a format only says which text
around a call the template adds by itself.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from ...json_values import JsonObject
from ..languages import Language, ebnf
from ..languages.excluding import excluding

ChoiceMode = Literal["none", "auto", "required", "named"]

# Spaces that JSON allows between two tokens; a model that pretty-prints deeper than this is stuck in a loop.
MOST_WHITESPACE = 32


class FunctionTool(NamedTuple):
    """A function that the model may call: its name and the JSON Schema of its arguments.

    ``language`` is what the text must be in that is its only argument; None where the schema says all.
    """

    name: str
    parameters: JsonObject
    language: Language | None = None

    @property
    def argument(self) -> str:
        """The name of its only argument."""
        (name,) = self.parameters["properties"]
        return name


@dataclass(frozen=True)
class ToolChoice:
    """What the client asked of tool calling.

    Attributes:
        name: the one function to call, set for the mode ``named``.
        allowed: names that may be called; None means all. The others stay in the prompt, so its prefix is the same.
    """

    mode: ChoiceMode = "auto"
    name: str | None = None
    parallel: bool = True
    allowed: tuple[str, ...] | None = None

    def offered(self, tools: Sequence[FunctionTool]) -> list[FunctionTool]:
        """Those of ``tools`` that may be called now."""
        if self.mode == "named":
            return [tool for tool in tools if tool.name == self.name]
        return [tool for tool in tools if self.allowed is None or tool.name in self.allowed]

    @property
    def one(self) -> bool:
        """The turn may hold one call at most."""
        return self.mode == "named" or not self.parallel


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the assistant's own words."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of what the model thinks before it speaks."""

    text: str


class CallStart(msgspec.Struct, frozen=True, gc=False):
    """A call begins: its place among this turn's calls, its name, and its id where the format has the model write one.

    A template that prints ids wants the model's own back.
    """

    index: int
    name: str
    id: str | None = None


class CallArguments(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the JSON text of call ``index``'s arguments."""

    index: int
    text: str


Delta = TextDelta | ReasoningDelta | CallStart | CallArguments


class StreamParser(ABC):
    """Turns one assistant turn's text into deltas.

    The concatenated result does not depend on how the text was cut. Nothing raises: what is not a call is text.

    Attributes:
        thinking: what comes next is thought rather than said.
    """

    thinking: bool = False

    @abstractmethod
    def feed(self, text: str) -> list[Delta]:
        """The deltas that are certain after ``text``."""

    @abstractmethod
    def finish(self) -> list[Delta]:
        """The output has ended: the deltas that were held back."""


class ToolFormat(ABC):
    """One family's way of writing tool calls.

    Attributes:
        name: what users call it.
        markers: texts around a call, which may be special tokens of the model.
        trigger: the text with which every call begins wherever it stands. Where a format has none, a turn is either
            calls, which begin with ``first``, or text, which does not.
        first: the first character of calls without a trigger.
        separator: what stands between two tags.
        section: one tag holds all calls of a turn.
        lead: a regular expression of what models write before a turn's calls or its wanted text.
        ends: texts with which templates end a turn that the model ends with another token.
        whole_turn: the format also says how the model's words and thoughts are marked, so it parses every turn.

    Args:
        template: the model's chat template, where one format has several spellings.
    """

    name: str
    markers: tuple[str, ...]
    trigger: str = ""
    first: str = ""
    separator: str = ""
    section: bool = False
    lead: str = ""
    ends: tuple[str, ...] = ()
    whole_turn: bool = False

    def __init__(self, template: str = "") -> None:
        del template

    @classmethod
    @abstractmethod
    def writes(cls, template: str) -> bool:
        """Whether a chat template writes calls in this format."""

    @abstractmethod
    def parser(self, tools: Sequence[FunctionTool] = ()) -> StreamParser:
        """A fresh parser for one assistant turn in which ``tools`` may be called."""

    @abstractmethod
    def tags(self, tools: Sequence[FunctionTool], one: bool) -> list[JsonObject]:
        """Structural tags, each of a call, or of a section of calls (one only, if ``one``)."""

    def written(self, calls: Sequence[JsonObject]) -> str | None:
        """Calls (name, arguments) as models write them, for templates that print none; None where only those know."""
        del calls

    def described(self, tools: Sequence[JsonObject]) -> str:
        """The tools and how to call them, for templates that show none."""
        listed = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
        example = self.written([{"name": "function_name", "arguments": {"parameter": "value"}}])
        how = f"\n\nTo call a function, write its name and its arguments in this form:\n{example}" if example else ""
        return f"You can call these functions, whose parameters are JSON schemas:\n{listed}{how}"

    def grammar(self, tools: Sequence[FunctionTool], choice: ToolChoice, text: JsonObject | None = None) -> JsonObject:
        """The structural tag (xgrammar's JSON form) under which every call has a known name and valid arguments.

        ``text``, a structural-tag format, is what the turn must be when it is not calls; None admits any text.
        """
        return {"type": "structural_tag", "format": self.body(tools, choice, text)}

    def body(
        self,
        tools: Sequence[FunctionTool],
        choice: ToolChoice,
        text: JsonObject | None = None,
        excludes: Sequence[str] = (),
    ) -> JsonObject:
        """What :meth:`grammar` wraps. ``excludes`` are texts that the words around the calls must not hold."""
        offered = choice.offered(tools)
        if choice.mode == "none" or not offered:
            return text or self._words(excludes)
        last = choice.one or self.section
        calls = several(self.tags(offered, choice.one), self.separator, last)
        if choice.mode != "auto":
            return self._led(calls)
        if text is not None:
            return self._led({"type": "or", "elements": [text, calls]})
        if not self.trigger:
            return {"type": "or", "elements": [self._words(excludes), calls]}
        return {
            "type": "triggered_tags", "triggers": [self.trigger], "tags": calls["tags"],
            "stop_after_first": last, **_excluding(excludes),
        }  # fmt: skip

    def _led(self, format: JsonObject) -> JsonObject:
        if not self.lead:
            return format
        return {"type": "sequence", "elements": [{"type": "regex", "pattern": self.lead}, format]}

    def _words(self, excludes: Sequence[str]) -> JsonObject:
        """Any text that is no call."""
        if self.trigger:
            return {"type": "any_text", "excludes": [*excludes, self.trigger]}
        begun: JsonObject = {"type": "regex", "pattern": rf"\s{{0,8}}[^\s\{self.first}]"}
        words = {"type": "sequence", "elements": [begun, {"type": "any_text", **_excluding(excludes)}]}
        return {"type": "optional", "content": words}


def several(tags: Sequence[JsonObject], separator: str, one: bool) -> JsonObject:
    """The structural-tag format of one of ``tags`` or more, or of ``one`` only."""
    return {
        "type": "tags_with_separator", "separator": separator, "tags": list(tags), "at_least_one": True,
        "stop_after_first": one,
    }  # fmt: skip


def json_arguments(tool: FunctionTool) -> JsonObject:
    """The structural-tag format of a call's arguments as a JSON object."""
    if tool.language is not None:
        opens = rf"\{{ ?{json.dumps(tool.argument)}: ?"
        return {
            "type": "sequence",
            "elements": [{"type": "regex", "pattern": opens}, json_string(tool.language), _const("}")],
        }
    return {"type": "json_schema", "json_schema": tool.parameters, "max_whitespace_cnt": MOST_WHITESPACE}


def object_tag(tool: FunctionTool, key: str = "arguments") -> JsonObject:
    """A call as one JSON object, its arguments under ``key``."""
    begin = f'{{"name": {json.dumps(tool.name)}, "{key}": '
    return {"type": "tag", "begin": begin, "content": json_arguments(tool), "end": "}"}


def _excluding(excludes: Sequence[str]) -> JsonObject:
    return {"excludes": list(excludes)} if excludes else {}


def json_string(language: Language) -> JsonObject:
    """A text of the language as a JSON string."""
    return _between('"', {"type": "grammar", "grammar": ebnf.json_string(language)}, '"')


def plain_text(language: Language, begin: str, end: str) -> JsonObject:
    """A text of the language as it is, up to the first ``end``. Raises LanguageError where each text holds one."""
    return _between(begin, {"type": "grammar", "grammar": ebnf.raw(excluding(language, end.strip()))}, end)


def _between(begin: str, content: JsonObject, end: str) -> JsonObject:
    return {"type": "sequence", "elements": [_const(begin), content, _const(end)]}


def _const(text: str) -> JsonObject:
    return {"type": "const_string", "value": text}

"""What a tool-call format is: how calls are parsed from the model's text, and which grammar makes them valid.

The third face, how calls and results are rendered, belongs to the model's chat template; a format only says which text
around a call the template adds by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

JsonObject = dict[str, Any]

ChoiceMode = Literal["none", "auto", "required", "named"]


class FunctionTool(NamedTuple):
    """A function that the model may call: its name and the JSON Schema of its arguments."""

    name: str
    parameters: JsonObject


@dataclass(frozen=True)
class ToolChoice:
    """What the client asked of tool calling. ``name`` is set for the mode ``named``."""

    mode: ChoiceMode = "auto"
    name: str | None = None
    parallel: bool = True


@dataclass(frozen=True)
class TextDelta:
    """The next piece of the assistant's own words."""

    text: str


@dataclass(frozen=True)
class CallStart:
    """A call begins: its place among this turn's calls, and its name."""

    index: int
    name: str


@dataclass(frozen=True)
class CallArguments:
    """The next piece of the JSON text of call ``index``'s arguments."""

    index: int
    text: str


Delta = TextDelta | CallStart | CallArguments


class StreamParser(ABC):
    """Turns one assistant turn's text into deltas.

    The concatenated result does not depend on how the text was cut. Nothing raises: what is not a call is text.
    """

    @abstractmethod
    def feed(self, text: str) -> list[Delta]:
        """The deltas that are certain after ``text``."""

    @abstractmethod
    def finish(self) -> list[Delta]:
        """The output has ended: the deltas that were held back."""


class ToolFormat(ABC):
    """One family's way of writing tool calls.

    ``markers`` are the texts around a call, which may be special tokens of the model.
    """

    name: str
    markers: tuple[str, ...]

    @abstractmethod
    def parser(self) -> StreamParser:
        """A fresh parser for one assistant turn."""

    @abstractmethod
    def grammar(self, tools: Sequence[FunctionTool], choice: ToolChoice, text: JsonObject | None = None) -> JsonObject:
        """The structural tag (xgrammar's JSON form) under which every call has a known name and valid arguments.

        ``text``, a structural-tag format, is what the turn must be when it is not calls; None admits any text.
        """

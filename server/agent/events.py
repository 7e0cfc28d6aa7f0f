"""What happens while an agent works, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...engine import EngineError
from ...engine.request import TokenLogprob
from ...tools.interaction import Progress
from ...tools.spec import ToolResult
from ..chat.generate import FinishReason, Usage

Failure = Literal["max_steps", "max_tool_calls", "length", "empty", "context_length_exceeded", "engine", "template"]


@dataclass
class Call:
    """A call as the model wrote it; ``arguments`` is JSON text, or what should have been."""

    name: str
    id: str
    arguments: str = ""


@dataclass(frozen=True)
class StepStarted:
    """A turn of the model begins, counted from 1. Ids of its calls begin with ``call_`` and ``turn``."""

    step: int
    turn: str


@dataclass(frozen=True)
class Reasoning:
    """The next piece of what the model thinks."""

    text: str


@dataclass(frozen=True)
class Text:
    """The next piece of what the model says, before it is known whether calls follow.

    ``tokens`` are those since the last piece, with their log-probabilities, where these were asked for.
    """

    text: str
    tokens: tuple[tuple[int, TokenLogprob], ...] = ()


@dataclass(frozen=True)
class CallBegun:
    """The model begins to write a call."""

    id: str
    tool: str


@dataclass(frozen=True)
class CallWriting:
    """The next piece of a call's arguments, as the model writes them."""

    id: str
    text: str


@dataclass(frozen=True)
class CallWritten:
    """The model has written a call; ``complete`` says that its turn was not cut off within it."""

    id: str
    tool: str
    arguments: str
    complete: bool = True


@dataclass(frozen=True)
class StepFinished:
    """One turn of the model is over. Seconds count from the moment the request was sent."""

    step: int
    usage: Usage
    first_token_seconds: float
    seconds: float


@dataclass(frozen=True)
class CallStarted:
    """A tool begins to work. ``arguments`` is the JSON text that the model wrote."""

    id: str
    tool: str
    arguments: str


@dataclass(frozen=True)
class CallProgress:
    """News of a tool that still works."""

    id: str
    tool: str
    progress: Progress


@dataclass(frozen=True)
class CallFinished:
    """A tool is done; ``output`` is what the model reads, ``result`` all that the tool gave back."""

    id: str
    tool: str
    arguments: str
    output: str
    is_error: bool
    seconds: float
    result: ToolResult | None = None


@dataclass(frozen=True)
class Answer:
    """The model's turn ended without a call, or was cut off (``length``). Always the last event."""

    text: str
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True)
class HandedOver:
    """The model made calls that are not run here, or not yet; the others are done. Always the last event."""

    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Failed:
    """There will be no answer. Always the last event."""

    reason: Failure
    message: str
    cause: EngineError | None = None


Event = (
    StepStarted
    | Reasoning
    | Text
    | CallBegun
    | CallWriting
    | CallWritten
    | StepFinished
    | CallStarted
    | CallProgress
    | CallFinished
    | Answer
    | HandedOver
    | Failed
)

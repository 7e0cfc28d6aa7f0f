"""What happens while an agent works, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..chat.generate import Usage

Failure = Literal["max_steps", "max_tool_calls", "length", "empty", "context_length_exceeded", "engine", "template"]


@dataclass(frozen=True)
class Text:
    """The next piece of what the model says, before it is known whether calls follow."""

    text: str


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
class CallFinished:
    """A tool is done; ``output`` is what the model reads."""

    id: str
    tool: str
    arguments: str
    output: str
    is_error: bool
    seconds: float


@dataclass(frozen=True)
class Answer:
    """The model answered without calling anything more. Always the last event."""

    text: str


@dataclass(frozen=True)
class Failed:
    """There will be no answer. Always the last event."""

    reason: Failure
    message: str


Event = Text | StepFinished | CallStarted | CallFinished | Answer | Failed

"""What a running call may say before its result: how far it is, and questions to the person behind the agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from .json_values import JsonObject


@dataclass(frozen=True)
class Progress:
    """News of a call that still runs.

    Args:
        done, total: in any unit; ``done`` only grows, ``total`` is None where nobody knows it.
        message: what is going on, for people.
        output: what the call has printed since the last news.
    """

    done: float
    total: float | None = None
    message: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Question:
    """Something that only a person can answer.

    Args:
        asker: who asks, as the operator named it.
        message: the question; whoever shows it must treat it as hostile text.
        schema: JSON Schema of the answer, an object of plain values; None where ``url`` is to be visited instead.
        url: a page to visit, never opened without asking.
    """

    asker: str
    message: str
    schema: JsonObject | None = None
    url: str | None = None


@dataclass(frozen=True)
class Reply:
    """What became of a question. ``content`` fits the schema and is there only when it was accepted."""

    action: Literal["accept", "decline", "cancel"]
    content: JsonObject | None = None


Report = Callable[[Progress], Awaitable[None]]
Ask = Callable[[Question], Awaitable[Reply]]

"""``truncation: "auto"``: what is left out of a conversation that is too long for the context, the oldest first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ...engine.errors import ContextOverflow
from ..json_values import JsonObject

T = TypeVar("T")

_INSTRUCTIONS = ("system", "developer")


async def shortened(messages: Sequence[JsonObject], make: Callable[[list[JsonObject], bool], Awaitable[T]]) -> T:
    """What ``make`` makes of the longest end of ``messages`` that is not too long for it.

    Left out are whole turns, which begin with what a user says, and then steps of the last turn, which begin with what
    the assistant says. Instructions and the last thing that a user said stay, and no call is parted from its results.

    Args:
        make: raises ContextOverflow. It is also told whether this is the least that can be left.
    """
    cuts = _cuts(messages)
    if not cuts:
        return await make(list(messages), True)
    low, high = 0, len(cuts) - 1
    best = await make(_from(messages, cuts[high]), True)
    while low < high:
        middle = (low + high) // 2
        try:
            best, high = await make(_from(messages, cuts[middle]), False), middle
        except ContextOverflow:
            low = middle + 1
    return best


def _asked(messages: Sequence[JsonObject]) -> int:
    return max((place for place, message in enumerate(messages) if message["role"] == "user"), default=-1)


def _cuts(messages: Sequence[JsonObject]) -> list[int]:
    """Where what is kept may begin, beside the beginning."""
    asked = _asked(messages)
    turns = [place for place, message in enumerate(messages) if message["role"] == "user"]
    steps = [place for place, message in enumerate(messages) if place > asked and message["role"] == "assistant"]
    return [*turns[1:], *steps[1:]]


def _from(messages: Sequence[JsonObject], cut: int) -> list[JsonObject]:
    asked = _asked(messages)
    gone = {call.get("id") for message in messages[:cut] for call in message.get("tool_calls") or ()}
    return [
        message
        for place, message in enumerate(messages)
        if message["role"] in _INSTRUCTIONS
        or place == asked
        or (place >= cut and not (message["role"] == "tool" and message.get("tool_call_id") in gone))
    ]

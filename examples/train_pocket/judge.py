"""Whether an answer is right."""

from __future__ import annotations

import re

from .agent import Run
from .episode import Answer

_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")


def verdict(run: Run, wanted: list[Answer]) -> str:
    """Why the run is wrong, or an empty string."""
    if run.failure:
        return run.failure
    for answer, calls, expected in zip(run.answers, run.used, wanted, strict=True):
        if expected.calls is True and not calls:
            return f"no call: {answer[:100]!r}"
        if expected.calls is False and calls:
            return f"called {calls[0]} though nothing had to be called"
        for element in expected.expect:
            if not contains(answer, element):
                return f"{element!r} is not in {answer[:160]!r}"
    check = wanted[-1].check
    if check is not None and not check(run.world):
        return "the workspace is not as it should be"
    return ""


def contains(answer: str, element: str) -> bool:
    """One of the alternatives (separated by |) occurs, or its number in another spelling."""
    folded = _folded(answer)
    options = element.split("|") if not element.startswith("|") else [element]
    if any(_folded(option) in folded for option in options):
        return True
    number = _number(element)
    if number is None:
        return False
    return any(
        abs(found - number) <= 1e-3 * max(1e-9, abs(number))
        for found in map(_number, _NUMBER.findall(answer))
        if found is not None
    )


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().lower()


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "").rstrip("."))
    except ValueError:
        return None

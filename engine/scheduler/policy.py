"""The order of sequences: who is admitted first, and who is retracted last."""

from __future__ import annotations

from collections.abc import Callable

from .sequence import Sequence

Policy = Callable[[Sequence], tuple[float, ...]]


def first_come(sequence: Sequence) -> tuple[float, ...]:
    """Lower priority numbers first, then in order of arrival; a retracted sequence keeps its place."""
    return (sequence.request.priority, sequence.arrival)

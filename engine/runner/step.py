"""A step as the scheduler decided it and the runner carries it out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..attention.base import StepLayout
from ..cache.kv import Copy

ON_DEVICE = -1  # stands for a token id that only the device knows


@dataclass(frozen=True)
class Step:
    """A step as the scheduler decided it. Rows with one token come first.

    Attributes:
        slots: (rows,) int64 request slots.
        layout: depths, counts and pages of the rows.
        ids: (tokens,) int64 token ids, ON_DEVICE where the slot's newest token is meant.
        sampling: the rows that sample, as indices into the rows, ascending.
        produced: (len(sampling),) int64, output tokens of these rows before this step.
        copies: pages to copy before anything else.
    """

    slots: np.ndarray
    layout: StepLayout
    ids: np.ndarray
    sampling: np.ndarray
    produced: np.ndarray
    copies: list[Copy] = field(default_factory=list)

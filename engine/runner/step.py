"""A step as the scheduler decided it, as the runner carries it out, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ..attention.base import StepLayout
from ..cache.kv import Copy
from ..request import TokenLogprob
from ..sampling.sampler import Draw, Sampled

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


@dataclass
class Launched:
    """A step under way.

    Attributes:
        logits: of the sampling rows, until they are drawn from.
        draw: draws from the logits as they are, by a graph; its argument says whether a row truncates.
        done: passed when the results are in host memory; None where they are at once.
    """

    step: Step
    logits: torch.Tensor | None = None
    draw: Draw | None = None
    sampled: Sampled | None = None
    done: torch.cuda.Event | None = None


@dataclass(frozen=True)
class Collected:
    """What a step gave: a token for each sampling row, and log-probabilities by index into the sampling rows."""

    tokens: list[int]
    logprobs: dict[int, TokenLogprob]

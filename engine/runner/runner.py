"""Runs steps on a device: builds the model's inputs, calls it, samples, and hands tokens back to the host.

The newest token of every slot stays in a device buffer, so that a decode never waits for the host to learn it. A step
is launched (forward, then sample) and collected later; on CPU everything is already done when `forward` returns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ..attention.base import AttentionBackend, StepLayout
from ..cache.kv import Copy
from ..models.decoder import Decoder
from ..request import TokenLogprob
from ..sampling.sampler import Sampled, Sampler, SamplingRows

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
    """A step under way."""

    step: Step
    logits: torch.Tensor | None
    sampled: Sampled | None = None


@dataclass(frozen=True)
class Collected:
    """What a step gave: a token for each sampling row, and log-probabilities by index into the sampling rows."""

    tokens: list[int]
    logprobs: dict[int, TokenLogprob]


class ModelRunner:
    """See the module."""

    def __init__(self, model: Decoder, attention: AttentionBackend, slots: int, device: torch.device) -> None:
        self._model = model
        self._attention = attention
        self._device = device
        self.sampler = Sampler(slots, model.config.vocab_size, device)
        self._newest = torch.zeros(slots, dtype=torch.int64, device=device)

    @torch.inference_mode()
    def forward(self, step: Step) -> Launched:
        """Start a step: copies, then the model. The logits wait for :meth:`sample`."""
        layout = step.layout
        if step.copies:
            self._attention.copy_pages([c.source for c in step.copies], [c.target for c in step.copies])
        ends = np.cumsum(layout.counts)
        starts = ends - layout.counts
        rows = np.repeat(np.arange(len(ends)), layout.counts)
        positions = torch.from_numpy(np.arange(ends[-1]) - starts[rows] + layout.depths[rows]).to(self._device)
        ids = torch.from_numpy(step.ids).to(self._device)
        waiting = np.flatnonzero(step.ids == ON_DEVICE)
        if len(waiting):
            newest = self._newest[torch.from_numpy(step.slots[rows[waiting]]).to(self._device)]
            ids = ids.index_copy(0, torch.from_numpy(waiting).to(self._device), newest)
        self._attention.prepare(layout)
        wanted = None
        if len(step.sampling) < len(step.ids):
            wanted = torch.from_numpy(ends[step.sampling] - 1).to(self._device)
        return Launched(step, self._model(ids, positions, wanted, self._attention))

    @torch.inference_mode()
    def sample(self, launched: Launched, allowed: torch.Tensor | None = None) -> None:
        """Choose the tokens of the sampling rows. ``allowed``: (rows, words) int32 grammar bitmask, or None."""
        step, logits = launched.step, launched.logits
        launched.logits = None
        if logits is None or not len(step.sampling):
            return
        slots = step.slots[step.sampling]
        positions = (step.layout.depths + step.layout.counts)[step.sampling]
        rows = SamplingRows(slots, positions, step.produced, allowed)
        launched.sampled = self.sampler.sample(logits, rows)
        self._newest[torch.from_numpy(slots).to(self._device)] = launched.sampled.tokens

    def collect(self, launched: Launched) -> Collected:
        """Wait for a step's tokens."""
        sampled = launched.sampled
        if sampled is None:
            return Collected([], {})
        return Collected(sampled.tokens.tolist(), dict(zip(sampled.logprob_rows, sampled.logprobs, strict=True)))

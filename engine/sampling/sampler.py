"""Choose the next token of every row at once: penalties, bias, masks, truncation, one uniform number a row.

Parameters live in tables indexed by request slot, so a step gathers them instead of walking requests. A row's random
number is a hash of its seed and position: the same seed, position and logits give the same token in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import torch

from ..request import SamplingParams, TokenLogprob
from .grammar import apply_bitmask


class Needs(IntFlag):
    """What a request asks of the sampler beyond argmax; a step does only what one of its rows needs."""

    RANDOM = 1
    TRUNCATION = 2
    PENALTIES = 4
    BIAS = 8
    MIN_TOKENS = 16
    LOGPROBS = 32


@dataclass(frozen=True)
class SamplingRows:
    """The rows of a step that sample.

    Attributes:
        slots: (rows,) int64.
        positions: (rows,) int64, place of the new token in its sequence.
        produced: (rows,) int64, output tokens before this one.
        allowed: bitmask (rows, words) int32 of allowed tokens, or None. See grammar.apply_bitmask.
    """

    slots: np.ndarray
    positions: np.ndarray
    produced: np.ndarray
    allowed: torch.Tensor | None = None


@dataclass(frozen=True)
class Sampled:
    """Tokens (rows,) int64 on the device; log-probabilities for the rows in ``logprob_rows``."""

    tokens: torch.Tensor
    logprob_rows: list[int]
    logprobs: list[TokenLogprob]


class Sampler:
    """Sampling state of all slots.

    Args:
        slots: number of request slots.
        vocab_size: width of the logits.
    """

    def __init__(self, slots: int, vocab_size: int, device: torch.device) -> None:
        self.vocab_size = vocab_size
        self._device = device
        self._needs = np.zeros(slots, np.int64)
        self._seeds = np.zeros(slots, np.uint64)
        self._params: list[SamplingParams] = [SamplingParams()] * slots
        self._ends: list[list[int]] = [[]] * slots
        self._bias: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        columns = ("temperature", "top_k", "top_p", "min_p", "presence", "frequency", "repetition")
        self._table = {name: torch.zeros(slots, device=device) for name in columns}
        self._counts: torch.Tensor | None = None  # (slots, vocabulary) int32, output tokens; made at first use
        self._seen: torch.Tensor | None = None  # (slots, vocabulary) bool, prompt and output tokens

    def admit(
        self, slot: int, params: SamplingParams, seed: int, ends: list[int], prompt: list[int], output: list[int]
    ) -> None:
        """Give a slot to a request. ``ends`` are the ids that may end it; ``output`` is what it has produced so far."""
        needs = Needs(0)
        if params.temperature > 0:
            needs |= Needs.RANDOM
            if params.top_k > 0 or params.top_p < 1 or params.min_p > 0:
                needs |= Needs.TRUNCATION
        if params.presence_penalty or params.frequency_penalty or params.repetition_penalty != 1:
            needs |= Needs.PENALTIES
            self._count(slot, prompt, output)
        if params.logit_bias:
            needs |= Needs.BIAS
            ids = torch.tensor(list(params.logit_bias), device=self._device)
            self._bias[slot] = ids, torch.tensor(list(params.logit_bias.values()), device=self._device)
        if params.min_tokens > len(output) and ends and params.grammar is None:
            needs |= Needs.MIN_TOKENS
        if params.logprobs is not None:
            needs |= Needs.LOGPROBS
        self._needs[slot] = needs
        self._seeds[slot] = seed % 2**64
        self._params[slot] = params
        self._ends[slot] = ends
        values = {
            "temperature": max(params.temperature, 1e-4),
            "top_k": params.top_k if params.top_k > 0 else self.vocab_size,
            "top_p": params.top_p,
            "min_p": params.min_p,
            "presence": params.presence_penalty,
            "frequency": params.frequency_penalty,
            "repetition": params.repetition_penalty,
        }
        for name, value in values.items():
            self._table[name][slot] = value

    def _count(self, slot: int, prompt: list[int], output: list[int]) -> None:
        if self._counts is None or self._seen is None:
            shape = (len(self._params), self.vocab_size)
            self._counts = torch.zeros(shape, dtype=torch.int32, device=self._device)
            self._seen = torch.zeros(shape, dtype=torch.bool, device=self._device)
        self._seen[slot] = False
        self._seen[slot, torch.tensor(prompt + output, device=self._device)] = True
        counts = torch.bincount(torch.tensor(output, dtype=torch.int64), minlength=self.vocab_size)
        self._counts[slot] = counts.to(self._device, torch.int32)

    def sample(self, logits: torch.Tensor, rows: SamplingRows) -> Sampled:
        """One token for each row of ``logits`` (rows, vocabulary)."""
        needs = self._needs[rows.slots]
        union = int(np.bitwise_or.reduce(needs))
        if not union and rows.allowed is None:
            return Sampled(logits.argmax(-1), [], [])
        slots = torch.from_numpy(rows.slots).to(self._device)
        raw = logits.float()
        adjusted = self._adjust(raw, rows, needs, union, slots)
        tokens = adjusted.argmax(-1)
        # Apart, since a row must not be drawn in another way because of its batch mates.
        for wanted, truncate in ((Needs.RANDOM, False), (Needs.RANDOM | Needs.TRUNCATION, True)):
            chosen = np.flatnonzero(needs & (Needs.RANDOM | Needs.TRUNCATION) == wanted)
            if len(chosen):
                some = torch.from_numpy(chosen).to(self._device)
                uniform = torch.from_numpy(_uniform(self._seeds[rows.slots[chosen]], rows.positions[chosen]))
                tokens[some] = self._draw(adjusted[some], slots[some], uniform.to(self._device), truncate)
        if union & Needs.PENALTIES:
            self._note(tokens, rows.slots, needs)
        if not union & Needs.LOGPROBS:
            return Sampled(tokens, [], [])
        wanted = np.flatnonzero(needs & Needs.LOGPROBS).tolist()
        return Sampled(tokens, wanted, self._logprobs(raw, tokens, rows.slots, wanted))

    def _adjust(
        self, raw: torch.Tensor, rows: SamplingRows, needs: np.ndarray, union: int, slots: torch.Tensor
    ) -> torch.Tensor:
        """Logits with penalties, bias and masks; a copy wherever something changes."""
        changes = Needs.PENALTIES | Needs.BIAS | Needs.MIN_TOKENS
        if not union & changes and rows.allowed is None:
            return raw
        logits = raw.clone()
        if union & Needs.PENALTIES:
            some = torch.from_numpy(np.flatnonzero(needs & Needs.PENALTIES)).to(self._device)
            logits[some] = self._penalise(logits[some], slots[some])
        for row in np.flatnonzero(needs & Needs.BIAS).tolist():
            ids, bias = self._bias[int(rows.slots[row])]
            logits[row, ids] += bias
        for row in np.flatnonzero(needs & Needs.MIN_TOKENS).tolist():
            slot = int(rows.slots[row])
            if rows.produced[row] < self._params[slot].min_tokens:
                logits[row, self._ends[slot]] = -torch.inf
        if rows.allowed is not None:
            apply_bitmask(logits, rows.allowed)
        return logits

    def _penalise(self, logits: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        """Presence and frequency penalties (OpenAI) and the repetition penalty (CTRL, arXiv:1909.05858)."""
        assert self._counts is not None
        assert self._seen is not None
        counts = self._counts[slots]
        repetition = self._table["repetition"][slots].unsqueeze(1)
        repeated = torch.where(logits > 0, logits / repetition, logits * repetition)
        logits = torch.where(self._seen[slots], repeated, logits)
        logits = logits - self._table["frequency"][slots].unsqueeze(1) * counts
        return logits - self._table["presence"][slots].unsqueeze(1) * (counts > 0)

    def _note(self, tokens: torch.Tensor, slots: np.ndarray, needs: np.ndarray) -> None:
        """Count the new tokens of the rows with penalties."""
        assert self._counts is not None
        assert self._seen is not None
        some = np.flatnonzero(needs & Needs.PENALTIES)
        where = torch.from_numpy(slots[some]).to(self._device), tokens[torch.from_numpy(some).to(self._device)]
        self._counts[where] += 1
        self._seen[where] = True

    def _draw(self, logits: torch.Tensor, slots: torch.Tensor, uniform: torch.Tensor, truncate: bool) -> torch.Tensor:
        """Sample by inverting the cumulative distribution: the first token whose cumulated probability exceeds u."""
        probabilities = (logits / self._table["temperature"][slots].unsqueeze(1)).softmax(-1)
        if not truncate:
            return _invert(probabilities, uniform)
        ordered, ids = probabilities.sort(stable=True, dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        rank = torch.arange(ordered.shape[1], device=ordered.device)
        keep = before < self._table["top_p"][slots].unsqueeze(1)
        keep &= rank < self._table["top_k"][slots].unsqueeze(1)
        keep &= ordered >= self._table["min_p"][slots].unsqueeze(1) * ordered[:, :1]
        keep[:, 0] = True
        return ids.gather(1, _invert(ordered * keep, uniform).unsqueeze(1)).squeeze(1)

    def _logprobs(
        self, raw: torch.Tensor, tokens: torch.Tensor, slots: np.ndarray, wanted: list[int]
    ) -> list[TokenLogprob]:
        """Log-probabilities under the model itself, before penalties, masks and temperature."""
        distribution = raw[wanted].log_softmax(-1)
        chosen = distribution.gather(1, tokens[wanted].unsqueeze(1)).squeeze(1).tolist()
        counts = [self._params[int(slots[row])].logprobs or 0 for row in wanted]
        most = min(max(counts), self.vocab_size)
        values, ids = (part.tolist() for part in distribution.topk(most, -1)) if most else ([[]] * len(wanted),) * 2
        return [
            TokenLogprob(chosen[i], list(zip(ids[i][:count], values[i][:count], strict=True)))
            for i, count in enumerate(counts)
        ]


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulated weight exceeds ``uniform`` times the whole; it always has a weight above 0."""
    cumulated = weights.double().cumsum(-1)
    index = torch.searchsorted(cumulated, (uniform * cumulated[:, -1]).unsqueeze(1), right=True).squeeze(1)
    last = cumulated.argmax(-1)  # where the sum first reaches its end: the last index with a weight
    return torch.minimum(index, last)


def _uniform(seeds: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1) from seeds (rows,) uint64 and positions (rows,): splitmix64 of their combination."""
    with np.errstate(over="ignore"):
        x = seeds * np.uint64(0x9E3779B97F4A7C15) + positions.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)
        for _ in range(2):
            x += np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53

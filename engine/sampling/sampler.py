"""Choose the next token of every row at once: penalties, bias, masks, truncation, one uniform number a row.

Parameters live in tables indexed by request slot, so a step gathers them instead of walking requests. A row's random
number is a hash of its seed and position: the same seed, position and logits give the same token in any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar

import numpy as np
import torch

from ..device import upload
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
class Logprobs:
    """Log-probabilities on their way to the host: of some rows' tokens, and of the most likely alternatives.

    Attributes:
        rows: which rows. counts: how many alternatives each one wants.
        chosen: (rows,). values, ids: (rows, most alternatives).
    """

    rows: list[int]
    counts: list[int]
    chosen: torch.Tensor
    values: torch.Tensor
    ids: torch.Tensor

    def by_row(self) -> dict[int, TokenLogprob]:
        """What each row is told, once the tensors have arrived."""
        each = zip(self.rows, self.counts, self.chosen.tolist(), self.ids.tolist(), self.values.tolist(), strict=True)
        return {
            row: TokenLogprob(chosen, list(zip(ids[:count], values[:count], strict=True)))
            for row, count, chosen, ids, values in each
        }


@dataclass(frozen=True)
class Drawing:
    """What rows are drawn with on CUDA; see :func:`kernels.sampling.draw`."""

    WIDTHS: ClassVar = (2, 1, 1, 1, 1)
    """How many numbers of a row each array of :meth:`Sampler.drawing` has."""

    keys: torch.Tensor
    temperature: torch.Tensor
    truncation: tuple[torch.Tensor, ...] | None

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor], truncates: bool) -> Drawing:
        """From :meth:`Sampler.drawing` on the device. ``truncates``: a row does."""
        keys, temperature, *truncation = tensors
        floats = tuple(column.view(torch.float32) for column in truncation)
        return cls(keys.view(-1, 2), temperature.view(torch.float32), floats if truncates else None)

    def draw(self, logits: torch.Tensor, slots: torch.Tensor, newest: torch.Tensor) -> torch.Tensor:
        from ..kernels.sampling import draw

        return draw(logits, slots, self.keys, self.temperature, newest, self.truncation)


@dataclass(frozen=True)
class Sampled:
    """Tokens (rows,) int64 and log-probabilities in host memory; on CUDA they arrive when the step has ended."""

    tokens: torch.Tensor
    logprobs: Logprobs | None = None


Draw = Callable[[bool], torch.Tensor]
"""Draws from logits as they are, which it knows; whether a row truncates is its argument. Returns (rows,) int64."""


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
        self._table = {name: np.zeros(slots, np.float32) for name in columns}
        self._counts: torch.Tensor | None = None  # (slots, vocabulary) int32, output tokens; made at first use
        self._seen: torch.Tensor | None = None  # (slots, vocabulary) bool, prompt and output tokens

    def admit(
        self, slot: int, params: SamplingParams, seed: int, ends: list[int], tokens: list[int], prompt_length: int
    ) -> None:
        """Give a slot to a request.

        ``ends`` are the ids that may end it; ``tokens`` are the prompt's and what it has produced so far.
        """
        needs = Needs(0)
        if params.temperature > 0:
            needs |= Needs.RANDOM
            if params.top_k > 0 or params.top_p < 1 or params.min_p > 0:
                needs |= Needs.TRUNCATION
        if params.presence_penalty or params.frequency_penalty or params.repetition_penalty != 1:
            needs |= Needs.PENALTIES
            self._count(slot, tokens, prompt_length)
        if params.logit_bias:
            needs |= Needs.BIAS
            ids, bias = np.array(list(params.logit_bias)), np.array(list(params.logit_bias.values()), np.float32)
            self._bias[slot] = self._tensor(ids), self._tensor(bias)
        if params.min_tokens > len(tokens) - prompt_length and ends and params.grammar is None:
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

    def _count(self, slot: int, tokens: list[int], prompt_length: int) -> None:
        if self._counts is None or self._seen is None:
            shape = (len(self._params), self.vocab_size)
            self._counts = torch.zeros(shape, dtype=torch.int32, device=self._device)
            self._seen = torch.zeros(shape, dtype=torch.bool, device=self._device)
        self._seen[slot] = False
        self._seen[slot, torch.tensor(tokens, device=self._device)] = True
        counts = torch.bincount(torch.tensor(tokens[prompt_length:], dtype=torch.int64), minlength=self.vocab_size)
        self._counts[slot] = counts.to(self._device, torch.int32)

    def drawing(self, slots: np.ndarray, positions: np.ndarray) -> list[np.ndarray]:
        """What rows at ``slots`` are drawn with at ``positions``: int32 arrays, as :meth:`Drawing.of` takes them."""
        table, random = self._table, self._needs[slots] & Needs.RANDOM != 0
        columns = [table["temperature"][slots] * random, *(table[name][slots] for name in ("top_k", "top_p", "min_p"))]
        return [array.view(np.int32) for array in (_hash(self._seeds[slots], positions), *columns)]

    def sample(
        self,
        logits: torch.Tensor,
        rows: SamplingRows,
        newest: torch.Tensor,
        draw: Draw | None = None,
    ) -> Sampled:
        """One token for each row of ``logits`` (rows, vocabulary), written to ``newest`` at the row's slot too.

        draw: does the same for logits that nothing changes.
        """
        needs = self._needs[rows.slots]
        union = int(np.bitwise_or.reduce(needs))
        if draw is not None and rows.allowed is None and not union & ~(Needs.RANDOM | Needs.TRUNCATION):
            return Sampled(_to_host(draw(union & Needs.TRUNCATION != 0)))
        slots = self._tensor(rows.slots)
        adjusted = self._adjust(logits, rows, needs, union, slots)
        if logits.is_cuda:
            tensors = upload(self.drawing(rows.slots, rows.positions), self._device)
            tokens = Drawing.of(tensors, union & Needs.TRUNCATION != 0).draw(adjusted, slots, newest)
        else:
            tokens = self._draw_rows(adjusted, rows, needs)
            newest[slots] = tokens
        if union & Needs.PENALTIES:
            self._note(tokens, rows.slots, needs)
        logprobs = self._logprobs(logits, tokens, rows.slots, needs) if union & Needs.LOGPROBS else None
        return Sampled(_to_host(tokens), logprobs)

    def _draw_rows(self, logits: torch.Tensor, rows: SamplingRows, needs: np.ndarray) -> torch.Tensor:
        tokens = logits.argmax(-1)
        # Apart, since a row must not be drawn in another way because of its batch mates.
        for wanted, truncate in ((Needs.RANDOM, False), (Needs.RANDOM | Needs.TRUNCATION, True)):
            chosen = np.flatnonzero(needs & (Needs.RANDOM | Needs.TRUNCATION) == wanted)
            if len(chosen):
                some = torch.from_numpy(chosen)
                uniform = torch.from_numpy(_uniform(self._seeds[rows.slots[chosen]], rows.positions[chosen]))
                tokens[some] = self._draw(logits[some].float(), rows.slots[chosen], uniform, truncate)
        return tokens

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """On the device, without waiting for it."""
        tensor = torch.from_numpy(array)
        return tensor if self._device.type == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)

    def _column(self, name: str, slots: np.ndarray) -> torch.Tensor:
        return self._tensor(self._table[name][slots]).unsqueeze(1)

    def _adjust(
        self, raw: torch.Tensor, rows: SamplingRows, needs: np.ndarray, union: int, slots: torch.Tensor
    ) -> torch.Tensor:
        """Logits with penalties, bias and masks; a copy in float32 wherever something changes."""
        changes = Needs.PENALTIES | Needs.BIAS | Needs.MIN_TOKENS
        if not union & changes and rows.allowed is None:
            return raw
        logits = raw.to(torch.float32, copy=True)
        if union & Needs.PENALTIES:
            chosen = np.flatnonzero(needs & Needs.PENALTIES)
            some = self._tensor(chosen)
            logits[some] = self._penalise(logits[some], slots[some], rows.slots[chosen])
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

    def _penalise(self, logits: torch.Tensor, slots: torch.Tensor, host_slots: np.ndarray) -> torch.Tensor:
        """Presence and frequency penalties (OpenAI) and the repetition penalty (CTRL, arXiv:1909.05858)."""
        assert self._counts is not None
        assert self._seen is not None
        counts = self._counts[slots]
        repetition = self._column("repetition", host_slots)
        repeated = torch.where(logits > 0, logits / repetition, logits * repetition)
        logits = torch.where(self._seen[slots], repeated, logits)
        logits = logits - self._column("frequency", host_slots) * counts
        return logits - self._column("presence", host_slots) * (counts > 0)

    def _note(self, tokens: torch.Tensor, slots: np.ndarray, needs: np.ndarray) -> None:
        """Count the new tokens of the rows with penalties."""
        assert self._counts is not None
        assert self._seen is not None
        some = np.flatnonzero(needs & Needs.PENALTIES)
        where = self._tensor(slots[some]), tokens[self._tensor(some)]
        self._counts[where] += 1
        self._seen[where] = True

    def _draw(self, logits: torch.Tensor, slots: np.ndarray, uniform: torch.Tensor, truncate: bool) -> torch.Tensor:
        """Sample by inverting the cumulative distribution: the first token whose cumulated probability exceeds u."""
        probabilities = (logits / self._column("temperature", slots)).softmax(-1)
        if not truncate:
            return _invert(probabilities, uniform)
        ordered, ids = probabilities.sort(stable=True, dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        rank = torch.arange(ordered.shape[1], device=ordered.device)
        keep = before < self._column("top_p", slots)
        keep &= rank < self._column("top_k", slots)
        keep &= ordered >= self._column("min_p", slots) * ordered[:, :1]
        keep[:, 0] = True
        return ids.gather(1, _invert(ordered * keep, uniform).unsqueeze(1)).squeeze(1)

    def _logprobs(self, raw: torch.Tensor, tokens: torch.Tensor, slots: np.ndarray, needs: np.ndarray) -> Logprobs:
        """Log-probabilities under the model itself, before penalties, masks and temperature."""
        chosen = np.flatnonzero(needs & Needs.LOGPROBS)
        wanted = self._tensor(chosen)
        distribution = raw[wanted].float().log_softmax(-1)
        counts = [self._params[slot].logprobs or 0 for slot in slots[chosen].tolist()]
        values, ids = distribution.topk(min(max(counts), self.vocab_size), -1)
        of_token = distribution.gather(1, tokens[wanted].unsqueeze(1)).squeeze(1)
        return Logprobs(chosen.tolist(), counts, _to_host(of_token), _to_host(values), _to_host(ids))


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in pinned memory that is complete when the step is; on CPU the tensor itself."""
    if tensor.device.type == "cpu":
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The first index whose cumulated weight exceeds ``uniform`` times the whole; it always has a weight above 0."""
    cumulated = weights.double().cumsum(-1)
    index = torch.searchsorted(cumulated, (uniform * cumulated[:, -1]).unsqueeze(1), right=True).squeeze(1)
    last = cumulated.argmax(-1)  # where the sum first reaches its end: the last index with a weight
    return torch.minimum(index, last)


def _uniform(seeds: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1), float64, of seeds and positions (rows,)."""
    return (_hash(seeds, positions) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _hash(seeds: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """64 random bits from seeds (rows,) uint64 and positions (rows,): splitmix64 of their combination."""
    with np.errstate(over="ignore"):
        x = seeds * np.uint64(0x9E3779B97F4A7C15) + positions.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)
        for _ in range(2):
            x += np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
    return x

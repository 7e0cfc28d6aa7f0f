"""What an attention backend is: it owns the KV buffers, prepares a step once, and serves every layer of the model.

Nothing in the scheduler or the models knows which backend runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..layers.functional import head_norm
from ..layers.rotary import Rotation
from ..models.config import KVGroup


@dataclass(frozen=True)
class StepLayout:
    """Where the tokens of a step stand. Row r computes ``counts[r]`` tokens after ``depths[r]`` earlier ones.

    Rows with one token come first (decodes), then longer ones (prefill chunks); tokens are laid out row after row.

    Attributes:
        depths: (rows,) int64, tokens whose KV is already there.
        counts: (rows,) int64, at least 1.
        pages: (rows, most pages) int32 page table, valid up to each row's length.
    """

    depths: np.ndarray
    counts: np.ndarray
    pages: np.ndarray

    @cached_property
    def rows(self) -> np.ndarray:
        """The row of each token."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def positions(self) -> np.ndarray:
        """The place of each token in its sequence."""
        firsts = np.cumsum(self.counts) - self.counts
        return np.arange(len(self.rows)) + (self.depths - firsts)[self.rows]


@dataclass(frozen=True)
class Heads:
    """What a layer projected: the heads of queries, keys and values before norms and rotation.

    Attributes:
        projected: (tokens, num_q + 2 * num_kv, head_dim), queries first, then keys, then values.
        norm: (num_q + num_kv, head_dim) weights of the norms of queries and keys; None where the family has none.
    """

    projected: torch.Tensor
    num_q: int
    num_kv: int
    norm: torch.Tensor | None
    eps: float
    rotation: Rotation

    def rotated(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values, each (tokens, its heads, head_dim), ready for attention."""
        qk, v = self.projected.split((self.num_q + self.num_kv, self.num_kv), 1)
        if self.norm is not None:
            qk = head_norm(qk, self.norm, self.eps)
        q, k = self.rotation.rotate(qk).split((self.num_q, self.num_kv), 1)
        return q, k, v


Attend = Callable[[int, Heads], torch.Tensor]
"""A layer's attention, as :meth:`AttentionBackend.forward` of a prepared backend."""


class AttentionBackend(ABC):
    """Attention over a paged KV cache for one KV group.

    One step is ``prepare(layout)`` and then ``forward`` once for each layer, in order.
    """

    name = "torch"

    def __init__(self, group: KVGroup, num_pages: int, page_size: int) -> None:
        self.group = group
        self.num_pages = num_pages
        self.page_size = page_size

    @abstractmethod
    def prepare(self, layout: StepLayout) -> None:
        """Do everything about a step that does not depend on the layer."""

    @abstractmethod
    def forward(self, layer: int, heads: Heads) -> torch.Tensor:
        """Write the step's keys and values to the cache and attend; the result is (tokens, heads * head_dim).

        A token attends to all earlier tokens of its row and to itself.
        """

    def settle(self) -> None:  # noqa: B027 (nothing is built aside, unless a backend says so)
        """Wait for what is still being built aside; until then steps may be slower."""

    def renew(self) -> bool:
        """Let what was built aside serve from now on; whether there was anything, so that graphs are out of date."""
        return False

    @abstractmethod
    def copy_pages(self, sources: list[int], targets: list[int]) -> None:
        """Copy whole pages in every layer; all sources are read before any target is written."""

"""Paged attention on CUDA: the cache, where a step's tokens go, and the kernels that write and attend.

The cache is (layers, 2, pages, kv_heads, page_size, head_dim): a head's tokens of one page are contiguous, so a program
that serves one head reads whole lines. Page 0 belongs to nobody: rows that pad a CUDA graph read and write it.

:class:`PagedAttention` attends by our own Triton kernels; :class:`attention.flashinfer.FlashInferAttention` replaces
what FlashInfer does faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..device import upload
from ..models.config import KVGroup
from .base import AttentionBackend, Heads, StepLayout

if TYPE_CHECKING:
    from ..kernels.rotate_store import Copies

MOST_PROMPTS = 16
"""Prefill rows of a captured step."""


@dataclass(frozen=True)
class HostPlan:
    """A step's indices as numpy arrays: decodes first, as in the layout.

    Attributes:
        slots: (tokens,) place of each token in the cache, page * page_size + place in the page.
        lengths: (rows,) tokens to attend to. starts: (rows + 1,) where each row's pages begin. pages: all of them.
        decodes: how many rows are decodes.
        counts: (other rows,) their new tokens.
    """

    slots: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    pages: np.ndarray
    decodes: int
    counts: np.ndarray

    @classmethod
    def of(cls, layout: StepLayout, page_size: int) -> HostPlan:
        counts, positions = layout.counts, layout.positions
        lengths, decodes = layout.depths + counts, int((counts == 1).sum())
        slots = layout.pages[layout.rows, positions // page_size].astype(np.int64) * page_size + positions % page_size
        held = -(-lengths // page_size)
        pages = layout.pages[:, : held.max()][np.arange(held.max()) < held[:, None]]
        starts = np.concatenate(([0], np.cumsum(held)))
        return cls(slots, lengths, starts, pages, decodes, counts[decodes:])


class PagedAttention(AttentionBackend):
    """See the module.

    A step's indices are arrays that are made on the host and given back as tensors, which lie anywhere or, for CUDA
    graphs, always in the same places.

    Args:
        max_rows: most rows of a step.
        max_pages: most pages that the rows of a step hold together.
    """

    name = "triton"

    def __init__(
        self,
        group: KVGroup,
        num_heads: int,
        num_pages: int,
        page_size: int,
        dtype: torch.dtype,
        kv_dtype: torch.dtype,
        device: torch.device,
        *,
        max_rows: int,
        max_pages: int,
    ) -> None:
        super().__init__(group, num_pages, page_size)
        from ..kernels.paged_decode import DecodeWorkspace, block_size, most_stretches

        self.num_heads, self.dtype, self.kv_dtype = num_heads, dtype, kv_dtype
        self.max_pages = max_pages + max_rows
        shape = (group.layers, 2, num_pages + 1, group.kv_heads, page_size, group.head_dim)
        self.cache = torch.empty(shape, dtype=kv_dtype, device=device)
        self.cache[:, :, 0] = 0
        self._device = device
        self._block = block_size(group.head_dim)
        self._most = most_stretches(max_rows, group.kv_heads)
        self._workspace = DecodeWorkspace(
            self._most, group.kv_heads, num_heads // group.kv_heads, group.head_dim, device
        )
        # Of the step that is under way.
        self._stretches: torch.Tensor | None = None
        self._joins: torch.Tensor | None = None
        self._pages = self._slots = torch.empty(0, dtype=torch.int32)
        self._chunks: list[torch.Tensor] | None = None  # what the prefill rows need besides

    @property
    def captures_prompts(self) -> bool:
        """Whether steps with prompts can be captured as graphs, and not only decodes."""
        return True

    # -- a step's indices -----------------------------------------------------------------------------------------

    def prepare(self, layout: StepLayout) -> None:
        plan = HostPlan.of(layout, self.page_size)
        arrays = self.arrays(plan)
        self.use(upload(arrays, self._device), decodes=plan.decodes > 0, prompts=len(plan.counts) > 0)
        self.plan(plan)

    def arrays(self, plan: HostPlan, tokens: int | None = None) -> list[np.ndarray]:
        """A step's indices, as :meth:`use` takes them. tokens: of a captured step with prompts, which this one fits."""
        from ..kernels.paged_decode import FEW_ROWS, into_joins, into_stretches

        decodes, pages = plan.decodes, plan.pages[: plan.starts[plan.decodes]]
        stretches = np.zeros((0, 8), np.int64)
        if decodes:
            rows = plan.lengths[:decodes], plan.starts[:decodes], plan.slots[:decodes]
            stretches = into_stretches(*rows, self.group.kv_heads, self._block)
        if len(plan.counts) or tokens is not None:
            *chunks, more = self._chunk_arrays(plan, tokens)
            return [stretches, plan.slots, *chunks, np.concatenate((pages, more))]
        return [stretches, into_joins(stretches), pages] if decodes <= FEW_ROWS else [stretches, pages]

    def places(self, tokens: int, prompts: bool) -> list[int]:
        """How many numbers each of :meth:`arrays` has at most: of ``tokens`` decodes, or of so many tokens of any."""
        from ..kernels.paged_decode import FEW_ROWS, most_stretches

        if prompts:
            return [8 * self._most, tokens, *self._chunk_places(tokens), self.max_pages]
        joins = [2 * tokens] if tokens <= FEW_ROWS else []
        return [8 * most_stretches(tokens, self.group.kv_heads), *joins, self.max_pages]

    def use(self, arrays: Sequence[torch.Tensor], *, decodes: bool, prompts: bool) -> None:
        """Let :meth:`forward` read these."""
        stretches, *others, self._pages = arrays
        self._stretches = stretches.view(-1, 8) if decodes else None
        self._joins = self._chunks = None
        if prompts:
            self._slots, *self._chunks = others
        elif others:
            self._joins = others[0].view(-1, 2)

    def plan(self, plan: HostPlan, tokens: int | None = None, *, full: bool = False) -> None:
        """For a library that plans a step on the host, when its arrays are under way.

        tokens: as for :meth:`arrays`. full: to capture a graph, for as much of everything as there will ever be in it;
        the largest one is the first.
        """

    def _chunk_arrays(self, plan: HostPlan, tokens: int | None) -> list[np.ndarray]:
        """What the prefill rows need on the device besides, and their pages; for a graph of ``tokens`` tokens."""
        from ..kernels.paged_prefill import BLOCK_Q

        counts, first = plan.counts, plan.decodes
        blocks = -(-counts // BLOCK_Q)
        rows = np.repeat(np.arange(len(counts)), blocks)
        ends = np.cumsum(blocks)
        starts = (np.arange(len(rows)) - (ends - blocks)[rows]) * BLOCK_Q
        # Deep in their rows first: they take longest.
        order = np.argsort(-starts, kind="stable")
        rows, starts = rows[order], starts[order]
        if tokens is not None:
            rows = np.pad(rows, (0, self._chunk_places(tokens)[0] - len(rows)), constant_values=-1)
        queries = np.concatenate(([0], np.cumsum(counts))) + first
        return [rows, starts, queries, plan.starts[first:], plan.lengths[first:], plan.pages[plan.starts[first] :]]

    def _chunk_places(self, tokens: int) -> list[int]:
        from ..kernels.paged_prefill import BLOCK_Q

        blocks, rows = tokens // BLOCK_Q + MOST_PROMPTS, MOST_PROMPTS
        return [blocks, blocks, rows + 1, rows + 1, rows]

    # -- a layer --------------------------------------------------------------------------------------------------

    def forward(self, layer: int, heads: Heads) -> torch.Tensor:
        projected, (keys, values) = heads.projected, self.cache[layer]
        out = projected.new_empty(len(projected), self.num_heads * self.group.head_dim)
        if self._stretches is not None:
            self._attend_decodes(heads, keys, values, self._stretches, out)
        if self._chunks is not None:
            self._attend_chunks(heads, keys, values, out)
        return out

    def _attend_decodes(
        self, heads: Heads, keys: torch.Tensor, values: torch.Tensor, stretches: torch.Tensor, out: torch.Tensor
    ) -> None:
        from ..kernels.paged_decode import paged_decode

        rotation = heads.rotation
        paged_decode(
            heads.projected, heads.norm, heads.eps, rotation.cos, rotation.sin, keys, values, stretches, self._pages,
            self._workspace, out, self._joins,
        )  # fmt: skip

    def _store_chunks(
        self, heads: Heads, keys: torch.Tensor, values: torch.Tensor, copies: Copies | None = None
    ) -> torch.Tensor:
        """All tokens' queries, ready for attention; their keys and values are in the cache."""
        from ..kernels.rotate_store import rotate_store

        rotation = heads.rotation
        return rotate_store(
            heads.projected, heads.norm, heads.eps, rotation.cos, rotation.sin, rotation.positions, self._slots, keys,
            values, heads.num_q, copies=copies,
        )  # fmt: skip

    def _attend_chunks(self, heads: Heads, keys: torch.Tensor, values: torch.Tensor, out: torch.Tensor) -> None:
        """The prefill rows' part of ``out``."""
        from ..kernels.paged_prefill import paged_prefill

        assert self._chunks is not None
        q = self._store_chunks(heads, keys, values)
        block_rows, block_starts, query_starts, page_starts, lengths = self._chunks
        paged_prefill(
            q, keys, values, block_rows, block_starts, query_starts, page_starts, self._pages, lengths, out
        )  # fmt: skip

    def copy_pages(self, sources: list[int], targets: list[int]) -> None:
        source, target = upload([np.array(sources), np.array(targets)], self._device)
        self.cache[:, :, target.long()] = self.cache[:, :, source.long()]

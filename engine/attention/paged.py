"""Paged attention on CUDA: the cache, where a step's tokens go, and the kernels that write and attend.

The cache is (layers, 2, pages, kv_heads, page_size, head_dim): a head's tokens of one page are contiguous, so a program
that serves one head reads whole lines. Page 0 belongs to nobody: rows that pad a CUDA graph read and write it.

:class:`PagedAttention` attends by our own Triton kernels; :class:`attention.flashinfer.FlashInferAttention` replaces
what FlashInfer does faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..device import upload, upload_into
from ..models.config import KVGroup
from .base import AttentionBackend, Heads, StepLayout

_PROGRAMS = 1024  # that a decode is split into about, so that every multiprocessor has several
_ALONE = 1 / 140  # of the memory's bandwidth is what a single program draws
_MOST_SPLITS = 64
_STRETCH = 16384  # tokens that a program reads while a layer is launched without its graph


@dataclass(frozen=True)
class HostPlan:
    """A step's indices as numpy arrays: decodes first, as in the layout.

    Attributes:
        slots: (tokens,) place of each token in the cache, page * page_size + place in the page.
        lengths: (rows,) tokens to attend to. starts: (rows + 1,) where each row's pages begin. pages: all of them.
        decodes: how many rows are decodes.
    """

    slots: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    pages: np.ndarray
    decodes: int

    @classmethod
    def of(cls, layout: StepLayout, page_size: int) -> HostPlan:
        depths, counts = layout.depths, layout.counts
        lengths = depths + counts
        ends = np.cumsum(counts)
        rows = np.repeat(np.arange(len(counts)), counts)
        positions = np.arange(ends[-1]) - (ends - counts)[rows] + depths[rows]
        slots = layout.pages[rows, positions // page_size].astype(np.int64) * page_size + positions % page_size
        held = -(-lengths // page_size)
        pages = layout.pages[:, : held.max()][np.arange(held.max()) < held[:, None]]
        starts = np.concatenate(([0], np.cumsum(held)))
        return cls(slots, lengths, starts, pages, int((counts == 1).sum()))

    def padded(self, rows: int) -> HostPlan:
        """With more decodes, of one token each in page 0."""
        more = rows - len(self.lengths)
        if not more:
            return self
        zeros = np.zeros(more, np.int64)
        starts = np.concatenate((self.starts, self.starts[-1] + np.arange(1, more + 1)))
        return HostPlan(
            np.concatenate((self.slots, zeros)), np.concatenate((self.lengths, zeros + 1)), starts,
            np.concatenate((self.pages, zeros)), rows,
        )  # fmt: skip


class PagedAttention(AttentionBackend):
    """See the module.

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
        from ..kernels.paged_decode import DecodeWorkspace

        self.num_heads, self.dtype, self.kv_dtype = num_heads, dtype, kv_dtype
        shape = (group.layers, 2, num_pages + 1, group.kv_heads, page_size, group.head_dim)
        self.cache = torch.empty(shape, dtype=kv_dtype, device=device)
        self.cache[:, :, 0] = 0
        self._device = device
        self._workspace = DecodeWorkspace(
            2 * _PROGRAMS * group.kv_heads, num_heads // group.kv_heads, group.head_dim, device
        )
        # Fixed places for CUDA graphs: slots, lengths, starts, pages.
        sizes = (max_rows, max_rows, max_rows + 1, max_pages + max_rows)
        self._fixed = torch.zeros(sum(sizes), dtype=torch.int32, device=device)
        self._places = self._fixed.split(sizes)
        self._decodes = self._prefills = 0  # rows
        self._splits = 1
        self._chunks: list[torch.Tensor] = []  # what the prefill rows need besides
        self._slots = self._lengths = self._starts = self._pages = torch.empty(0, dtype=torch.int32)

    def prepare(self, layout: StepLayout) -> None:
        plan = HostPlan.of(layout, self.page_size)
        arrays = [plan.slots, plan.lengths, plan.starts, plan.pages]
        self._decodes = plan.decodes
        self._splits = self._splits_for(plan.lengths[: plan.decodes]) if plan.decodes else 1
        counts = layout.counts[plan.decodes :]
        self._prefills = len(counts)
        arrays += self._chunk_arrays(plan, counts) if len(counts) else []
        self._slots, self._lengths, self._starts, self._pages, *self._chunks = upload(arrays, self._device)
        if len(counts):
            self.plan(plan, counts)

    def prepare_fixed(self, layout: StepLayout, rows: int) -> None:
        """For a graph of ``rows`` decodes: the same at fixed addresses. The layout has no prefill chunks."""
        plan = HostPlan.of(layout, self.page_size).padded(rows)
        upload_into([plan.slots, plan.lengths, plan.starts, plan.pages], self._places, self._fixed)
        self.use_fixed(rows)

    def fits_fixed(self, layout: StepLayout, rows: int) -> bool:
        """Whether :meth:`prepare_fixed` suits these decodes: none makes the others wait longer than launching would."""
        splits = self._even_splits(rows)
        return layout.depths.max() <= splits * _STRETCH or self._fair_splits(layout.depths) <= splits

    def use_fixed(self, rows: int) -> None:
        """Let :meth:`forward` read the fixed places, as captured graphs do."""
        slots, lengths, starts, pages = self._places
        self._slots, self._lengths, self._starts, self._pages = slots[:rows], lengths[:rows], starts[: rows + 1], pages
        self._decodes, self._splits, self._prefills = rows, self._even_splits(rows), 0

    def plan(self, plan: HostPlan, counts: np.ndarray) -> None:
        """For a library that plans a step on the host: ``counts`` are the new tokens of the prefill rows."""

    def _even_splits(self, rows: int) -> int:
        """How many programs share a row and head when all rows are about as long."""
        return min(_MOST_SPLITS, max(1, round(_PROGRAMS / (rows * self.group.kv_heads))))

    def _splits_for(self, lengths: np.ndarray) -> int:
        """The same for rows of these lengths, within the workspace."""
        room = self._workspace.programs // (len(lengths) * self.group.kv_heads)
        return min(max(self._even_splits(len(lengths)), self._fair_splits(lengths)), max(1, room))

    def _fair_splits(self, lengths: np.ndarray) -> int:
        """How many programs let the longest row end about when the others do."""
        return round(lengths.max() / (_ALONE * max(1, lengths.sum()) * self.group.kv_heads))

    def _chunk_arrays(self, plan: HostPlan, counts: np.ndarray) -> list[np.ndarray]:
        """What the prefill rows need on the device besides; they are given to ``attend_chunks`` in ``_chunks``."""
        from ..kernels.paged_prefill import BLOCK_Q

        blocks = -(-counts // BLOCK_Q)
        rows = np.repeat(np.arange(len(counts)), blocks)
        ends = np.cumsum(blocks)
        starts = (np.arange(ends[-1]) - (ends - blocks)[rows]) * BLOCK_Q
        # Deep in their rows first: they take longest.
        order = np.argsort(-starts, kind="stable")
        return [rows[order], starts[order], np.concatenate(([0], np.cumsum(counts)))]

    def forward(self, layer: int, heads: Heads) -> torch.Tensor:
        projected = heads.projected
        out = projected.new_empty(len(projected), self.num_heads * self.group.head_dim)
        self.attend(layer, heads, out)
        return out

    def attend(self, layer: int, heads: Heads, out: torch.Tensor) -> None:
        """:meth:`forward` into ``out``."""
        keys, values = self.cache[layer]
        decodes = self._decodes
        if decodes:
            self._attend_decodes(heads, keys, values, out[:decodes])
        if self._prefills:
            self.attend_chunks(self._store_chunks(heads, keys, values), keys, values, out[decodes:])

    def _attend_decodes(self, heads: Heads, keys: torch.Tensor, values: torch.Tensor, out: torch.Tensor) -> None:
        from ..kernels.paged_decode import paged_decode

        rotation = heads.rotation
        paged_decode(
            heads.projected[: len(out)], heads.norm, heads.eps, rotation.cos, rotation.sin, self._slots, keys, values,
            self._starts, self._pages, self._lengths, self._splits, self._workspace, out,
        )  # fmt: skip

    def _store_chunks(self, heads: Heads, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Queries of the prefill rows, ready for attention; their keys and values are in the cache."""
        from ..kernels.rotate_store import rotate_store

        rotation, first = heads.rotation, self._decodes
        return rotate_store(
            heads.projected[first:], heads.norm, heads.eps, rotation.cos, rotation.sin, rotation.positions[first:],
            self._slots[first:], keys, values, heads.num_q,
        )  # fmt: skip

    def attend_chunks(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, out: torch.Tensor) -> None:
        """The prefill rows' part of ``out``. q: (their tokens, heads, head_dim)."""
        from ..kernels.paged_prefill import paged_prefill

        block_rows, block_starts, query_starts = self._chunks
        decodes = self._decodes
        paged_prefill(
            q, keys, values, block_rows, block_starts, query_starts, self._starts[decodes:],
            self._pages, self._lengths[decodes:], out,
        )  # fmt: skip

    def copy_pages(self, sources: list[int], targets: list[int]) -> None:
        source, target = upload([np.array(sources), np.array(targets)], self._device)
        self.cache[:, :, target.long()] = self.cache[:, :, source.long()]

"""Paged attention with plain torch operators: the CPU's backend and the reference for all others.

The buffer of a layer is (2, kv_heads, pages, page_size, head_dim): keys and values of a sequence are gathered by one
``index_select`` over pages, and each head's tokens come out contiguous, as scaled_dot_product_attention likes them.
Decodes of similar length are padded to one batch; where a single sequence lies in consecutive pages nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..models.config import KVGroup
from .base import AttentionBackend, Heads, StepLayout

_PADDING_LIMIT = 1.3  # a batch of decodes is cut where padding would cost more than this factor
_PADDING_FREE = 64  # tokens of padding per sequence that cost less than a further batch


@dataclass(frozen=True)
class _Decodes:
    """Decode rows that attend together. ``rows`` is a slice or an index tensor of the step's tokens."""

    rows: slice | torch.Tensor
    size: int
    length: int  # longest, in tokens
    pages: torch.Tensor | None  # (size * pages of the longest,) or None: consecutive from first_page
    first_page: int
    mask: torch.Tensor | None  # (size, 1, 1, padded length), additive


@dataclass(frozen=True)
class _Chunk:
    """One prefill row: its tokens ``start:stop`` of the step after ``depth`` earlier ones."""

    start: int
    stop: int
    length: int  # depth + tokens
    pages: torch.Tensor | None
    first_page: int
    mask: torch.Tensor | None  # (tokens, length) bool, None: plain causal


class TorchAttention(AttentionBackend):
    """See the module. Works on any device that torch has."""

    def __init__(
        self, group: KVGroup, num_pages: int, page_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(group, num_pages, page_size)
        shape = (2, group.kv_heads, num_pages + 1, page_size, group.head_dim)  # page 0 is the padding's
        # Filled rather than made as zeros, which would take memory only page by page while serving.
        self._layers = [torch.empty(shape, dtype=dtype, device=device).fill_(0) for _ in range(group.layers)]
        flat = [buffer.view(2, group.kv_heads, -1, group.head_dim) for buffer in self._layers]
        self._flat = flat  # (2, kv_heads, slots, head_dim)
        self._by_slot = [
            tuple(both.transpose(1, 2).unbind(0)) for both in flat
        ]  # keys, values: (slots, kv_heads, head_dim)
        self._device = device
        self._dtype = dtype
        self._slots = torch.empty(0, dtype=torch.int64)
        self._decodes: list[_Decodes] = []
        self._chunks: list[_Chunk] = []

    def prepare(self, layout: StepLayout) -> None:
        size, depths, counts = self.page_size, layout.depths, layout.counts
        starts = np.concatenate(([0], np.cumsum(counts)))
        rows = np.repeat(np.arange(len(counts)), counts)
        positions = np.arange(starts[-1]) - starts[rows] + depths[rows]
        slots = layout.pages[rows, positions // size].astype(np.int64) * size + positions % size
        self._slots = torch.from_numpy(slots).to(self._device)
        num_decodes = int((counts == 1).sum())
        self._decodes = list(self._group_decodes(depths[:num_decodes] + 1, layout.pages))
        self._chunks = [
            self._chunk(int(starts[row]), int(starts[row + 1]), int(depths[row]), layout.pages[row])
            for row in range(num_decodes, len(counts))
        ]

    def _group_decodes(self, lengths: np.ndarray, table: np.ndarray) -> list[_Decodes]:
        """Cut the decode rows, longest first, into batches whose padding stays small."""
        order = np.argsort(-lengths, kind="stable")
        groups: list[_Decodes] = []
        begin = 0
        while begin < len(order):
            longest = int(lengths[order[begin]])
            shortest = min(longest / _PADDING_LIMIT, longest - _PADDING_FREE)
            end = begin + int(np.searchsorted(-lengths[order[begin:]], -shortest, side="right"))
            rows = np.sort(order[begin:end])
            groups.append(self._decode_group(rows, lengths[rows], longest, table))
            begin = end
        return groups

    def _decode_group(self, rows: np.ndarray, lengths: np.ndarray, longest: int, table: np.ndarray) -> _Decodes:
        width = -(-longest // self.page_size)
        together = int(rows[-1]) - int(rows[0]) + 1 == len(rows)
        where = slice(int(rows[0]), int(rows[-1]) + 1) if together else torch.from_numpy(rows).to(self._device)
        if len(rows) == 1:
            pages, first = self._gather(table[rows[0], :width])
            return _Decodes(where, 1, longest, pages, first, None)
        taken = np.arange(width) * self.page_size < lengths[:, None]
        pages = torch.from_numpy(np.where(taken, table[rows, :width], 0).reshape(-1)).to(self._device)
        mask = None
        if int(lengths.min()) < width * self.page_size:
            hidden = np.arange(width * self.page_size) >= lengths[:, None]
            mask = torch.zeros(hidden.shape, dtype=self._dtype).masked_fill_(torch.from_numpy(hidden), -torch.inf)
            mask = mask[:, None, None].to(self._device)
        return _Decodes(where, len(rows), longest, pages, 0, mask)

    def _chunk(self, start: int, stop: int, depth: int, table: np.ndarray) -> _Chunk:
        length = depth + stop - start
        pages, first = self._gather(table[: -(-length // self.page_size)])
        mask = None
        if depth:
            mask = torch.ones(stop - start, length, dtype=torch.bool, device=self._device).tril_(depth)
        return _Chunk(start, stop, length, pages, first, mask)

    def _gather(self, pages: np.ndarray) -> tuple[torch.Tensor | None, int]:
        """What to select for one sequence: nothing but the first page where its pages are consecutive."""
        if bool((np.diff(pages) == 1).all()):
            return None, int(pages[0])
        return torch.from_numpy(np.ascontiguousarray(pages)).to(self._device), 0

    def forward(self, layer: int, heads: Heads) -> torch.Tensor:
        q, k, v = heads.rotated()
        buffer = self._layers[layer]
        flat = self._flat[layer]
        for target, source in zip(self._by_slot[layer], (k, v), strict=True):
            target.index_copy_(0, self._slots, source)
        if len(self._decodes) == 1 and not self._chunks:
            return self._attend_decodes(self._decodes[0], buffer, flat, q)
        out = torch.empty(q.shape[0], q.shape[1] * q.shape[2], dtype=q.dtype, device=q.device)
        for group in self._decodes:
            out[group.rows] = self._attend_decodes(group, buffer, flat, q[group.rows])
        for chunk in self._chunks:
            keys, values = self._one_sequence(chunk.pages, chunk.first_page, chunk.length, buffer, flat)
            attended = F.scaled_dot_product_attention(
                q[chunk.start : chunk.stop].transpose(0, 1).unsqueeze(0),
                keys,
                values,
                attn_mask=chunk.mask,
                is_causal=chunk.mask is None,
                enable_gqa=True,
            )
            out[chunk.start : chunk.stop] = attended[0].transpose(0, 1).flatten(1)
        return out

    def _attend_decodes(
        self, group: _Decodes, buffer: torch.Tensor, flat: torch.Tensor, q: torch.Tensor
    ) -> torch.Tensor:
        """q (size, heads, head_dim) -> (size, heads * head_dim)."""
        if group.size == 1:
            keys, values = self._one_sequence(group.pages, group.first_page, group.length, buffer, flat)
        else:
            assert group.pages is not None
            _, heads, _, _, dim = buffer.shape
            gathered = buffer.index_select(2, group.pages).view(2, heads, group.size, -1, dim).transpose(1, 2)
            keys, values = gathered[0], gathered[1]
        return _attend_last(q, keys, values, group.mask)

    def _one_sequence(
        self, pages: torch.Tensor | None, first_page: int, length: int, buffer: torch.Tensor, flat: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, each (1, kv_heads, length, head_dim)."""
        if pages is None:
            start = first_page * self.page_size
            both = flat[:, :, start : start + length]
        else:
            both = buffer.index_select(2, pages).flatten(2, 3)[:, :, :length]
        return both[0].unsqueeze(0), both[1].unsqueeze(0)

    def copy_pages(self, sources: list[int], targets: list[int]) -> None:
        source = torch.tensor(sources, device=self._device)
        target = torch.tensor(targets, device=self._device)
        for buffer in self._layers:
            buffer.index_copy_(2, target, buffer.index_select(2, source))


def _attend_last(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention of one query each: q (size, heads, dim), keys and values (size, kv_heads, length, dim).

    In bf16 torch's fused CPU kernel takes nine times as long for single queries as two plain products.
    """
    if q.dtype == torch.float32:
        attended = F.scaled_dot_product_attention(q.unsqueeze(2), keys, values, attn_mask=mask, enable_gqa=True)
        return attended.view(q.shape[0], -1)
    size, heads, dim = q.shape
    grouped = (q * dim**-0.5).view(size, keys.shape[1], -1, dim)
    scores = torch.matmul(grouped, keys.transpose(2, 3)).float()
    if mask is not None:
        scores += mask
    return torch.matmul(scores.softmax(-1).to(q.dtype), values).view(size, heads * dim)

"""Decodes as CUDA graphs: one launch for a whole step, for a range of batch sizes.

A graph reads its inputs at fixed addresses: the request slots and positions here, what attention needs in its own fixed
places. A step is padded to the next captured size with rows that read and write page 0 and the spare slot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..attention.base import StepLayout
from ..attention.paged import PagedAttention
from ..device import borrowed, upload, upload_into
from ..models.decoder import Decoder
from .step import ON_DEVICE, Step

_WARM_UPS = 2  # runs before a capture: libraries allocate and choose kernels in the first ones


def graph_sizes(most: int) -> list[int]:
    """Batch sizes to capture up to ``most``: every eighth, and finer where small batches make the step."""
    sizes = [1, 2, 3, 4, 6, 8, 12, 16, *range(24, most, 8), most]
    return sorted({size for size in sizes if size <= most})


class DecodeGraphs:
    """Captured decodes.

    Args:
        newest: (slots + 1,) int64, the newest token of each slot; the last one pads.
        sizes: batch sizes to capture.
        captured: called after each.
    """

    def __init__(
        self,
        model: Decoder,
        attention: PagedAttention,
        newest: torch.Tensor,
        sizes: Sequence[int],
        captured: Callable[[], None],
    ) -> None:
        self._model, self._attention, self._newest = model, attention, newest
        self._sizes = sorted(sizes)
        most = self._sizes[-1]
        self._fixed = torch.zeros(2 * most, dtype=torch.int32, device=newest.device)
        self._places = self._fixed.split(most)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        pool = torch.cuda.graph_pool_handle()
        for size in reversed(self._sizes):  # the largest first: the others fit into its memory
            self._graphs[size] = self._capture(size, pool)
            captured()

    @torch.inference_mode()
    def _capture(self, size: int, pool: Any) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        nothing = np.zeros(size, np.int64)
        self._attention.prepare_fixed(StepLayout(nothing, nothing + 1, np.zeros((size, 1), np.int32)), size)
        self._fill(nothing + len(self._newest) - 1, nothing)
        for _ in range(_WARM_UPS):
            self._decode(size)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            logits = self._decode(size)
        return graph, borrowed(logits)

    def _decode(self, size: int) -> torch.Tensor:
        slots, positions = (place[:size] for place in self._places)
        return self._model(self._newest[slots], positions, None, self._attention.forward)

    def _fill(self, slots: np.ndarray, positions: np.ndarray) -> None:
        upload_into([slots, positions], self._places, self._fixed)

    def fits(self, layout: StepLayout) -> bool:
        """Whether a step is nothing but decodes, not too many, and none far longer than the others."""
        rows = len(layout.counts)
        if rows > self._sizes[-1] or not (layout.counts == 1).all():
            return False
        return self._attention.fits_fixed(layout, self._size(rows))

    def _size(self, rows: int) -> int:
        return self._sizes[bisect_left(self._sizes, rows)]

    def run(self, step: Step) -> torch.Tensor:
        """Logits of the sampling rows, valid until the next step."""
        rows = len(step.slots)
        size = self._size(rows)
        known = np.flatnonzero(step.ids != ON_DEVICE)  # last tokens of prompts
        if len(known):
            slots, ids = upload([step.slots[known], step.ids[known]], self._newest.device)
            self._newest[slots] = ids.long()
        spare = np.full(size - rows, len(self._newest) - 1)
        self._fill(np.concatenate((step.slots, spare)), np.concatenate((step.layout.depths, spare * 0)))
        self._attention.prepare_fixed(step.layout, size)
        graph, logits = self._graphs[size]
        graph.replay()
        if len(step.sampling) < rows:  # parts of prompts
            (wanted,) = upload([step.sampling], self._newest.device)
            return logits[wanted]
        return logits[:rows]

"""Prefill chunks and, where it is the faster one, decodes by FlashInfer (arXiv:2501.01005)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .paged import HostPlan, PagedAttention

_WORKSPACE = 128 * 2**20


class FlashInferAttention(PagedAttention):
    """See the module. ``prefill`` is FlashInfer's kernel family: fa2 or fa3."""

    name = "flashinfer"

    def __init__(self, *args: Any, prefill: str, **options: Any) -> None:
        super().__init__(*args, **options)
        from flashinfer.prefill import (  # pyright: ignore[reportMissingImports] (an extra)
            BatchPrefillWithPagedKVCacheWrapper,
        )

        workspace = torch.zeros(_WORKSPACE, dtype=torch.uint8, device=self._device)
        # Two, in turn: while a step runs, the next one's plan may not overwrite what its copy still reads.
        self._wrappers = [BatchPrefillWithPagedKVCacheWrapper(workspace, "HND", backend=prefill) for _ in range(2)]
        self._copied = [torch.cuda.Event() for _ in self._wrappers]

    def plan(self, plan: HostPlan, counts: np.ndarray) -> None:
        if not len(counts):
            return
        self._wrappers.reverse()
        self._copied.reverse()
        self._copied[0].synchronize()
        first = plan.decodes
        starts = plan.starts[first:] - plan.starts[first]
        last = (plan.lengths[first:] - 1) % self.page_size + 1
        group = self.group
        self._wrappers[0].plan(
            _host(np.concatenate(([0], np.cumsum(counts)))),
            _host(starts),
            self._pages[int(plan.starts[first]) :],
            _host(last),
            self.num_heads,
            group.kv_heads,
            group.head_dim,
            self.page_size,
            causal=True,
            q_data_type=self.dtype,
            kv_data_type=self.kv_dtype,
        )
        self._copied[0].record()

    def attend_chunks(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return self._wrappers[0].run(q, (keys, values)).flatten(1)

    def _chunk_arrays(self, counts: np.ndarray) -> list[np.ndarray]:
        return [np.zeros(1)] * 3 if len(counts) else []  # FlashInfer's plan takes their place


def _host(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int32))

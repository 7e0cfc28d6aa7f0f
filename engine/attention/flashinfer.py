"""Prefill chunks by FlashInfer (arXiv:2501.01005). While its module is being built, our own kernel serves."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import torch

from .cut import Cut, cut
from .paged import HostPlan, PagedAttention

log = logging.getLogger(__name__)

_WORKSPACE = 128 * 2**20
_LOADED = 5.0  # seconds in which a module that was built before is loaded


class FlashInferAttention(PagedAttention):
    """See the module. ``prefill`` is FlashInfer's kernel family: fa2 or fa3."""

    name = "flashinfer"

    def __init__(self, *args: Any, prefill: str, **options: Any) -> None:
        super().__init__(*args, **options)
        dim = self.group.head_dim
        self._build = ModuleBuild(prefill, self.dtype, self.kv_dtype, dim)
        workspace = torch.zeros(_WORKSPACE, dtype=torch.uint8, device=self._device)
        from flashinfer.prefill import (  # pyright: ignore[reportMissingImports] (an extra)
            BatchPrefillWithPagedKVCacheWrapper,
        )

        def wrapper() -> Any:
            return BatchPrefillWithPagedKVCacheWrapper(workspace, "HND", backend=prefill)

        # Two, in turn: while a step runs, the next one's plan may not overwrite what its copy still reads. Of each two
        # more, the second is for what is cut off.
        self._wrappers = [(wrapper(), wrapper()) for _ in range(2)]
        self._copied = [torch.cuda.Event() for _ in self._wrappers]
        # By the step that is being prepared: whether FlashInfer serves it, and how its chunks are cut. fa2 cuts itself.
        self._used = False
        self._cut: Cut | None = None
        self._results: list[torch.Tensor] = []  # of the cut step's parts: logarithms, then the segments'
        self._processors = (
            torch.cuda.get_device_properties(self._device).multi_processor_count if prefill == "fa3" else 0
        )
        self._build.wait(_LOADED)

    def settle(self) -> None:
        self._build.wait()

    def _chunk_arrays(self, plan: HostPlan, counts: np.ndarray) -> list[np.ndarray]:
        self._used, self._cut, self._results = self._build.done, None, []
        if not self._used:
            return super()._chunk_arrays(plan, counts)
        if self._processors:
            self._cut = cut(plan, counts, self.page_size, self.num_heads, self._processors)
        return self._cut.arrays if self._cut else []

    def plan(self, plan: HostPlan, counts: np.ndarray) -> None:
        if not self._used:
            return
        self._wrappers.reverse()
        self._copied.reverse()
        self._copied[0].synchronize()
        wrapper, other = self._wrappers[0]
        segments, first = self._cut, plan.decodes
        if segments is None:
            held = np.diff(plan.starts[first:])
            pages = self._pages[int(plan.starts[first]) :]
            self._plan(wrapper, counts, held, pages, plan.lengths[first:], causal=True)
        else:
            pages, own_pages, *_ = self._chunks
            self._plan(wrapper, counts, segments.own_held, own_pages, segments.own_lengths, causal=True)
            lengths = segments.held * self.page_size
            self._plan(other, segments.counts, segments.held, pages, lengths, causal=False)
        self._copied[0].record()

    def _plan(
        self, wrapper: Any, counts: np.ndarray, held: np.ndarray, pages: torch.Tensor, lengths: np.ndarray, causal: bool
    ) -> None:
        """Rows of ``counts`` queries and ``lengths`` keys, which are in ``held`` of the ``pages`` each."""
        group = self.group
        wrapper.plan(
            _bounds(counts),
            _bounds(held),
            pages,
            _host((lengths - 1) % self.page_size + 1),
            self.num_heads,
            group.kv_heads,
            group.head_dim,
            self.page_size,
            causal=causal,
            q_data_type=self.dtype,
            kv_data_type=self.kv_dtype,
        )

    def attend_chunks(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, out: torch.Tensor) -> None:
        if not self._used:
            super().attend_chunks(q, keys, values, out)
            return
        (wrapper, other), out, cache = self._wrappers[0], out.view(q.shape), (keys, values)
        if self._cut is None:
            wrapper.run(q, cache, out=out)
            return
        from ..kernels.merge import merge

        _, _, queries, *places = self._chunks
        copies = q[queries]
        if not self._results:  # room for all layers
            logs = (q.new_empty(x.shape[:2], dtype=torch.float32) for x in (q, copies))
            self._results = [*logs, torch.empty_like(copies)]
        log, part_logs, parts = self._results
        wrapper.run(q, cache, out=out, lse=log, return_lse=True)
        other.run(copies, cache, out=parts, lse=part_logs, return_lse=True)
        merge(out, log, parts, part_logs, *places)


class ModuleBuild:
    """FlashInfer's prefill module, compiled by nvcc in a thread (a minute; seconds when it was compiled before)."""

    def __init__(self, family: str, dtype: torch.dtype, kv_dtype: torch.dtype, head_dim: int) -> None:
        self.done = False
        # As the wrapper's plan() will ask for it.
        module = (dtype, kv_dtype, dtype, torch.int32, head_dim, head_dim, 0, False, False, False)
        self._thread = threading.Thread(target=self._run, args=(family, module), daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Until it is there, could not be built, or ``seconds`` have passed."""
        self._thread.join(seconds)

    def _run(self, family: str, module: tuple[Any, ...]) -> None:
        try:
            from flashinfer.prefill import get_batch_prefill_module  # pyright: ignore[reportMissingImports]

            get_batch_prefill_module(family, *module)
            self.done = True
        except Exception as error:  # no compiler, no disk, ...
            log.warning("FlashInfer's prefill could not be built; our own kernel goes on serving: %s", error)


def _host(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int32))


def _bounds(lengths: np.ndarray) -> torch.Tensor:
    return _host(np.concatenate(([0], np.cumsum(lengths))))

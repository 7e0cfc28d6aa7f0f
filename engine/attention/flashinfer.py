"""Prefill chunks by FlashInfer (arXiv:2501.01005). While its module is being built, our own kernel serves."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import torch

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

        # Two, in turn: while a step runs, the next one's plan may not overwrite what its copy still reads.
        self._wrappers = [BatchPrefillWithPagedKVCacheWrapper(workspace, "HND", backend=prefill) for _ in range(2)]
        self._copied = [torch.cuda.Event() for _ in self._wrappers]
        self._used = False  # by the step that is being prepared
        self._build.wait(_LOADED)

    def settle(self) -> None:
        self._build.wait()

    def _chunk_arrays(self, counts: np.ndarray) -> list[np.ndarray]:
        self._used = self._build.done
        if not self._used:
            return super()._chunk_arrays(counts)
        return [np.zeros(1)] * 3 if len(counts) else []  # FlashInfer's plan takes their place

    def plan(self, plan: HostPlan, counts: np.ndarray) -> None:
        if not self._used or not len(counts):
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
        if not self._used:
            return super().attend_chunks(q, keys, values)
        return self._wrappers[0].run(q, (keys, values)).flatten(1)


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

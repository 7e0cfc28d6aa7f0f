"""Prefill chunks by FlashInfer (arXiv:2501.01005). While its module is being built, our own kernel serves."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .base import Heads
from .cut import Cut, cut, most_copies, most_segments
from .paged import MOST_PROMPTS, HostPlan, PagedAttention

log = logging.getLogger(__name__)

_WORKSPACE = 128 * 2**20  # bytes; fa2 takes more where it cuts prompts into as many tiles as may run at once
_FA2_TILES, _FA2_QUERIES = 2, 128  # a multiprocessor, a tile
_LOADED = 5.0  # seconds in which a module that was built before is loaded


class FlashInferAttention(PagedAttention):
    """See the module. ``prefill`` is FlashInfer's kernel family: fa2 or fa3."""

    name = "flashinfer"

    def __init__(self, *args: Any, prefill: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._family = prefill
        self._build = ModuleBuild(prefill, self.dtype, self.kv_dtype, self.group.head_dim)
        processors = torch.cuda.get_device_properties(self._device).multi_processor_count
        self._processors = processors if prefill == "fa3" else 0  # fa2 cuts by itself
        workspace = _WORKSPACE
        if prefill == "fa2":
            heads, of_query = self.num_heads // self.group.kv_heads, (self.group.head_dim + 1) * 4
            workspace = max(workspace, _FA2_TILES * processors * heads * _FA2_QUERIES * of_query)
        self._workspace_bytes = torch.zeros(workspace, dtype=torch.uint8, device=self._device)
        self._eager = self._running = self._parts()
        self._fixed: tuple[_Part, _Part] | None = None  # for graphs
        self._copied = torch.cuda.Event()
        self._cut: Cut | None = None  # of the step that is being prepared
        self._copies = 0  # queries of its segments
        self._skipped = 0  # queries in front, which fa2 must not see
        self._build.wait(_LOADED)
        self._serving = self._build.done

    @property
    def captures_prompts(self) -> bool:
        return not self._serving or self._processors > 0  # fa2's kernels depend on how a step is planned

    # -- the module -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        self._build.wait()

    def renew(self) -> bool:
        changed, self._serving = self._serving != self._build.done, self._build.done
        return changed

    # -- a step's indices -----------------------------------------------------------------------------------------

    def _chunk_arrays(self, plan: HostPlan, tokens: int | None) -> list[np.ndarray]:
        if not self._serving:
            return super()._chunk_arrays(plan, tokens)
        self._cut, first = None, plan.decodes
        if self._processors and len(plan.counts):
            self._cut = cut(plan, self.page_size, self.num_heads, self._processors)
        if tokens is not None:
            self._copies = most_copies(tokens, self.num_heads, self._processors)
        elif self._cut is not None:
            self._copies = int(self._cut.counts.sum())
        if self._cut is None:
            nothing = [np.zeros(0, np.int64)] * 3
            return [*(nothing if tokens is not None else []), plan.pages[plan.starts[first] :]]
        places = (np.pad(array, (first, 0)) for array in (self._cut.places, self._cut.strides, self._cut.numbers))
        return [*places, np.concatenate((self._cut.pages, self._cut.own_pages))]

    def _chunk_places(self, tokens: int) -> list[int]:
        if not self._serving:
            return super()._chunk_places(tokens)
        return [tokens] * 3

    def plan(self, plan: HostPlan, tokens: int | None = None, *, full: bool = False) -> None:
        if not self._serving or (tokens is None and not len(plan.counts)):
            return
        self._copied.synchronize()  # what the last plan's copy read is overwritten now
        if tokens is None:
            self._running = self._eager
        else:
            self._fixed = self._running = self._fixed or self._parts(MOST_PROMPTS)
        own, segments = self._running
        cut, counts, lengths = self._cut, plan.counts, plan.lengths[plan.decodes :]
        begin, held = int(plan.starts[plan.decodes]), np.diff(plan.starts[plan.decodes :])
        pages = self._pages[: plan.starts[-1]]
        if cut is not None:
            self._plan(segments, cut.counts, cut.held, cut.held * self.page_size, pages, 0, begin, causal=False)
            begin, held, lengths = begin + len(cut.pages), cut.own_held, cut.own_lengths
        elif tokens is not None:
            queries = np.array([self._copies] if full else [], np.int64)
            one = np.ones_like(queries)
            self._plan(segments, queries, one, one, pages, 0, begin, causal=False)
        self._skipped = 0 if self._processors else plan.decodes
        self._plan(own, counts, held, lengths, pages, plan.decodes - self._skipped, begin, causal=True)
        self._copied.record()

    def _plan(
        self,
        part: _Part,
        counts: np.ndarray,
        held: np.ndarray,
        lengths: np.ndarray,
        pages: torch.Tensor,
        first: int,
        begin: int,
        causal: bool,
    ) -> None:
        """Rows of ``counts`` queries, from ``first`` on, and ``lengths`` keys in ``held`` pages, from ``begin`` on."""
        group, more = self.group, max(0, part.rows - len(counts))
        part.wrapper.plan(
            _bounds(first, counts, more),
            _bounds(begin, held, more),
            pages,
            _host(np.pad((lengths - 1) % self.page_size + 1, (0, more), constant_values=self.page_size)),
            self.num_heads,
            group.kv_heads,
            group.head_dim,
            self.page_size,
            causal=causal,
            q_data_type=self.dtype,
            kv_data_type=self.kv_dtype,
            max_token_per_sequence=int(counts.max(initial=0)),  # else it is found slowly
        )

    def _parts(self, rows: int = 0) -> tuple[_Part, _Part]:
        """For the rows' own tokens and, if they are cut, for the segments in front; in graphs for ``rows`` rows."""
        if not self._processors:
            return self._part(rows), _Part()
        return self._part(rows), self._part(rows and most_segments(rows, self.num_heads, self._processors))

    def _part(self, rows: int = 0) -> _Part:
        """FlashInfer's part of a step; in graphs for ``rows`` rows."""
        from flashinfer.prefill import (  # pyright: ignore[reportMissingImports] (an extra)
            BatchPrefillWithPagedKVCacheWrapper,
        )

        fixed: dict[str, Any] = {}
        if rows:
            sizes = {
                "qo_indptr_buf": rows + 1, "paged_kv_indptr_buf": rows + 1, "paged_kv_last_page_len_buf": rows,
                "paged_kv_indices_buf": self.max_pages,
            }  # fmt: skip
            fixed = {name: torch.zeros(size, dtype=torch.int32, device=self._device) for name, size in sizes.items()}
            fixed["use_cuda_graph"] = True
        wrapper = BatchPrefillWithPagedKVCacheWrapper(self._workspace_bytes, "HND", backend=self._family, **fixed)
        return _Part(wrapper, rows)

    # -- a layer --------------------------------------------------------------------------------------------------

    def _attend_chunks(self, heads: Heads, keys: torch.Tensor, values: torch.Tensor, out: torch.Tensor) -> None:
        if not self._serving:
            super()._attend_chunks(heads, keys, values, out)
            return
        own, segments = self._running
        cache = keys, values
        if not self._chunks:  # nothing is cut
            q = self._store_chunks(heads, keys, values)
            own.wrapper.run(q[self._skipped :], cache, out=out.view(q.shape)[self._skipped :])
            return
        from ..kernels.merge import merge
        from ..kernels.rotate_store import Copies

        copies = out.new_empty(self._copies, self.num_heads, self.group.head_dim)
        q = self._store_chunks(heads, keys, values, Copies(copies, *self._chunks))
        out = out.view(q.shape)
        _, log = own.wrapper.run(q, cache, out=out, return_lse=True)
        parts, part_logs = segments.wrapper.run(copies, cache, out=torch.empty_like(copies), return_lse=True)
        merge(out, log, parts, part_logs, *self._chunks)


@dataclass(frozen=True)
class _Part:
    """FlashInfer's wrapper for some of a step's attention, always of as many ``rows`` if it is in graphs."""

    wrapper: Any = None
    rows: int = 0


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


def _bounds(first: int, lengths: np.ndarray, more: int) -> torch.Tensor:
    """Where parts of these ``lengths`` begin and end, and ``more`` that have none."""
    return _host(np.pad(np.concatenate(([first], first + np.cumsum(lengths))), (0, more), mode="edge"))

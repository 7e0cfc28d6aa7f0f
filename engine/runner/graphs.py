"""Steps as CUDA graphs: a whole one is a single launch, for a range of sizes.

A graph reads its inputs in fixed places, which one copy fills. A step is padded to the next captured number of tokens
with some that write to page 0 and the spare slot, and whose results nobody reads. Decodes end with logits, and with a
second graph that draws from them; steps with prompts end with the last layer, since few of their tokens are wanted.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ..attention.base import StepLayout
from ..attention.paged import MOST_PROMPTS, HostPlan, PagedAttention
from ..device import Places, borrowed, upload
from ..models.config import ModelConfig
from ..models.decoder import Decoder
from ..sampling.sampler import Drawing, Sampler
from .step import Launched, Step

_T = TypeVar("_T")

_SIZES = (16, 32, 64, *range(128, 513, 64), *(base * n // 4 for base in (512, 1024, 2048, 4096) for n in range(5, 9)))
_LAUNCH = 3e11  # floating-point operations of a device in the time that launching a layer takes, within a factor of two


def decode_sizes(most: int) -> list[int]:
    """Numbers of decodes to capture up to ``most``: every eighth, and finer where small batches make the step."""
    sizes = [1, 2, 3, 4, 6, 8, 12, 16, *range(24, most, 8), most]
    return sorted({size for size in sizes if size <= most})


def prompt_sizes(model: ModelConfig) -> list[int]:
    """Numbers of tokens to capture: those that keep the device busy for less time than they take to launch."""
    most = _LAUNCH * model.num_layers / (2 * model.layer_parameters)
    return [size for size in _SIZES if size <= max(most, _SIZES[0])]


@dataclass(frozen=True)
class _Captured:
    """A step of ``tokens`` tokens.

    Attributes:
        places: for the tokens' ids, slots and positions, what rows are drawn with, and what attention needs.
        outputs: logits, or what :meth:`Decoder.layered` gives.
        draws: by whether a row truncates: a graph, and the tokens that it draws.
    """

    tokens: int
    places: Places
    graph: torch.cuda.CUDAGraph
    outputs: tuple[torch.Tensor, ...]
    draws: dict[bool, tuple[torch.cuda.CUDAGraph, torch.Tensor]]


class StepGraphs:
    """Captured steps.

    Args:
        newest: (slots + 1,) int64, the newest token of each slot; the last one pads.
        decodes, prompts: numbers of tokens to capture, of steps that only decode and of others; both ascend.
        captured: called after each.
    """

    def __init__(
        self,
        model: Decoder,
        attention: PagedAttention,
        sampler: Sampler,
        newest: torch.Tensor,
        decodes: Sequence[int],
        prompts: Sequence[int],
        captured: Callable[[], None],
    ) -> None:
        self._model, self._attention, self._sampler, self._newest = model, attention, sampler, newest
        self._spare = len(newest) - 1
        self._sizes = {False: decodes, True: prompts}
        most = max(sum(self._places(sizes[-1], prompts)) for prompts, sizes in self._sizes.items() if sizes)
        self._buffer = torch.zeros(most, dtype=torch.int32, device=newest.device)
        self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()
        self._captured: dict[tuple[bool, int], _Captured] = {}
        gc.collect()  # what is freed while a graph is captured can spoil it
        try:
            # The largest first: the others fit into its memory.
            for size in reversed(decodes):
                self._captured[False, size] = self._capture_decodes(size)
                captured()
            for size in reversed(prompts):
                self._captured[True, size] = self._capture_prompts(size)
                captured()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all graphs, also those to which an exception still leads: NCCL ends only when they are gone."""
        for captured in self._captured.values():
            for graph in (captured.graph, *(graph for graph, _ in captured.draws.values())):
                graph.reset()
        self._captured.clear()

    # -- capturing ------------------------------------------------------------------------------------------------

    def _places(self, tokens: int, prompts: bool) -> list[int]:
        """How many numbers each of a step's arrays has at most."""
        drawing = [] if prompts else [tokens * width for width in Drawing.WIDTHS]
        return [tokens, tokens, tokens, *drawing, *self._attention.places(tokens, prompts)]

    def _capture_decodes(self, tokens: int) -> _Captured:
        places = Places(self._places(tokens, prompts=False), self._buffer)
        ids, slots, positions, *others = places.tensors
        arrays = len(Drawing.WIDTHS)
        nothing, spare = np.zeros(tokens, np.int64), np.full(tokens, self._spare)
        plan = HostPlan.of(StepLayout(nothing, nothing + 1, nothing[:, None]), self._attention.page_size)
        places.fill([nothing, spare, nothing, *[nothing] * arrays, *self._attention.arrays(plan)])
        self._attention.use(others[arrays:], decodes=True, prompts=False)
        graph, logits = self._record(
            lambda layers: self._model.logits(*self._layered(ids, slots, positions, layers), None)
        )
        draws = {}
        if self._model.group.shard.rank == 0:
            for truncates in (False, True):
                drawing = Drawing.of(others[:arrays], truncates)
                draws[truncates] = self._record(lambda _, drawing=drawing: drawing.draw(logits, slots, self._newest))
        return _Captured(tokens, places, graph, (borrowed(logits),), draws)

    def _capture_prompts(self, tokens: int) -> _Captured:
        places = Places(self._places(tokens, prompts=True), self._buffer)
        ids, slots, positions, *others = places.tensors
        nothing, spare = np.zeros(1, np.int64), np.full(tokens, self._spare)
        pages = np.zeros((1, -(-tokens // self._attention.page_size)), np.int64)
        plan = HostPlan.of(StepLayout(nothing, nothing + tokens, pages), self._attention.page_size)
        places.fill([nothing, spare, nothing, *self._attention.arrays(plan, tokens)])
        self._attention.use(others, decodes=True, prompts=True)
        self._attention.plan(plan, tokens, full=True)
        graph, outputs = self._record(lambda layers: self._layered(ids, slots, positions, layers))
        return _Captured(tokens, places, graph, tuple(map(borrowed, outputs)), {})

    def _layered(
        self, ids: torch.Tensor, slots: torch.Tensor, positions: torch.Tensor, layers: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        from ..kernels.sampling import newest_ids

        return self._model.layered(newest_ids(ids, slots, self._newest), positions, self._attention.forward, layers)

    @torch.inference_mode()
    def _record(self, work: Callable[[int | None], _T]) -> tuple[torch.cuda.CUDAGraph, _T]:
        """A graph of ``work``, which takes how many layers to run."""
        self._stream.wait_stream(torch.cuda.current_stream())  # where its inputs come from
        with torch.cuda.stream(self._stream):  # memory is shared within a stream only
            work(2)  # libraries allocate and choose kernels at the first run; later layers are like the second
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                result = work(None)
            except BaseException:
                with suppress(RuntimeError):  # what comes of the first error
                    graph.capture_end()
                graph.reset()
                raise
            graph.capture_end()
        return graph, result

    # -- running --------------------------------------------------------------------------------------------------

    def fits(self, step: Step) -> bool:
        """Whether there is a graph for this step."""
        prompts = int((step.layout.counts > 1).sum())
        sizes = self._sizes[prompts > 0]
        return prompts <= MOST_PROMPTS and bool(sizes) and len(step.ids) <= sizes[-1]

    def run(self, step: Step) -> Launched:
        """Start a step that fits. What it gives is valid until the next one."""
        layout, attention = step.layout, self._attention
        plan = HostPlan.of(layout, attention.page_size)
        prompts, sizes = len(plan.counts) > 0, self._sizes[len(plan.counts) > 0]
        captured = self._captured[prompts, sizes[bisect_left(sizes, len(step.ids))]]
        tokens = captured.tokens
        slots = np.pad(step.slots[layout.rows], (0, tokens - len(step.ids)), constant_values=self._spare)
        arrays = [step.ids, slots, layout.positions]
        if not prompts:
            arrays += [*self._sampler.drawing(step.slots, layout.depths + 1), *attention.arrays(plan)]
            captured.places.fill(arrays)
            captured.graph.replay()
            return self._decoded(step, captured)
        captured.places.fill(arrays + attention.arrays(plan, tokens))
        attention.use(captured.places.tensors[3:], decodes=True, prompts=True)
        attention.plan(plan, tokens)
        captured.graph.replay()
        if not len(step.sampling):
            return Launched(step)
        (wanted,) = upload([np.cumsum(layout.counts)[step.sampling] - 1], self._newest.device)
        x, residual = captured.outputs
        return Launched(step, self._model.logits(x, residual, wanted))

    def _decoded(self, step: Step, captured: _Captured) -> Launched:
        rows, (logits,) = len(step.slots), captured.outputs
        if not len(step.sampling):
            return Launched(step)
        if len(step.sampling) < rows:  # parts of prompts
            (wanted,) = upload([step.sampling], self._newest.device)
            return Launched(step, logits[wanted])

        def draw(truncates: bool) -> torch.Tensor:
            graph, tokens = captured.draws[truncates]
            graph.replay()
            return tokens[:rows]

        return Launched(step, logits[:rows], draw)

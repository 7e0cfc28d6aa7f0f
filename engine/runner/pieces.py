"""Prompts as CUDA graphs in pieces: all that lies between two attentions is one launch; attention runs as ever.

Attention depends on how many rows a step has and how deep they are; everything else only on the number of tokens. A
step is padded to the next captured number with rows whose results nobody reads.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..attention.base import Heads
from ..attention.paged import PagedAttention
from ..device import borrowed
from ..models.config import ModelConfig
from ..models.decoder import Decoder

_SIZES = (16, 32, 64, *range(128, 513, 64), *(base * n // 4 for base in (512, 1024, 2048, 4096) for n in range(5, 9)))
_LAUNCH = 3e11  # floating-point operations of a device in the time that launching a layer takes, within a factor of two


def piece_sizes(model: ModelConfig) -> list[int]:
    """Numbers of tokens to capture: those that keep the device busy for less time than they take to launch."""
    most = _LAUNCH * model.num_layers / (2 * model.layer_parameters)
    return [size for size in _SIZES if size <= max(most, _SIZES[0])]


@dataclass(frozen=True)
class _Captured:
    """A model at one number of tokens: ``graphs`` with attention of ``heads`` between each and the next."""

    graphs: list[torch.cuda.CUDAGraph]
    heads: list[Heads]
    outputs: tuple[torch.Tensor, torch.Tensor]


class Pieces:
    """:meth:`Decoder.layered` for up to ``sizes[-1]`` tokens. ``captured`` is called after each of ``sizes``."""

    def __init__(
        self, model: Decoder, attention: PagedAttention, sizes: Sequence[int], captured: Callable[[], None]
    ) -> None:
        self._model, self._attention, self._sizes = model, attention, sizes
        weight = model.embed_tokens
        width = attention.num_heads * attention.group.head_dim
        self._ids = torch.zeros(sizes[-1], dtype=torch.int32, device=weight.device)
        self._attended = torch.zeros(sizes[-1], width, dtype=weight.dtype, device=weight.device)
        self._captured: dict[int, _Captured] = {}
        pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()  # memory is shared within a stream only
        gc.collect()  # what is freed while a graph is captured can spoil it
        for size in reversed(sizes):  # the largest first: the others fit into its memory
            self._captured[size] = self._capture(size, pool, stream)
            captured()

    @torch.inference_mode()
    def _capture(self, size: int, pool: Any, stream: torch.cuda.Stream) -> _Captured:
        ids, attended = self._ids[:size], self._attended[:size]
        self._model.layered(ids, ids, lambda layer, heads: attended)  # libraries choose kernels at the first run
        torch.cuda.synchronize()
        capture = _Capture(attended, pool)
        with torch.cuda.stream(stream):
            capture.begin()
            outputs = self._model.layered(ids, ids, capture)
            capture.end()
        x, residual = map(borrowed, outputs)
        return _Captured(capture.graphs, capture.heads, (x, residual))

    def fits(self, tokens: int) -> bool:
        return tokens <= self._sizes[-1]

    def layered(self, ids: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As the model's, for the step that attention was prepared for. Valid until the next step."""
        tokens = len(ids)
        captured = self._captured[self._sizes[bisect_left(self._sizes, tokens)]]
        self._ids[:tokens].copy_(ids)
        rotation, attended = self._model.rotary.at(positions), self._attended[:tokens]
        captured.graphs[0].replay()
        for layer, heads in enumerate(captured.heads):
            mine = replace(heads, projected=heads.projected[:tokens], rotation=rotation)
            self._attention.attend(layer, mine, attended)
            captured.graphs[layer + 1].replay()
        x, residual = captured.outputs
        return x[:tokens], residual[:tokens]


class _Capture:
    """In the place of attention while a model is captured: ends one graph there and begins the next."""

    def __init__(self, attended: torch.Tensor, pool: Any) -> None:
        self.graphs: list[torch.cuda.CUDAGraph] = []
        self.heads: list[Heads] = []
        self._attended, self._pool = attended, pool

    def begin(self) -> None:
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        self.graphs.append(graph)

    def end(self) -> None:
        self.graphs[-1].capture_end()

    def __call__(self, layer: int, heads: Heads) -> torch.Tensor:
        self.end()
        self.heads.append(replace(heads, projected=borrowed(heads.projected)))
        self.begin()
        return self._attended

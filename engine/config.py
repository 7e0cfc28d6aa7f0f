"""The engine's configuration: one frozen value, built at the edge and sent to the engine process as JSON."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .errors import InvalidConfig

DType = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]
KVDType = Literal["auto", "fp8"]
Attention = Literal["auto", "torch", "triton", "flashinfer"]

_PLACE = re.compile(r"\S+:\d{1,5}")


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to run and how.

    Attributes:
        model: ``pocket`` (the embedded model), a Hugging Face folder, or a hub id.
        device, dtype: ``auto`` takes CUDA when there is one, and on CPU bf16 only where it is the faster one.
        max_model_len: longest prompt plus output, in tokens; None means the model's own limit.
        max_running: sequences that may be decoded together (request slots); None means 256 on CUDA, 64 on CPU.
        max_waiting: further requests that may queue; beyond it a request is refused as overloaded.
        page_size: tokens in a page of KV cache.
        kv_tokens: size of the KV cache in tokens; None is computed from memory.
        kv_memory: bytes that the KV cache may take when ``kv_tokens`` is None; None means a share of free memory.
        step_budget: most work in a step that also decodes, in units of one token at depth 0; None picks by device.
        prefix_cache: reuse KV of equal prefixes.
        kv_dtype: ``auto`` is the model's; ``fp8`` (e4m3) halves the cache on CUDA at some loss of precision.
        attention: ``auto``, or one of torch, triton and flashinfer.
        cuda_graphs: launch steps as captured graphs, on CUDA.
        overlap: one step in flight while the host works on the last one; None means on for CUDA, off for CPU.
        threads: CPU threads of the model; None means as many as there are cores that may be used.
        tensor_parallel_size: ranks that the model is divided among, each with a CUDA device or a process on the CPU.
        nnodes, node_rank: machines that the ranks are spread over evenly, and which of them this is. The first serves.
        rendezvous: HOST:PORT of the first machine, where the ranks of several machines meet.
        dummy_weights: random weights; only config.json (and a tokenizer) are read. For benchmarks.
        seed: of dummy weights and of requests without a seed; None is random.
        debug: check the page invariants after every step.
    """

    model: str = "pocket"
    device: Device = "auto"
    dtype: DType = "auto"
    max_model_len: int | None = None
    max_running: int | None = None
    max_waiting: int = 4096
    page_size: int = 16
    kv_tokens: int | None = None
    kv_memory: int | None = None
    step_budget: int | None = None
    prefix_cache: bool = True
    kv_dtype: KVDType = "auto"
    attention: Attention = "auto"
    cuda_graphs: bool = True
    overlap: bool | None = None
    threads: int | None = None
    tensor_parallel_size: int = 1
    nnodes: int = 1
    node_rank: int = 0
    rendezvous: str | None = None
    dummy_weights: bool = False
    seed: int | None = None
    debug: bool = False

    @property
    def local_ranks(self) -> int:
        """Ranks on each machine."""
        return self.tensor_parallel_size // self.nnodes

    def check(self) -> None:
        """Raise :class:`InvalidConfig` for the first value out of range."""
        for name in ("max_waiting", "page_size", "tensor_parallel_size", "nnodes"):
            _at_least_one(name, getattr(self, name))
        for name in ("max_running", "max_model_len", "kv_tokens", "kv_memory", "step_budget", "threads"):
            if (value := getattr(self, name)) is not None:
                _at_least_one(name, value)
        if self.tensor_parallel_size % self.nnodes:
            raise InvalidConfig(
                f"tensor_parallel_size is {self.tensor_parallel_size}; nnodes={self.nnodes} machines cannot share it "
                "evenly."
            )
        if not 0 <= self.node_rank < self.nnodes:
            raise InvalidConfig(f"node_rank is {self.node_rank}; with nnodes={self.nnodes} it counts from 0.")
        if self.nnodes > 1 and not _PLACE.fullmatch(self.rendezvous or ""):
            raise InvalidConfig("rendezvous must be HOST:PORT of the first machine where nnodes is more than 1.")


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise InvalidConfig(f"{name} is {value}; it must be at least 1.")

"""What fits into memory: the weights, and then the KV cache, planned from what is free once they are loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import psutil
import torch

from .config import EngineConfig
from .errors import InvalidConfig
from .models.config import ModelConfig
from .runner.graphs import decode_sizes, prompt_sizes
from .scheduler.budget import LARGEST_STEP

# Bytes of KV cache on a CPU where nothing is said: so much at least, and more for a sequence of full length. It is
# touched at start-up, so that memory does not grow while serving.
_CPU_BYTES = 512 * 2**20
_CPU_LIMIT = 4 * 2**30
# What stays free on CUDA beside the cache. Measured: libraries and their workspaces, and a layer of a captured step.
_CUDA_LIBRARIES = 2**30
_CUDA_GRAPH = 2**19
_LOGIT = 16  # bytes, with copies in fp32


@dataclass(frozen=True)
class KVSize:
    """``pages`` pages, in ``dtype``."""

    pages: int
    dtype: torch.dtype

    def of(self, pages: int) -> Self:
        """Another number of the same pages."""
        return replace(self, pages=pages)


def check_weights(model: ModelConfig, dtype: torch.dtype, ranks: int, free: int, device: torch.device) -> None:
    """Raise InvalidConfig, with the arithmetic, where the weights cannot fit.

    model: this rank's part. ranks: how many share the ``free`` bytes.
    """
    each = model.parameters * dtype.itemsize
    if ranks * each > free:
        divide = "raise tensor_parallel_size, " if device.type == "cuda" else ""
        raise InvalidConfig(
            f"the weights take {ranks * each / 2**30:.1f} GiB ({ranks} x {model.parameters} at {dtype.itemsize} bytes "
            f"each), and {free / 2**30:.1f} GiB of memory are free. Free memory, {divide}or take a smaller model."
        )


def kv_size(
    config: EngineConfig,
    model: ModelConfig,
    dtype: torch.dtype,
    max_model_len: int,
    max_running: int,
    device: torch.device,
) -> KVSize:
    """The cache for a loaded model. Raises InvalidConfig, with the arithmetic, when it would be too small to serve."""
    kv_dtype = torch.float8_e4m3fn if config.kv_dtype == "fp8" else dtype
    (group,) = model.kv_groups
    per_token = 2 * group.layers * group.kv_heads * group.head_dim * kv_dtype.itemsize
    reserve = _reserve(config, model, dtype, max_running) if device.type == "cuda" else 0
    one = (max_model_len + 2 * config.page_size) * per_token
    free, wanted = free_memory(device), 0
    if config.kv_tokens is not None:
        wanted = config.kv_tokens * per_token
    elif config.kv_memory is not None:
        wanted = config.kv_memory
    elif device.type == "cuda":
        wanted = free - reserve
    else:
        wanted = min(max(_CPU_BYTES, one), min(_CPU_LIMIT, free // 4))
    pages = wanted // per_token // config.page_size
    if pages < 4 or (device.type == "cuda" and wanted > free - reserve):
        raise InvalidConfig(
            f"the KV cache would hold {max(0, wanted) // per_token} tokens at {per_token} bytes each, and "
            f"{free / 2**30:.1f} GiB of memory are free beside the weights, of which steps take {reserve / 2**30:.1f}; "
            f"it needs at least {4 * config.page_size} tokens, and what kv_tokens or kv_memory ask for must be free. "
            "Change these, free memory, or take a smaller model."
        )
    return KVSize(pages, kv_dtype)


def _reserve(config: EngineConfig, model: ModelConfig, dtype: torch.dtype, max_running: int) -> int:
    """Bytes that the largest step takes on CUDA beside weights and cache."""
    (group,) = model.kv_groups
    attention = (5 * model.num_heads + 2 * group.kv_heads) * group.head_dim  # projected, ..., attended
    of_token = dtype.itemsize * (4 * model.hidden_size + attention + 3 * model.intermediate_size)
    prompts, decodes = (prompt_sizes(model), decode_sizes(max_running)) if config.cuda_graphs else ([0], [])
    vocabulary = model.vocab_size * config.tensor_parallel_size  # logits are whole on every rank
    return (
        _CUDA_LIBRARIES
        + (max(LARGEST_STEP, config.step_budget or 0) + prompts[-1]) * of_token
        + (len(prompts) + len(decodes)) * (model.num_layers + 1) * _CUDA_GRAPH
        + max_running * vocabulary * _LOGIT
    )


def free_memory(device: torch.device) -> int:
    """Bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available

"""Load a model onto its device with everything that runs its steps, on every rank alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..attention.base import AttentionBackend
from ..attention.build import build_attention
from ..attention.paged import PagedAttention
from ..config import EngineConfig
from ..cores import usable_cores
from ..errors import InvalidConfig
from ..hub import resolve_model
from ..memory import KVSize, check_weights, free_memory, kv_size
from ..models.config import ModelConfig
from ..models.decoder import Decoder
from ..models.load import build_decoder, dummy_decoder
from ..parallel.group import Group
from ..progress import Progress
from .graphs import decode_sizes, prompt_sizes
from .runner import ModelRunner


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to run steps.

    Attributes:
        cache: how large the KV cache is, on every rank.
        max_model_len: longest sequence that the model and the cache allow.
        max_running: sequences of a step.
    """

    runner: ModelRunner
    model: Decoder
    attention: AttentionBackend
    cache: KVSize
    device: torch.device
    dtype: torch.dtype
    max_model_len: int
    max_running: int


def load_runner(config: EngineConfig, group: Group, device: torch.device, progress: Progress | None = None) -> Loaded:
    """This rank's part of the model. Raises EngineError subclasses for what the operator can mend."""
    folder = resolve_model(config.model)
    model_config = ModelConfig.load(folder)
    dtype = _dtype(config, model_config, device)
    if device.type == "cpu":
        torch.set_num_threads(config.threads or max(1, usable_cores() // config.local_ranks))
    max_model_len = min(config.max_model_len or model_config.max_position, model_config.max_position)
    local = group.shard.local(model_config)
    sharing = config.local_ranks if device.type == "cpu" else 1
    check_weights(local, dtype, sharing, group.least(free_memory(device)), device)
    if config.dummy_weights:
        model = dummy_decoder(model_config, max_model_len + 1, dtype, device, config.seed or 0, group)
    else:
        model = build_decoder(folder, model_config, max_model_len + 1, dtype, device, progress, group)
    model.optimize()
    max_running = config.max_running or (256 if device.type == "cuda" else 64)
    sizes = kv_size(config, local, dtype, max_model_len, max_running, device)
    sizes = sizes.of(group.least(sizes.pages))
    max_model_len = min(max_model_len, (sizes.pages - 1) * config.page_size - 1)
    attention = build_attention(config, local, sizes, dtype, device, max_running, max_model_len)
    runner = ModelRunner(model, attention, max_running, device)
    if device.type == "cuda":
        try:
            if group.shard.size > 1:  # ranks must not change what they run at different moments
                runner.settle()
            if config.cuda_graphs and isinstance(attention, PagedAttention):
                runner.capture(decode_sizes(max_running), prompt_sizes(local), progress)
            runner.warm_up(progress)
        except BaseException:
            runner.close()
            raise
    return Loaded(runner, model, attention, sizes, device, dtype, max_model_len, max_running)


def device_of(config: EngineConfig, local_rank: int = 0) -> torch.device:
    """The device of a rank; with CUDA, also the current one from now on. Raises InvalidConfig where it is not there."""
    kind = config.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    elif kind == "cuda" and not torch.cuda.is_available():
        raise InvalidConfig("device is cuda, but torch sees no CUDA device. Use device=cpu or install a CUDA torch.")
    if kind == "cpu":
        return torch.device(kind)
    if config.local_ranks > torch.cuda.device_count():
        raise InvalidConfig(
            f"tensor_parallel_size={config.tensor_parallel_size} with nnodes={config.nnodes} needs "
            f"{config.local_ranks} CUDA devices on each machine, and this one has {torch.cuda.device_count()}."
        )
    torch.cuda.set_device(local_rank)
    return torch.device(kind, local_rank)


def _dtype(config: EngineConfig, model: ModelConfig, device: torch.device) -> torch.dtype:
    if config.dtype != "auto":
        return getattr(torch, config.dtype)
    if device.type == "cuda":
        return torch.bfloat16
    return torch.bfloat16 if model.dtype == "bfloat16" and _has_bf16_matrix_instructions() else torch.float32


def _has_bf16_matrix_instructions() -> bool:
    """Whether this CPU multiplies bf16 natively (AVX512-BF16 or AMX on x86, BF16 on arm64)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(f" {flag}" in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))

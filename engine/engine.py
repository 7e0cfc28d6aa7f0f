"""Put an engine together: model, KV cache, runner, scheduler, sized for the device that is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from .attention.torch_sdpa import TorchAttention
from .cache.kv import KVCache
from .config import EngineConfig
from .errors import InvalidConfig
from .hub import resolve_model
from .models.config import ModelConfig
from .models.load import Progress, build_decoder, dummy_decoder
from .protocol import EngineInfo
from .runner.runner import ModelRunner
from .sampling.grammar import GrammarService
from .sampling.grammar_compiler import CompilerConfig
from .scheduler.budget import Budget
from .scheduler.limits import Limits
from .scheduler.scheduler import Scheduler
from .tokenizer import Tokenizer

# Bytes of KV cache on a CPU where nothing is said: so much at least, and more for a sequence of full length. It is
# touched at start-up, so that memory does not grow while serving.
_CPU_KV_BYTES = 512 * 2**20
_CPU_KV_LIMIT = 4 * 2**30


@dataclass(frozen=True)
class Engine:
    """A scheduler that is ready to step, the processes of its grammars, and what it says of itself."""

    scheduler: Scheduler
    grammars: GrammarService
    info: EngineInfo


def build_engine(config: EngineConfig, progress: Progress | None = None) -> Engine:
    """Load the model and allocate everything. Raises EngineError subclasses for what the operator can mend.

    The engine's ``grammars`` are processes; close them.
    """
    config.check()
    folder = resolve_model(config.model)
    model_config = ModelConfig.load(folder)
    eos = Tokenizer.load(folder).eos_token_ids
    grammars = GrammarService(CompilerConfig(folder=str(folder), vocab_size=model_config.vocab_size))
    grammars.start()  # it gets ready while the model loads
    try:
        return _assemble(config, folder, model_config, eos, grammars, progress)
    except BaseException:
        grammars.close()
        raise


def _assemble(
    config: EngineConfig,
    folder: Path,
    model_config: ModelConfig,
    eos: Sequence[int],
    grammars: GrammarService,
    progress: Progress | None,
) -> Engine:
    device = _device(config)
    dtype = _dtype(config, model_config, device)
    if device.type == "cpu":
        torch.set_num_threads(config.threads or os.cpu_count() or 1)
    max_model_len = min(config.max_model_len or model_config.max_position, model_config.max_position)
    if config.dummy_weights:
        model = dummy_decoder(model_config, max_model_len + 1, dtype, device, config.seed or 0)
    else:
        model = build_decoder(folder, model_config, max_model_len + 1, dtype, device, progress)
    model.optimize()
    num_pages = _num_pages(config, model_config, dtype, max_model_len)
    max_model_len = min(max_model_len, (num_pages - 1) * config.page_size - 1)
    cache = KVCache(num_pages, config.page_size, share=config.prefix_cache)
    (group,) = model_config.kv_groups
    attention = TorchAttention(group, num_pages, config.page_size, dtype, device)
    runner = ModelRunner(model, attention, config.max_running, device)
    limits = Limits(
        max_running=config.max_running,
        max_waiting=config.max_waiting,
        max_model_len=max_model_len,
        vocab_size=model_config.vocab_size,
        eos_token_ids=frozenset(eos),
    )
    busy = config.step_budget or (256 if device.type == "cpu" else 4096)
    scheduler = Scheduler(
        runner,
        cache,
        limits,
        Budget(busy=busy, idle=4 * busy, least=max(1, busy // 8), unit=model_config.attention_unit),
        overlap=config.overlap if config.overlap is not None else device.type == "cuda",
        grammars=grammars,
        seed=config.seed,
        debug=config.debug,
    )
    info = EngineInfo(
        model=config.model,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        vocab_size=model_config.vocab_size,
        max_model_len=max_model_len,
        eos_token_ids=sorted(eos),
        page_size=config.page_size,
        kv_pages=num_pages,
    )
    return Engine(scheduler, grammars, info)


def _device(config: EngineConfig) -> torch.device:
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InvalidConfig("device is cuda, but torch sees no CUDA device. Use device=cpu or install a CUDA torch.")
    return torch.device(config.device)


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


def _num_pages(config: EngineConfig, model: ModelConfig, dtype: torch.dtype, max_model_len: int) -> int:
    """Size of the KV cache in pages; at least one sequence of full length where memory allows."""
    (group,) = model.kv_groups
    per_token = 2 * group.layers * group.kv_heads * group.head_dim * dtype.itemsize
    one = max_model_len + 2 * config.page_size
    if config.kv_tokens is not None:
        tokens = config.kv_tokens
    elif config.kv_memory is not None:
        tokens = config.kv_memory // per_token
    else:
        most = min(_CPU_KV_LIMIT, psutil.virtual_memory().available // 4)
        tokens = min(max(_CPU_KV_BYTES, one * per_token), most) // per_token
    pages = tokens // config.page_size
    if pages < 4:
        raise InvalidConfig(
            f"the KV cache would hold {tokens} tokens at {per_token} bytes each; it needs at least "
            f"{4 * config.page_size}. Raise kv_tokens or kv_memory, or free memory."
        )
    return pages

"""Put an engine together: model, KV cache, runner, scheduler, sized for the device that is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .attention.base import AttentionBackend
from .attention.build import build_attention
from .attention.paged import PagedAttention
from .cache.kv import KVCache
from .config import EngineConfig
from .device import multiply_rate
from .errors import InvalidConfig
from .hub import resolve_model
from .memory import kv_size
from .models.config import ModelConfig
from .models.decoder import Decoder
from .models.load import build_decoder, dummy_decoder
from .progress import Progress
from .protocol import EngineInfo
from .runner.graphs import graph_sizes
from .runner.runner import ModelRunner
from .sampling.grammar import GrammarService
from .sampling.grammar_compiler import CompilerConfig, Launched
from .scheduler.budget import Budget
from .scheduler.limits import Limits
from .scheduler.scheduler import Scheduler
from .tokenizer import Tokenizer

_STEP_SECONDS = 0.008  # of prefill in a step that also decodes, on CUDA


@dataclass(frozen=True)
class Engine:
    """A scheduler that is ready to step, the processes of its grammars, and what it says of itself."""

    scheduler: Scheduler
    attention: AttentionBackend
    grammars: GrammarService
    info: EngineInfo


def build_engine(
    config: EngineConfig,
    progress: Progress | None = None,
    compiler: Launched | None = None,
    *,
    interactive: bool = True,
) -> Engine:
    """Load the model and allocate everything. Raises EngineError subclasses for what the operator can mend.

    The engine's ``grammars`` are processes; close them. ``compiler`` is theirs, when it is started already.
    ``interactive``: somebody watches the tokens come, so that no step may be long.
    """
    config.check()
    folder = resolve_model(config.model)
    model_config = ModelConfig.load(folder)
    eos = Tokenizer.load(folder).eos_token_ids
    grammars = GrammarService(CompilerConfig(folder=str(folder), vocab_size=model_config.vocab_size))
    grammars.start(compiler)  # it gets ready while the model loads
    try:
        return _assemble(config, folder, model_config, eos, grammars, progress, interactive)
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
    interactive: bool,
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
    sizes = kv_size(config, model_config, dtype, max_model_len, device)
    max_model_len = min(max_model_len, (sizes.pages - 1) * config.page_size - 1)
    cache = KVCache(sizes.pages, config.page_size, share=config.prefix_cache)
    max_running = config.max_running or (256 if device.type == "cuda" else 64)
    attention = build_attention(config, model_config, sizes, dtype, device, max_running, max_model_len)
    runner = ModelRunner(model, attention, max_running, device)
    if device.type == "cuda" and config.cuda_graphs and isinstance(attention, PagedAttention):
        runner.capture(graph_sizes(max_running), progress)
    if device.type == "cuda":
        runner.warm_up(progress)
    limits = Limits(
        max_running=max_running,
        max_waiting=config.max_waiting,
        max_model_len=max_model_len,
        vocab_size=model_config.vocab_size,
        eos_token_ids=frozenset(eos),
    )
    scheduler = Scheduler(
        runner,
        cache,
        limits,
        _budget(config, model, device, dtype, interactive),
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
        kv_pages=sizes.pages,
        attention=attention.name,
    )
    return Engine(scheduler, attention, grammars, info)


def _budget(
    config: EngineConfig, model: Decoder, device: torch.device, dtype: torch.dtype, interactive: bool
) -> Budget:
    """How much a step takes in. On CUDA it follows from how fast this card multiplies."""
    busy, idle = config.step_budget, 0  # idle: where a step's own overhead is small
    if busy is None and device.type == "cpu":
        busy = 256
    elif busy is None:
        per_token = 2 * model.weights
        busy = round(min(max(_STEP_SECONDS * multiply_rate(device, dtype) / per_token, 256), 16384))
        idle = 2048 if interactive else 8192
    idle = max(4 * busy, idle)
    least = max(1, busy // 8)
    return Budget(busy=busy if interactive else idle, idle=idle, least=least, unit=model.config.attention_unit)


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

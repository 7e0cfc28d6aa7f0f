"""Put an engine together: model, KV cache, runner, scheduler, sized for the device that is there."""

from __future__ import annotations

from dataclasses import dataclass

from .cache.kv import KVCache
from .config import EngineConfig
from .device import multiply_rate
from .helpers import Helpers, start_helpers
from .parallel.group import ALONE, Group
from .progress import Progress
from .protocol import EngineInfo
from .runner.load import Loaded, device_of, load_runner
from .runner.runner import ModelRunner
from .sampling.grammar import GrammarService
from .scheduler.budget import LARGEST_STEP, Budget
from .scheduler.limits import Limits
from .scheduler.scheduler import Scheduler
from .tokenizer import Tokenizer

_STEP_SECONDS = 0.0083  # of prefill in a step that also decodes, on CUDA
_ATTENTION_RATE = 0.7  # of attention beside that of products, on CUDA


@dataclass(frozen=True)
class Engine:
    """A scheduler that is ready to step, its helpers, and what it says of itself."""

    scheduler: Scheduler
    runner: ModelRunner
    grammars: GrammarService
    helpers: Helpers
    info: EngineInfo

    def close(self) -> None:
        """End the helper processes."""
        self.grammars.close()
        self.runner.close()
        self.runner.group.close()
        self.helpers.close()


def build_engine(
    config: EngineConfig,
    progress: Progress | None = None,
    helpers: Helpers | None = None,
    *,
    interactive: bool = True,
) -> Engine:
    """Load the model and allocate everything; close it in the end.

    ``helpers``: when they are started already. ``interactive``: somebody watches the tokens come, so that no step may
    be long. Raises EngineError subclasses for what the operator can mend.
    """
    helpers = helpers or start_helpers(config)
    grammars = GrammarService(helpers.compiler_config)
    grammars.start(helpers.compiler)
    group: Group = ALONE
    try:
        device = device_of(config)
        if helpers.ranks is not None:
            group = helpers.ranks.join(device)
        return _assemble(config, load_runner(config, group, device, progress), helpers, grammars, interactive)
    except BaseException:
        helpers.expect_ends()
        grammars.close()
        group.close()
        helpers.close()
        raise


def _assemble(
    config: EngineConfig, loaded: Loaded, helpers: Helpers, grammars: GrammarService, interactive: bool
) -> Engine:
    device, model = loaded.device, loaded.model.config
    eos = Tokenizer.load(helpers.folder).eos_token_ids
    limits = Limits(
        max_running=loaded.max_running,
        max_waiting=config.max_waiting,
        max_model_len=loaded.max_model_len,
        vocab_size=model.vocab_size,
        eos_token_ids=frozenset(eos),
    )
    scheduler = Scheduler(
        loaded.runner,
        KVCache(loaded.cache.pages, config.page_size, share=config.prefix_cache),
        limits,
        _budget(config, loaded, interactive),
        overlap=config.overlap if config.overlap is not None else device.type == "cuda",
        grammars=grammars,
        seed=config.seed,
        debug=config.debug,
    )
    info = EngineInfo(
        model=config.model,
        device=device.type,
        dtype=str(loaded.dtype).removeprefix("torch."),
        vocab_size=model.vocab_size,
        max_model_len=loaded.max_model_len,
        eos_token_ids=sorted(eos),
        page_size=config.page_size,
        kv_pages=loaded.cache.pages,
        attention=loaded.attention.name,
        tensor_parallel_size=config.tensor_parallel_size,
    )
    return Engine(scheduler, loaded.runner, grammars, helpers, info)


def _budget(config: EngineConfig, loaded: Loaded, interactive: bool) -> Budget:
    """How much a step takes in. On CUDA it follows from how fast this card multiplies."""
    busy, idle = config.step_budget, 0  # idle: where a step's own overhead is small
    if busy is None and loaded.device.type == "cpu":
        busy = 256
    elif busy is None:
        affordable = _STEP_SECONDS * multiply_rate(loaded.device, loaded.dtype) / (2 * loaded.model.weights)
        busy = round(min(max(affordable, 256), LARGEST_STEP))
        idle = 2048 if interactive else 8192
    idle = min(max(4 * busy, idle), max(busy, LARGEST_STEP))
    least = max(1, busy // 16)
    unit = loaded.model.config.attention_unit * (_ATTENTION_RATE if loaded.device.type == "cuda" else 1)
    return Budget(busy=busy if interactive else idle, idle=idle, least=least, unit=unit)

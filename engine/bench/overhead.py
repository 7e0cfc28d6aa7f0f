"""What a decode step costs beside the model: planning and bookkeeping, the model's inputs, sampling.

The real scheduler, cache, attention metadata and sampler run; in the model's place stands a fixed tensor of logits.
Medians over steps in which every sequence decodes one token.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from torch import nn

from ..attention.base import Attend, AttentionBackend
from ..attention.torch_sdpa import TorchAttention
from ..cache.kv import KVCache
from ..models.config import ModelConfig
from ..models.decoder import Decoder
from ..parallel.group import ALONE
from ..request import Request, SamplingParams
from ..runner.runner import Collected, Launched, ModelRunner
from ..runner.step import Step
from ..scheduler.budget import Budget
from ..scheduler.limits import Limits
from ..scheduler.scheduler import Scheduler
from .report import Figure, Report, arguments
from .shapes import model_folder

_PAGE_SIZE = 16
_WARM_UP = 20  # steps


def main(words: Sequence[str]) -> int:
    parser = arguments("overhead", __doc__)
    parser.add_argument("model", nargs="?", default="pocket", help="whose vocabulary and KV shape to take")
    parser.add_argument("--batch", type=int, default=64, help="sequences decoded together")
    parser.add_argument("--depth", type=int, default=500, help="tokens in front of each")
    parser.add_argument("--steps", type=int, default=300, help="measured steps")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    options = parser.parse_args(words)
    with model_folder(options.model) as folder:
        config = ModelConfig.load(Path(folder))
    measure(config, options).emit(options.json)
    return 0


def measure(config: ModelConfig, options: argparse.Namespace) -> Report:
    length = options.depth + options.steps + 2 * _WARM_UP
    runner, scheduler = _build(config, options.batch, length)
    sampling = SamplingParams(max_tokens=length - options.depth, ignore_eos=True, temperature=options.temperature)
    _fill(scheduler, config, options.batch, options.depth, sampling)
    whole: list[float] = []
    parts: list[dict[str, float]] = []
    for _ in range(options.steps):
        runner.seconds.clear()
        begun = time.perf_counter()
        events = scheduler.step()
        whole.append(time.perf_counter() - begun)
        parts.append(dict(runner.seconds))
        if len(events) != options.batch:
            raise RuntimeError(f"a measured step produced {len(events)} tokens instead of {options.batch}")
    rest = [total - sum(part.values()) for total, part in zip(whole, parts, strict=True)]
    chosen = [part["sample"] + part["collect"] for part in parts]
    figures = [
        Figure("scheduler", _median(rest), "ms/step", "plan, bookkeeping, events"),
        Figure("inputs", _median([part["forward"] for part in parts]), "ms/step", "tensors and attention metadata"),
        Figure("sampling", _median(chosen), "ms/step", f"vocabulary of {config.vocab_size:,}"),
        Figure("step_without_model", _median(whole), "ms/step", "all of it"),
    ]
    settings = {
        "model": options.model,
        "batch": options.batch,
        "depth": options.depth,
        "steps": options.steps,
        "temperature": options.temperature,
    }
    return Report("overhead", settings, figures)


def _median(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def _build(config: ModelConfig, batch: int, length: int) -> tuple[TimedRunner, Scheduler]:
    pages = batch * (length // _PAGE_SIZE + 2)
    (group,) = config.kv_groups
    device = torch.device("cpu")
    one_layer = replace(group, layers=1)  # its content is never read
    attention = TorchAttention(one_layer, pages, _PAGE_SIZE, torch.float32, device)
    runner = TimedRunner(NoModel(config, batch), attention, batch, device)
    limits = Limits(
        max_running=batch, max_waiting=batch, max_model_len=length, vocab_size=config.vocab_size,
        eos_token_ids=frozenset(),
    )  # fmt: skip
    budget = Budget(busy=4096, idle=4096, least=4096, unit=config.attention_unit)
    return runner, Scheduler(runner, KVCache(pages, _PAGE_SIZE), limits, budget, seed=0)


def _fill(scheduler: Scheduler, config: ModelConfig, batch: int, depth: int, sampling: SamplingParams) -> None:
    """Submit ``batch`` sequences and step until all of them decode."""
    random = Random(0)
    for number in range(batch):
        prompt = [random.randrange(config.vocab_size) for _ in range(depth)]
        scheduler.submit(Request(id=str(number), prompt=prompt, sampling=sampling))
    produced = 0
    while produced < batch:  # the tokens of one step are all sequences' only when none is left to prefill
        produced = scheduler.counters.generated_tokens
        scheduler.step()
        produced = scheduler.counters.generated_tokens - produced
    for _ in range(_WARM_UP):
        scheduler.step()


class NoModel(Decoder):
    """Gives the same logits for every token, at no cost."""

    def __init__(self, config: ModelConfig, rows: int) -> None:
        nn.Module.__init__(self)  # without the layers
        self.config = config
        self.group = ALONE
        self._logits = torch.randn(rows, config.vocab_size, generator=torch.Generator().manual_seed(0))

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor | None, attend: Attend
    ) -> torch.Tensor:
        return self._logits[: len(ids if wanted is None else wanted)]


class TimedRunner(ModelRunner):
    """Adds up in ``seconds`` what each part of a step takes."""

    def __init__(self, model: NoModel, attention: AttentionBackend, slots: int, device: torch.device) -> None:
        super().__init__(model, attention, slots, device)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begun

    def forward(self, step: Step) -> Launched:
        with self._timed("forward"):
            return super().forward(step)

    def sample(self, launched: Launched, allowed: torch.Tensor | None = None) -> None:
        with self._timed("sample"):
            super().sample(launched, allowed)

    def collect(self, launched: Launched) -> Collected:
        with self._timed("collect"):
            return super().collect(launched)

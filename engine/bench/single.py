"""Decode speed of one stream beside transformers: the same weights, type, prompts and threads, greedy, one process.

Both decode the same number of tokens after the same prompt, taking turns. The clock runs from the first token to the
last, so prefill is not part of it. The reference is ``generate`` with its own KV cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from importlib.util import find_spec
from random import Random
from typing import Any

import torch

from ..errors import EngineError
from ..llm import LLM
from ..request import SamplingParams
from .offline import random_tokens
from .report import Figure, Report, arguments, progress
from .shapes import model_folder


def main(words: Sequence[str]) -> int:
    parser = arguments("single", __doc__)
    parser.add_argument(
        "model", nargs="?", default="pocket", help="with its real weights: a folder, a hub id or pocket"
    )
    parser.add_argument("--input", type=int, default=256, metavar="TOKENS", help="length of the prompt")
    parser.add_argument("--output", type=int, default=128, metavar="TOKENS", help="length of the output")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions, each with a new prompt; medians are shown")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of both")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of both")
    parser.add_argument("--threads", type=int, help="CPU threads of both; by default all cores")
    options = parser.parse_args(words)
    if find_spec("transformers") is None:
        raise EngineError("transformers, to compare with, is not installed. Get it with pip install 'agenthost[dev]'.")
    with model_folder(options.model) as folder:
        report = measure(folder, options)
    report.emit(options.json)
    return 0


def measure(folder: str, options: argparse.Namespace) -> Report:
    llm = LLM(
        folder, dtype=options.dtype, device=options.device, threads=options.threads, max_running=1, prefix_cache=False,
        kv_tokens=2 * (options.input + options.output) + 256,
    )  # fmt: skip
    with llm, progress() as bar:
        reference = Reference(folder, options)
        task = bar.add_task("repetitions", total=options.repeat)
        random = Random(0)
        ours: list[float] = []
        theirs: list[float] = []
        same = 0
        for repetition in range(-1, options.repeat):  # the first one warms up
            prompt = random_tokens(random, options.input, llm.info.vocab_size - 1)
            our_rate, our_tokens = _run(llm, prompt, options.output)
            their_rate, their_tokens = reference.run(prompt, options.output)
            if repetition >= 0:
                ours.append(our_rate)
                theirs.append(their_rate)
                same += sum(a == b for a, b in zip(our_tokens, their_tokens, strict=True))
                bar.advance(task)
    our_rate, their_rate = statistics.median(ours), statistics.median(theirs)
    figures = [
        Figure("agenthost", our_rate, "tokens/s", _spread(ours)),
        Figure("transformers", their_rate, "tokens/s", _spread(theirs)),
        Figure("ratio", our_rate / their_rate, "", "agenthost / transformers"),
        Figure("same_tokens", same / (options.repeat * options.output), "", "share of equal output tokens"),
    ]
    settings = {
        "model": options.model, "dtype": options.dtype, "device": options.device, "input": options.input,
        "output": options.output, "repeat": options.repeat, "threads": torch.get_num_threads(),
    }  # fmt: skip
    return Report("single", settings, figures)


def _run(llm: LLM, prompt: list[int], output: int) -> tuple[float, list[int]]:
    times: list[float] = []
    sampling = SamplingParams(temperature=0, max_tokens=output, ignore_eos=True)
    done = llm.generate([prompt], sampling, on_token=lambda _: times.append(time.perf_counter()))
    return _rate(times), done[0].completions[0].token_ids


class Reference:
    """The same weights in transformers."""

    def __init__(self, folder: str, options: argparse.Namespace) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        self._device = options.device
        dtype = getattr(torch, options.dtype)
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(options.device).eval()

    @torch.inference_mode()
    def run(self, prompt: list[int], output: int) -> tuple[float, list[int]]:
        clock = _Clock()
        ids = torch.tensor([prompt], device=self._device)
        done = self._model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, streamer=clock,
            min_new_tokens=output, max_new_tokens=output, eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        return _rate(clock.times[1:]), done[0, len(prompt) :].tolist()  # the first call brings the prompt


class _Clock:
    """A streamer for ``generate`` that notes when tokens come."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Part of the interface."""


def _rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0])


def _spread(rates: list[float]) -> str:
    return f"median of {len(rates)}, {min(rates):.0f} to {max(rates):.0f}"

"""What batching brings: output tokens per second of many requests together against one stream, the same type.

The same prompts with the same output lengths run one after the other, and then all together, prefill included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from random import Random

from ..llm import LLM
from ..request import SamplingParams
from .offline import random_tokens
from .report import Figure, Report, arguments, progress
from .shapes import model_folder


def main(words: Sequence[str]) -> int:
    parser = arguments("batch", __doc__)
    parser.add_argument(
        "model", nargs="?", default="pocket", help="with its real weights: a folder, a hub id or pocket"
    )
    parser.add_argument("--batch", type=int, default=16, help="concurrent requests")
    parser.add_argument("--input", type=int, default=64, metavar="TOKENS", help="length of each prompt")
    parser.add_argument("--output", type=int, default=128, metavar="TOKENS", help="length of each output")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, each with new prompts; medians are shown")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"], help="of weights and cache")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to run")
    parser.add_argument("--threads", type=int, help="CPU threads; by default all cores")
    options = parser.parse_args(words)
    with model_folder(options.model) as folder:
        report = measure(folder, options)
    report.emit(options.json)
    return 0


def measure(folder: str, options: argparse.Namespace) -> Report:
    sampling = SamplingParams(temperature=0, max_tokens=options.output, ignore_eos=True)
    random = Random(0)
    one: list[float] = []
    many: list[float] = []
    llm = LLM(
        folder, dtype=options.dtype, device=options.device, threads=options.threads, max_running=options.batch,
        prefix_cache=False, kv_tokens=options.batch * (options.input + options.output + 64),
    )  # fmt: skip
    with llm, progress() as bar:
        task = bar.add_task("repetitions", total=options.repeat)
        highest = llm.info.vocab_size - 1
        llm.generate([random_tokens(random, options.input, highest) for _ in range(options.batch)], sampling)
        for _ in range(options.repeat):
            prompts = [random_tokens(random, options.input, highest) for _ in range(options.batch)]
            produced = options.output * len(prompts)
            begun = time.perf_counter()
            for prompt in prompts:
                llm.generate([prompt], sampling)
            between = time.perf_counter()
            llm.generate(prompts, sampling)
            many.append(produced / (time.perf_counter() - between))
            one.append(produced / (between - begun))
            bar.advance(task)
        info = llm.info
    single, together = statistics.median(one), statistics.median(many)
    figures = [
        Figure("one_stream", single, "tokens/s"),
        Figure("together", together, "tokens/s", f"{options.batch} requests"),
        Figure("ratio", together / single),
    ]
    settings = {
        "model": options.model, "dtype": info.dtype, "device": info.device, "batch": options.batch,
        "input": options.input, "output": options.output, "repeat": options.repeat,
    }  # fmt: skip
    return Report("batch", settings, figures)

"""Throughput of the engine alone on the workload that mini-sglang and nano-vllm publish.

256 sequences of random tokens, prompt and output lengths uniform from 100 to 1024, all submitted at once, no
early ends; ``--num`` and the length flags scale it down. Weights are random: only the shape of the model counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from random import Random

from ..request import SamplingParams
from .report import Figure, Report, arguments, progress
from .shapes import SHAPES, model_folder

_HIGHEST_TOKEN = 10_000  # as in the published workload


def main(words: Sequence[str]) -> int:
    parser = arguments("offline", __doc__)
    add_arguments(parser)
    options = parser.parse_args(words)
    with model_folder(options.model) as folder:
        report = measure(options, folder)
    report.emit(options.json)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(SHAPES)
    parser.add_argument("model", nargs="?", default="pocket", help=f"a shape ({names}), a folder, a hub id or pocket")
    parser.add_argument("--num", type=int, default=256, help="sequences")
    for name, value in (("min-input", 100), ("max-input", 1024), ("min-output", 100), ("max-output", 1024)):
        parser.add_argument(f"--{name}", type=int, default=value, metavar="TOKENS", help="a bound of the lengths")
    parser.add_argument("--seed", type=int, default=0, help="of lengths and tokens")
    parser.add_argument("--temperature", type=float, default=0.6, help="0 is greedy")
    parser.add_argument("--repeat", type=int, default=1, help="repetitions, each with new prompts")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to run")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"], help="of weights and cache")
    parser.add_argument("--max-running", type=int, default=256, help="most sequences decoded together")
    parser.add_argument("--kv-tokens", type=int, help="size of the KV cache; by default what memory allows")
    parser.add_argument("--threads", type=int, help="CPU threads; by default all cores")
    parser.add_argument("--tensor-parallel-size", type=int, default=1, metavar="N", help="ranks that share the model")


def measure(options: argparse.Namespace, folder: str) -> Report:
    """Run the workload on the model of ``folder``."""
    from ..llm import LLM  # loads torch, which a command that only prints its help need not

    random = Random(options.seed)
    with LLM(
        folder, dummy_weights=True, device=options.device, dtype=options.dtype, max_running=options.max_running,
        kv_tokens=options.kv_tokens, threads=options.threads, tensor_parallel_size=options.tensor_parallel_size, seed=0,
    ) as llm, progress() as bar:  # fmt: skip
        llm.settle()
        highest = min(_HIGHEST_TOKEN, llm.info.vocab_size - 1)
        llm.generate([random_tokens(Random(0), 20, highest)], SamplingParams(max_tokens=16, ignore_eos=True))
        rates: list[Figure] = []
        for repetition in range(options.repeat):
            prompts, sampling = workload(options, random, highest)
            produced = sum(params.max_tokens or 0 for params in sampling)
            task = bar.add_task("output tokens", total=produced)
            begun = time.perf_counter()
            llm.generate(prompts, sampling, on_token=lambda count, task=task: bar.advance(task, count))
            seconds = time.perf_counter() - begun
            last = "" if options.repeat == 1 else f"_{repetition + 1}"
            rates += [
                Figure(f"output_rate{last}", produced / seconds, "tokens/s", f"{produced:,} tokens in {seconds:.1f} s"),
                Figure(f"total_rate{last}", (produced + sum(map(len, prompts))) / seconds, "tokens/s", "with prompts"),
            ]
        info = llm.info
    settings = {
        "model": options.model, "dtype": info.dtype, "device": info.device, "num": options.num,
        "input": f"{options.min_input}-{options.max_input}", "output": f"{options.min_output}-{options.max_output}",
        "seed": options.seed, "temperature": options.temperature, "max_running": options.max_running,
        "tensor_parallel_size": info.tensor_parallel_size, "kv_tokens": info.kv_pages * info.page_size,
    }  # fmt: skip
    return Report("offline", settings, rates)


def workload(
    options: argparse.Namespace, random: Random, highest: int = _HIGHEST_TOKEN
) -> tuple[list[list[int]], list[SamplingParams]]:
    """Prompts first, then output lengths: the published order of draws, so seed 0 gives the published lengths."""
    prompts = [
        random_tokens(random, random.randint(options.min_input, options.max_input), highest) for _ in range(options.num)
    ]
    sampling = [
        SamplingParams(
            temperature=options.temperature,
            ignore_eos=True,
            max_tokens=random.randint(options.min_output, options.max_output),
        )
        for _ in range(options.num)
    ]
    return prompts, sampling


def random_tokens(random: Random, count: int, highest: int) -> list[int]:
    return [random.randint(0, highest) for _ in range(count)]

"""Whether memory stays flat: the engine's process and the front's after many requests and aborts, beside after few.

Requests are short and random, some share prefixes, and some are given up at a random moment. The engine checks after
every step that each of its pages is free, cached or referenced exactly once; it would end if one were not.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from random import Random

import psutil

from ..client import AsyncEngine
from ..config import EngineConfig
from ..request import Request, SamplingParams
from .offline import random_tokens
from .report import Figure, Report, arguments, progress
from .shapes import model_folder

MIB = 2**20


def main(words: Sequence[str]) -> int:
    parser = arguments("memory", __doc__)
    parser.add_argument(
        "model", nargs="?", default="pocket", help="with its real weights: a folder, a hub id or pocket"
    )
    parser.add_argument("--requests", type=int, default=1000, help="requests that run to their end")
    parser.add_argument("--aborts", type=int, default=200, help="further requests that are given up")
    parser.add_argument("--first", type=int, default=50, help="requests after which memory is measured first")
    parser.add_argument("--concurrency", type=int, default=16, help="requests at a time")
    parser.add_argument("--kv-tokens", type=int, default=8192, help="size of the KV cache: small, so that it evicts")
    parser.add_argument("--seed", type=int, default=0, help="of the workload")
    options = parser.parse_args(words)
    with model_folder(options.model) as folder:
        report = asyncio.run(measure(folder, options))
    report.emit(options.json)
    return 0


@dataclass(frozen=True)
class Job:
    """A request, and after how many of its tokens it is given up, or None."""

    request: Request
    give_up: int | None


async def measure(folder: str, options: argparse.Namespace) -> Report:
    config = EngineConfig(model=folder, kv_tokens=options.kv_tokens, debug=True, seed=options.seed)
    async with AsyncEngine(config) as engine:
        info = await engine.ready()
        jobs = list(_jobs(options, info.vocab_size))
        with progress() as bar:
            task = bar.add_task("requests", total=len(jobs))

            async def run(jobs: Sequence[Job]) -> None:
                waiting = iter(jobs)

                async def work() -> None:
                    for job in waiting:
                        await _serve(engine, job)
                        bar.advance(task)

                async with asyncio.TaskGroup() as group:
                    for _ in range(options.concurrency):
                        group.create_task(work())

            await run(jobs[: options.first])
            early = _memory(engine)
            await run(jobs[options.first :])
            late = _memory(engine)
        restarts = engine.restarts
    figures = [
        Figure("engine_early", early[0] / MIB, "MiB", f"resident, after {options.first} requests"),
        Figure("engine_late", late[0] / MIB, "MiB", f"after {options.requests} requests and {options.aborts} aborts"),
        Figure("engine_change", 100 * (late[0] / early[0] - 1), "%"),
        Figure("front_early", early[1] / MIB, "MiB"),
        Figure("front_late", late[1] / MIB, "MiB"),
        Figure("front_change", 100 * (late[1] / early[1] - 1), "%"),
        Figure("engine_restarts", restarts, "", "0: the pages added up after every step"),
    ]
    settings = {
        "model": options.model, "requests": options.requests, "aborts": options.aborts, "first": options.first,
        "concurrency": options.concurrency, "kv_tokens": info.kv_pages * info.page_size, "seed": options.seed,
    }  # fmt: skip
    return Report("memory", settings, figures)


def _jobs(options: argparse.Namespace, vocab_size: int) -> Iterator[Job]:
    """The requests that run to their end, with those that are given up strewn among them."""
    random = Random(options.seed)
    shared = [random_tokens(random, 200, vocab_size - 1) for _ in range(8)]
    given_up = [False] * options.requests + [True] * options.aborts
    random.shuffle(given_up)
    for number, aborted in enumerate(given_up):
        prefix = random.choice(shared)[: random.randint(0, 200)]
        output = random.randint(1, 48)
        request = Request(
            id=str(number),
            prompt=[*prefix, *random_tokens(random, random.randint(1, 120), vocab_size - 1)],
            sampling=SamplingParams(max_tokens=output, temperature=random.choice((0.0, 1.0))),
        )
        yield Job(request, random.randint(0, output - 1) if aborted else None)


async def _serve(engine: AsyncEngine, job: Job) -> None:
    async with aclosing(await engine.submit(job.request)) as tokens:
        seen = 0
        if job.give_up == 0:
            return
        async for output in tokens:
            seen += len(output.token_ids)
            if job.give_up is not None and seen >= job.give_up:
                return


def _memory(engine: AsyncEngine) -> tuple[int, int]:
    """Resident bytes of the engine's process and of this one."""
    return psutil.Process(engine.pid).memory_info().rss, psutil.Process().memory_info().rss

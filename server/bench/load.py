"""Requests under way together: a number of clients that never rest, or arrivals at random moments."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio

from .client import Answer, Client
from .errors import RequestFailed
from .prompts import user


@dataclass(frozen=True)
class Job:
    """A request to send. ``arrival`` counts seconds from the start; None is as soon as a place is free."""

    prompt: str
    max_tokens: int
    arrival: float | None = None


@dataclass
class Outcome:
    """What became of the jobs. ``seconds`` is from the first request to the last answer."""

    answers: list[Answer] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0


async def drive(
    client: Client,
    jobs: Sequence[Job],
    *,
    concurrency: int | None,
    ignore_eos: bool = True,
    done: Callable[[], object] = lambda: None,
) -> Outcome:
    """Send every job, at most ``concurrency`` at a time.

    The time of a job with an arrival counts from there, also while it waits for a place: a server that falls behind
    must not look fast because it is asked less.
    """
    outcome = Outcome()
    places = anyio.CapacityLimiter(concurrency or math.inf)
    start = time.perf_counter()

    async def send(job: Job) -> None:
        async with places:
            begun = None if job.arrival is None else start + job.arrival
            try:
                answer = await client.chat(user(job.prompt), job.max_tokens, ignore_eos=ignore_eos, begun=begun)
            except RequestFailed as error:
                outcome.errors.append(str(error))
            else:
                outcome.answers.append(answer)
            done()

    async with anyio.create_task_group() as group:
        for job in jobs:
            if job.arrival is not None:
                await anyio.sleep(max(0.0, start + job.arrival - time.perf_counter()))
            group.start_soon(send, job)
    outcome.seconds = time.perf_counter() - start
    return outcome

"""The choices of one answer: a request of the engine for each, all of them or none."""

from __future__ import annotations

import secrets
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from ...engine import Request, SamplingParams
from ..chat.generate import Generation
from .schemas import GenerationRequest


def engine_requests(
    asked: GenerationRequest, prompt: list[int], sampling: SamplingParams, *, cache_salt: str, first: int = 0
) -> list[Request]:
    """``n`` requests for the same prompt; ``first`` is the index of the first choice.

    ``cache_salt`` as of :class:`engine.Request`.
    """
    name = secrets.token_hex(12)
    return [
        Request(
            id=f"{name}-{index}",
            prompt=prompt,
            sampling=_of_choice(sampling, first + index),
            program=asked.program or asked.session_id,
            priority=asked.priority or 0,
            cache_salt=cache_salt,
        )
        for index in range(asked.n or 1)
    ]


async def start_all(starting: Sequence[Coroutine[Any, Any, Generation]]) -> list[Generation]:
    """Await each in turn. Either all are accepted or none runs. Raises EngineError."""
    waiting = list(starting)
    started: list[Generation] = []
    try:
        while waiting:
            started.append(await waiting.pop(0))
    except BaseException:
        for left in waiting:
            left.close()
        await end_all(started)
        raise
    return started


async def end_all(generations: Sequence[Generation]) -> None:
    for generation in generations:
        await generation.aclose()


def _of_choice(sampling: SamplingParams, index: int) -> SamplingParams:
    """Choices of one seeded request differ from each other, and each is the same every time."""
    if sampling.seed is None or index == 0:
        return sampling
    return msgspec.structs.replace(sampling, seed=(sampling.seed + index) % 2**63)

"""Conversations of two turns over HTTP: what the second one still waits for when the first one's prefix is cached."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .client import Answer, Client, Endpoint
from .prompts import Gauge, random_words, user

_ANSWER = 32  # tokens of the first turn's answer, at most
_FOLLOWING = 30  # tokens of what the second turn adds


@dataclass(frozen=True)
class Turns:
    """The answers of one conversation."""

    first: Answer
    second: Answer


async def second_turns(endpoint: Endpoint, prefix_tokens: int, repeat: int, seed: int) -> list[Turns]:
    """``repeat`` conversations, one after the other, each with a new prefix. Raises BenchError."""
    conversations: list[Turns] = []
    async with Client(endpoint) as client:
        gauge = await Gauge.of(client, str(seed))
        for number in range(repeat):
            random = Random(f"{seed}/{number}")
            messages = user(random_words(random, gauge.whole(prefix_tokens)))
            first = await client.chat(messages, _ANSWER)
            messages += [{"role": "assistant", "content": first.text}]
            messages += user(random_words(random, gauge.inside(_FOLLOWING)))
            conversations.append(Turns(first, await client.chat(messages, 1)))
    return conversations

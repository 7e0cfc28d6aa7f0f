"""What the scheduler tells of its requests."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ..errors import EngineError
from ..request import TokenOutput


class Accepted(msgspec.Struct, frozen=True):
    """The request passed all checks and is queued."""

    id: str


class Produced(msgspec.Struct, frozen=True, gc=False):
    """Tokens of a request, and its end when ``output.finish_reason`` is set; nothing follows the end."""

    id: str
    output: TokenOutput


class Failed(msgspec.Struct, frozen=True):
    """The request ended with an error; nothing follows."""

    id: str
    error: EngineError


Event = Accepted | Produced | Failed


class Load(msgspec.Struct, frozen=True):
    """How busy the engine is: requests, pages of KV cache by their state, and retractions since the start.

    Attributes:
        used: pages that running requests hold. cached: pages that only the prefix cache holds.
    """

    running: int = 0
    waiting: int = 0
    pages: int = 0
    used: int = 0
    cached: int = 0
    retractions: int = 0


@dataclass
class Counters:
    """Totals since the start."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    steps: int = 0
    retractions: int = 0

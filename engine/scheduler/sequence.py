"""A request on its way through the scheduler."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from ..cache.kv import Lease
from ..cache.radix import TOKEN_BYTES, encode_key
from ..request import Request

if TYPE_CHECKING:
    from ..sampling.grammar import GrammarState


class Phase(Enum):
    COMPILING = 1  # its grammar is being compiled
    WAITING = 2
    RUNNING = 3  # has a slot and pages
    FINISHED = 4  # gives both back when no launched step names it any more


class Sequence:
    """State of one request.

    Attributes:
        tokens: prompt and the output that the host knows.
        computed: tokens whose KV the launched steps compute.
        target: length up to which the tokens came from the host; from there on each step's token follows the last.
        sampled: output tokens that the launched steps sample, so at least what the host knows.
        in_flight: launched steps that name this sequence and are not collected.
        limit: most output tokens.
        ends: ids that end the output.
    """

    __slots__ = (
        "_key", "admitted", "arrival", "cached_tokens", "computed", "ends", "grammar", "in_flight",
        "lease", "limit", "phase", "prompt_length", "request", "sampled", "seed", "slot", "target", "tokens",
    )  # fmt: skip

    def __init__(self, request: Request, key: bytes, arrival: int, limit: int, ends: frozenset[int], seed: int) -> None:
        self.request = request
        self.arrival = arrival
        self.limit = limit
        self.ends = ends
        self.seed = seed
        self.tokens = list(request.prompt)
        self.prompt_length = len(request.prompt)
        self._key = key  # of the first tokens; that of output is made as it is asked for
        self.phase = Phase.WAITING
        self.grammar: GrammarState | None = None
        self.lease: Lease | None = None
        self.slot = -1
        self.computed = 0
        self.target = 0
        self.sampled = 0
        self.in_flight = 0
        self.cached_tokens = 0
        self.admitted = False  # once, with its usage noted

    @property
    def prefilling(self) -> bool:
        return self.computed < self.target

    @property
    def decoding(self) -> bool:
        """Whether its next token may be computed."""
        return self.phase is Phase.RUNNING and not self.prefilling and self.sampled < self.limit

    @property
    def pages(self) -> list[int]:
        """What it holds of the cache."""
        return self.lease.pages if self.lease is not None else []

    @property
    def produced(self) -> int:
        """Output tokens that the host knows."""
        return len(self.tokens) - self.prompt_length

    def prepare(self) -> None:
        """Get ready for admission: everything known so far is to be computed or found in the cache."""
        self.target = len(self.tokens)

    def key_of(self, tokens: int) -> bytes:
        """The cache key of the first ``tokens`` tokens."""
        known = len(self._key) // TOKEN_BYTES
        if known < tokens:
            self._key += encode_key(self.tokens[known:])
        return self._key[: tokens * TOKEN_BYTES]

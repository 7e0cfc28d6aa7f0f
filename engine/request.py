"""What a caller asks of the engine: token ids in, sampling parameters, and where the request stands among others.

These are wire types (msgspec): the front builds them, the scheduler reads them, nothing else interprets them.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from .errors import InvalidRequest

GrammarKind = Literal["json_schema", "regex", "ebnf", "structural_tag"]

MAX_LOGPROBS = 20


class Grammar(msgspec.Struct, frozen=True):
    """A constraint on the output: ``kind`` and its source text (JSON for json_schema and structural_tag)."""

    kind: GrammarKind
    source: str


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is chosen and when to stop. Names follow OpenAI, vLLM and SGLang.

    Attributes:
        max_tokens: most output tokens; None means what the context leaves.
        min_tokens: no end-of-sequence or stop id before this many output tokens.
        temperature: 0 is greedy.
        top_k: 0 or -1 is off. top_p: 1 is off. min_p: 0 is off.
        presence_penalty, frequency_penalty: over output tokens, -2..2.
        repetition_penalty: over prompt and output, 0.01..100, 1 is off.
        logit_bias: token id -> added logit, -100..100.
        seed: same seed, position and logits give the same token, whatever else is in the batch.
        stop_token_ids: further ids that end the output.
        ignore_eos: the model's own end ids do not end the output.
        logprobs: None is off; k gives each token's log-probability and its k most likely alternatives.
        grammar: constraint that every output prefix satisfies.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    grammar: Grammar | None = None

    def check(self, vocab_size: int) -> None:
        """Raise :class:`InvalidRequest` for the first value out of range."""
        _require(self.max_tokens is None or self.max_tokens >= 1, "max_tokens", "must be at least 1")
        _require(self.min_tokens >= 0, "min_tokens", "must be at least 0")
        _within("temperature", self.temperature, 0.0, 100.0)
        _require(self.top_k >= -1, "top_k", "must be -1, 0 (both off) or more")
        _require(0.0 < self.top_p <= 1.0, "top_p", "must be above 0 and at most 1")
        _within("min_p", self.min_p, 0.0, 1.0)
        _within("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _within("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _within("repetition_penalty", self.repetition_penalty, 0.01, 100.0)
        for token, bias in self.logit_bias.items():
            _require(0 <= token < vocab_size, "logit_bias", f"names token {token}, the vocabulary has {vocab_size}")
            _within("logit_bias", bias, -100.0, 100.0)
        for token in self.stop_token_ids:
            _require(0 <= token < vocab_size, "stop_token_ids", f"names token {token}, the vocabulary has {vocab_size}")
        if self.seed is not None:
            _require(-(2**63) <= self.seed < 2**64, "seed", "must fit 64 bits")
        if self.logprobs is not None:
            _require(0 <= self.logprobs <= MAX_LOGPROBS, "logprobs", f"must be between 0 and {MAX_LOGPROBS}")


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sequence to continue.

    Attributes:
        id: unique among the requests that are alive.
        prompt: token ids, at least one.
        program: names one agent's life; the cache may treat its turns together.
        priority: lower runs earlier (vLLM's convention).
        cache_salt: prefixes are shared only among equal salts.
        deadline: Unix time in seconds after which the request is given up, or None.
    """

    id: str
    prompt: list[int]
    sampling: SamplingParams = SamplingParams()
    program: str | None = None
    priority: int = 0
    cache_salt: str = ""
    deadline: float | None = None


FinishReason = Literal["stop", "length"]


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Log-probability of the chosen token, and the most likely ids with theirs (best first)."""

    logprob: float
    top: list[tuple[int, float]] = []


class TokenOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The next tokens of one request. Every step makes hundreds, which the garbage collector need not follow.

    The output ends with exactly one item whose ``finish_reason`` is set; an end-of-sequence or stop id is included in
    ``token_ids`` and is then the last one. ``stop_token`` is that id, None when the output did not end by a token.
    """

    token_ids: list[int]
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None
    stop_token: int | None = None
    cached_tokens: int = 0


def _require(condition: bool, param: str, message: str) -> None:
    if not condition:
        raise InvalidRequest(f"{param} {message}.", param)


def _within(param: str, value: float, low: float, high: float) -> None:
    _require(math.isfinite(value) and low <= value <= high, param, f"must be between {low:g} and {high:g}")

"""Log-probabilities of tokens as OpenAI's APIs show them."""

from __future__ import annotations

from collections.abc import Iterable

from ...engine import Tokenizer
from ...engine.request import TokenLogprob
from . import wire


def shown(tokenizer: Tokenizer, tokens: Iterable[tuple[int, TokenLogprob]]) -> list[wire.TokenLogprob]:
    """One for each token but the one that ends a turn."""
    ends = tokenizer.eos_token_ids
    return [_shown(tokenizer, token, value) for token, value in tokens if token not in ends]


def _shown(tokenizer: Tokenizer, token: int, value: TokenLogprob) -> wire.TokenLogprob:
    top = [wire.TopLogprob(*_spelled(tokenizer, other), logprob) for other, logprob in value.top]
    return wire.TokenLogprob(*_spelled(tokenizer, token), value.logprob, top)


def _spelled(tokenizer: Tokenizer, token: int) -> tuple[str, list[int]]:
    raw = tokenizer.token_bytes(token)
    return raw.decode("utf-8", "replace"), list(raw)

"""The fewest tokens that a text can become, known from its length: what cannot fit a context need not be tokenised.

Tokenising takes some hundred bytes of memory for each byte of text, so this is asked first. The bound is never too
high. Where a tokenizer may drop text, or take any length of it for one token, there is none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

# Normalised to NFC, a text has at least 1/3.5 of its bytes in UTF-8: U+1FBE U+0308 U+0301 becomes U+0390.
_NFC_SHRINKS = 4
# What "white space" means to added tokens that swallow the white space next to them.
_WHITE = [character for character in map(chr, range(0x3001)) if character.isspace()]
# Steps that cut text and drop none of it.
_CUTS = {"ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "UnicodeScripts", "FixedLength"}


class TokenBounds:
    """Bounds of one tokenizer."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._longest = _longest(backend)
        self._normalises = "NFC" in (step["type"] for step in _steps(backend.normalizer, "normalizers"))
        added = backend.get_added_tokens_decoder().values()
        self._swallows = any(token.lstrip or token.rstrip for token in added)

    def least(self, text: str) -> int:
        """So many tokens ``text`` becomes at least; 0 where that is not known."""
        if self._longest is None:
            return 0
        size = len(text.encode(errors="replace"))
        if self._swallows:
            size -= sum(text.count(white) * len(white.encode()) for white in _WHITE)
        return -(-size // (self._longest * (_NFC_SHRINKS if self._normalises and not text.isascii() else 1)))


def _longest(backend: tokenizers.Tokenizer) -> int | None:
    """The bytes of normalised text that one token can stand for; None where there is no bound."""
    model = backend.model
    cuts = _steps(backend.pre_tokenizer, "pretokenizers")
    if not isinstance(model, tokenizers.models.BPE) or not all(map(_keeps, cuts)):
        return None
    if not all(map(_widens, _steps(backend.normalizer, "normalizers"))):
        return None
    vocabulary = backend.get_vocab(with_added_tokens=False)
    added = (len(token.content.encode()) for token in backend.get_added_tokens_decoder().values())
    if any(step["type"] == "ByteLevel" for step in cuts):  # a character of a token's name is a byte
        whole = vocabulary.keys() >= set(pre_tokenizers.ByteLevel.alphabet())
        names = map(len, vocabulary)
    else:
        whole = model.byte_fallback and all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
        names = (len(name.encode()) for name in vocabulary)
    return max((*names, *added), default=None) if whole else None


def _keeps(cut: dict[str, Any]) -> bool:
    return cut["type"] in _CUTS and cut.get("behavior") != "Removed"


def _widens(step: dict[str, Any]) -> bool:
    """What it makes of a text is no shorter, NFC apart."""
    if step["type"] == "Replace":
        pattern = step["pattern"].get("String")
        return pattern is not None and len(step["content"].encode()) >= len(pattern.encode())
    return step["type"] in ("NFC", "Prepend")


def _steps(component: Any, parts: str) -> Sequence[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, as in tokenizer.json."""
    if component is None:
        return []
    step = json.loads(component.__getstate__())
    return step[parts] if step["type"] == "Sequence" else [step]

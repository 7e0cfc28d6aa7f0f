"""A model's tokenizer as xgrammar wants it: the bytes that every token id adds to a text.

They are the bytes that the engine's own detokenizer makes text of, so what a grammar allows is what a client will
read, for every kind of tokenizer that the engine serves. (``TokenizerInfo.from_huggingface`` guesses how the vocabulary
spells bytes, and reads added tokens by the same rule, which is wrong for those beyond ASCII.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgrammar

from ..tokenizer import Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """``info`` for xgrammar, and what it does not know.

    Attributes:
        spelled: (words,) int32 bitmask of the ids that add any bytes. Padding adds none.
        special: the special tokens, id to text.
        stop_token_ids: the ids that end an output by themselves.
    """

    info: xgrammar.TokenizerInfo
    spelled: np.ndarray
    special: dict[int, str]
    stop_token_ids: tuple[int, ...]


def load_vocabulary(folder: str | Path, vocab_size: int) -> Vocabulary:
    """Read the tokenizer in ``folder``. Raises ModelNotFound when its files are missing or unusable.

    ``vocab_size`` is the model's: its logits may be wider than the tokenizer's vocabulary (padding: these ids are never
    allowed) or narrower (tokens that the model cannot produce).
    """
    tokenizer = Tokenizer.load(folder)
    known = min(vocab_size, tokenizer.vocab_size)
    words = [tokenizer.token_bytes(token) for token in range(known)] + [b""] * (vocab_size - known)
    stops = tuple(token for token in tokenizer.eos_token_ids if token < vocab_size)
    info = xgrammar.TokenizerInfo(words, xgrammar.VocabType.RAW, vocab_size=vocab_size, stop_token_ids=list(stops))
    special = {token: words[token].decode(errors="replace") for token in tokenizer.special_ids if token < vocab_size}
    bits = np.zeros(-(-vocab_size // 32) * 32, np.bool_)
    bits[:vocab_size] = [len(word) > 0 for word in words]
    return Vocabulary(info, np.packbits(bits, bitorder="little").view(np.int32), special, stops)

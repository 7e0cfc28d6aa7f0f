"""What each token adds to the text, as bytes: the ground on which text can be streamed.

A token's text is not a string of its own: in byte-level vocabularies, and through byte-fallback tokens elsewhere, a
character is spread over several tokens. It is a string of *bytes* though, and that string depends on nothing but the
token and on whether it is the first of the output. So the stream is the concatenation of these bytes, read as UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

import tokenizers

from ..errors import ModelNotFound

T = TypeVar("T")

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")

# Decoders that treat every token by itself, but for a rule about the first one.
_PER_TOKEN = {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace", "WordPiece"}


class _ByToken(dict[int, T], Generic[T]):
    """Computed on first use and kept; every other use is one look into a dict, for this is done for every token."""

    def __init__(self, compute: Callable[[int], T]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, token: int) -> T:
        piece = self[token] = self._compute(token)
        return piece


class TokenPieces:
    """Bytes by token id, for one tokenizer.

    Attributes:
        first: what a token adds when it begins the output.
        later: what it adds after other tokens. Ids that the tokenizer does not know add nothing.
        whole: ``later`` as text; None for a token that holds a part of a character.

    Raises :class:`ModelNotFound` when the tokenizer's decoder cannot be taken token by token.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        steps = _decoder_steps(backend)
        kinds = [step["type"] for step in steps]
        self._byte_level = kinds == ["ByteLevel"]
        self._byte_fallback = "ByteFallback" in kinds
        if not self._byte_level:
            _check_per_token(steps)
            self._anchor = backend.encode("a", add_special_tokens=False).ids[-1:]
            self._anchor_text = backend.decode(self._anchor, skip_special_tokens=False)
        self.later = _ByToken(partial(self._compute, is_first=False))
        self.first = self.later if self._byte_level else _ByToken(partial(self._compute, is_first=True))
        self.whole = _ByToken(self._whole)

    def _whole(self, token: int) -> str | None:
        try:
            return self.later[token].decode()
        except UnicodeDecodeError:
            return None

    def _compute(self, token: int, *, is_first: bool) -> bytes:
        name = self._backend.id_to_token(token)
        if name is None:
            return b""
        if self._byte_level:
            return _byte_level_piece(name)
        byte = _BYTE_TOKEN.fullmatch(name) if self._byte_fallback else None
        if byte and int(byte[1], 16) >= 0x80:  # part of a character; ASCII is a character like any other
            return bytes([int(byte[1], 16)])
        if is_first:
            return self._backend.decode([token], skip_special_tokens=False).encode()
        text = self._backend.decode([*self._anchor, token], skip_special_tokens=False)
        return text.removeprefix(self._anchor_text).encode()


def _decoder_steps(backend: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    if backend.decoder is None:
        return []
    decoder = json.loads(backend.decoder.__getstate__())  # its part of tokenizer.json
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]


def _check_per_token(steps: list[dict[str, Any]]) -> None:
    fused = False
    for step in steps:
        kind = step["type"]
        if kind not in _PER_TOKEN or (fused and kind not in ("Strip", "Fuse")) or (kind == "Strip" and step["stop"]):
            raise ModelNotFound(
                f"This tokenizer's decoder has a step {kind!r} that cannot be streamed token by token here. "
                f"Supported are ByteLevel, and sequences of {', '.join(sorted(_PER_TOKEN))}."
            )
        fused = fused or kind == "Fuse"


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes: printable Latin-1 stands for itself, the rest from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in alphabet.values())
    alphabet.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return alphabet


_ALPHABET = _byte_alphabet()


def _byte_level_piece(name: str) -> bytes:
    """Added tokens are plain text: a character outside the alphabet says so for the whole token."""
    try:
        return bytes([_ALPHABET[character] for character in name])
    except KeyError:
        return name.encode()

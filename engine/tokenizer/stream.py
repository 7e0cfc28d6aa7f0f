"""The output as its reader sees it: text, up to the stop string.

Stop strings are matched where text is made. A stop string may begin and end within tokens; the text that may yet turn
out to be one is held back, so no part of a stop string is ever shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..errors import InvalidRequest
from .detokenizer import IncrementalDetokenizer
from .tokenizer import Tokenizer


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What one push brought.

    Attributes:
        text: new text, certain and free of stop strings.
        tokens: how many of the pushed tokens belong to the output; those after the one that completed a stop do not.
        stop: the stop string that ended the output, or None while it runs.
    """

    text: str
    tokens: int
    stop: str | None


class TextStream:
    """One output's tokens in, text out; ends at the first of the ``stop`` strings to be completed.

    Where two stop strings end at the same character the longer one counts. How the tokens are cut into pushes changes
    neither the text nor which stop string is found. ``include_stop`` leaves the stop string in the text.
    ``skip_special_tokens`` makes special tokens (``<|im_end|>``) add no text.

    Raises :class:`InvalidRequest` for an empty stop string.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str] = (),
        include_stop: bool = False,
        skip_special_tokens: bool = True,
    ) -> None:
        if "" in stop:
            raise InvalidRequest("stop must not contain an empty string.", "stop")
        self._detokenizer = IncrementalDetokenizer(
            tokenizer.pieces, tokenizer.special_ids if skip_special_tokens else frozenset()
        )
        self._stops = StopScanner(stop, include_stop=include_stop)

    @property
    def stop(self) -> str | None:
        """The stop string that ended the output, or None."""
        return self._stops.found

    def push(self, token_ids: Sequence[int]) -> Piece:
        """Take the next tokens. After the stop, everything is ignored."""
        if not self._stops.strings:
            return Piece(self._detokenizer.push(token_ids), len(token_ids), None)
        pieces: list[str] = []
        taken = 0
        for token in token_ids:
            if self.stop is not None:
                break
            pieces.append(self._stops.scan(self._detokenizer.push((token,))))
            taken += 1
        return Piece("".join(pieces), taken, self.stop)

    def finish(self) -> Piece:
        """The text that was held back, once the output has ended without a stop string."""
        if self.stop is not None:
            return Piece("", 0, self.stop)
        text = self._stops.scan(self._detokenizer.finish())
        return Piece(text + self._stops.flush(), 0, self.stop)


class StopScanner:
    """Text in, text out up to the first of the ``strings`` to be completed; ``found`` is that string, or None."""

    def __init__(self, strings: Sequence[str], *, include_stop: bool = False) -> None:
        # Longest first, so that the first to match at a character is the one that counts.
        self.strings = sorted(set(strings), key=len, reverse=True)
        self.found: str | None = None
        self._matchers = [_Matcher(text) for text in self.strings]
        self._include_stop = include_stop
        self._held = ""

    def scan(self, text: str) -> str:
        """What may be shown after ``text``. Nothing is, once a stop string has been found."""
        if self.found is not None:
            return ""
        whole = self._held + text
        for position, character in enumerate(text, start=len(self._held) + 1):
            # Every matcher sees every character: no short circuit.
            complete = [matcher.text for matcher in self._matchers if matcher.step(character)]
            if complete:
                self.found = complete[0]
                self._held = ""
                return whole[: position if self._include_stop else position - len(self.found)]
        shown = len(whole) - max((matcher.matched for matcher in self._matchers), default=0)
        self._held = whole[shown:]
        return whole[:shown]

    def flush(self) -> str:
        """The text that was held back, where it is certain that no stop string goes on behind it."""
        held, self._held = self._held, ""
        for matcher in self._matchers:
            matcher.matched = 0
        return held


class _Matcher:
    """Knuth–Morris–Pratt, one character at a time; linear whatever the text and the stop string are."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0
        # fallback[n]: longest proper prefix of the stop string that also ends its first n characters.
        self._fallback = [0, 0]
        for character in text[1:]:
            self._fallback.append(self._extend(self._fallback[-1], character))

    def step(self, character: str) -> bool:
        """Whether the stop string ends at this character. ``matched`` is how much of it the text now ends with."""
        self.matched = self._extend(self.matched, character)
        return self.matched == len(self.text)

    def _extend(self, matched: int, character: str) -> int:
        while matched and self.text[matched] != character:
            matched = self._fallback[matched]
        return matched + (self.text[matched] == character)

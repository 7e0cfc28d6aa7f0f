"""Token ids to text, incrementally: every push gives the text that is now certain.

The cost of a token does not depend on how many came before. Half a character is held back until its other half comes;
bytes that can no longer become a character read as U+FFFD, one for each maximal broken part (Unicode's recommended
practice, and what decoding the whole output does in byte-level vocabularies).
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Sequence

from .pieces import TokenPieces


class IncrementalDetokenizer:
    """The text of one output. Tokens in ``skip`` add nothing.

    However the tokens are cut into pushes, the pieces concatenate to the same text, and that is what decoding them all
    at once gives. One exception: where a run of byte-fallback tokens contains an invalid byte, decoding at once throws
    the whole run away, and its valid characters have been shown here already.
    """

    def __init__(self, pieces: TokenPieces, skip: frozenset[int] = frozenset()) -> None:
        self._pieces = pieces
        self._skip = skip
        self._held = b""  # of a character that is not complete
        self._started = False

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that ``token_ids`` completes."""
        if len(token_ids) == 1 and self._started and not self._held:  # the step of a stream
            [token] = token_ids
            whole = "" if token in self._skip else self._pieces.whole[token]
            if whole is not None:
                return whole
        if not self._skip.isdisjoint(token_ids):
            token_ids = [token for token in token_ids if token not in self._skip]
        spelled = list(map(self._pieces.later.__getitem__, token_ids))
        if spelled and not self._started:
            self._started = True
            spelled[0] = self._pieces.first[token_ids[0]]
        data = self._held + b"".join(spelled)
        text, taken = utf_8_decode(data, "replace")
        self._held = data[taken:]
        return text

    def finish(self) -> str:
        """The rest: U+FFFD where the output ended within a character."""
        held, self._held = self._held, b""
        return held.decode(errors="replace")

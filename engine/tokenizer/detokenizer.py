"""Token ids to text, incrementally: every push gives the text that is now certain.

The cost of a token does not depend on how many came before. Half a character is held back until its other half comes;
bytes that can no longer become a character read as U+FFFD, one for each maximal broken part (Unicode's recommended
practice, and what decoding the whole output does in byte-level vocabularies).
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence

from .pieces import TokenPieces

_Utf8 = codecs.getincrementaldecoder("utf-8")


class IncrementalDetokenizer:
    """The text of one output. Tokens in ``skip`` add nothing.

    However the tokens are cut into pushes, the pieces concatenate to the same text, and that is what decoding them all
    at once gives. One exception: where a run of byte-fallback tokens contains an invalid byte, decoding at once throws
    the whole run away, and its valid characters have been shown here already.
    """

    def __init__(self, pieces: TokenPieces, skip: Collection[int] = ()) -> None:
        self._pieces = pieces
        self._skip = skip
        self._utf8 = _Utf8("replace")
        self._started = False

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that ``token_ids`` completes."""
        if self._skip:
            token_ids = [token for token in token_ids if token not in self._skip]
        first = b""
        if token_ids and not self._started:
            self._started = True
            first, token_ids = self._pieces.first(token_ids[0]), token_ids[1:]
        return self._utf8.decode(first + b"".join(map(self._pieces.later, token_ids)))

    def finish(self) -> str:
        """The rest: U+FFFD where the output ended within a character."""
        return self._utf8.decode(b"", final=True)

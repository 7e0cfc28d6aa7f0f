"""Keeps what others say from being read as the model's markup.

Turn marks, marks of calls and the like are tokens of their own. A text that only spells one, such as a web page, a
tool's result or a definition of somebody's tool, is tokenised as the text it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from ...engine import Tokenizer
from .context import check_length

# Splits a text where it spells a mark. A noncharacter: Unicode guarantees that no text means anything by it.
_SPLIT = "\ufdd0"
_ESCAPED = "\\ufdd0"  # as templates print it that show a tool as Python or JSON in ASCII does
# A sign and somewhere a letter: neither runs of white space nor words, which some tokenizers have among their marks.
_MARK = re.compile(r"\s*[^\w\s].*[^\W\d_]", re.DOTALL)


class Markup:
    """
    Args:
        tokenizer: what was added to its vocabulary and looks like a mark is one, not only what its files call special:
            makers leave that out where outputs are to show the mark.
        others: what else is a mark, where it is one token.
    """

    def __init__(self, tokenizer: Tokenizer, others: Iterable[str] = ()) -> None:
        added, special = tokenizer.added_tokens, tokenizer.special_ids
        marks = {text for token, text in added.items() if token in special or _MARK.match(text)}
        marks |= {text for text in map(str.strip, others) if tokenizer.token_id(text) is not None}
        spelled = _begun(sorted(text for text in marks if len(text) > 1))
        self._begun = re.compile(spelled) if spelled else None
        self._tokenizer = tokenizer

    def as_text(self, text: str) -> str:
        """``text`` so that no mark in it is one, for :meth:`encode`."""
        text = text.replace(_SPLIT, "")
        return self._begun.sub(rf"\g<0>{_SPLIT}", text) if self._begun else text

    def all_as_text(self, value: object) -> object:
        """The same for every string of a JSON value, names of members too."""
        if isinstance(value, str):
            return self.as_text(value)
        if isinstance(value, list):
            return [self.all_as_text(item) for item in value]
        if isinstance(value, dict):
            return {self.as_text(name): self.all_as_text(item) for name, item in value.items()}
        return value

    @staticmethod
    def unescaped(text: str) -> str:
        """What a template made of :meth:`all_as_text`, whichever way it prints values."""
        return text.replace(_ESCAPED, _SPLIT)

    def encode(self, text: str, limit: int | None = None) -> list[int]:
        """Token ids. Raises ContextOverflow, before it costs much, for what can only be ``limit`` of them or more."""
        pieces = text.split(_SPLIT)
        if limit is not None:
            check_length(pieces, self._tokenizer, limit)
        return [token for piece in pieces for token in self._tokenizer.encode(piece)]


def _begun(marks: Sequence[str]) -> str:
    """A regular expression of the first character of any of ``marks``, sorted, where the rest follows."""
    heads = groupby(marks, lambda mark: mark[0])
    return "|".join(f"{re.escape(head)}(?={_any([mark[1:] for mark in group])})" for head, group in heads)


def _any(texts: Sequence[str]) -> str:
    """A regular expression that matches where one of ``texts``, sorted, stands.

    As a tree: there may be thousands, which are not tried one by one at every place.
    """
    if not texts[0]:
        return ""
    heads = groupby(texts, lambda text: text[0])
    return f"(?:{'|'.join(re.escape(head) + _any([text[1:] for text in group]) for head, group in heads)})"

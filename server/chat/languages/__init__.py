"""Languages of texts that clients describe, by a regular expression or in Lark, and how a call's grammar says them.

Knows no tool-call format: a format says how it writes a text, and gets the language of what is then written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from . import lark, regex
from .nodes import Language, LanguageError

__all__ = ["Language", "LanguageError", "Syntax", "language_of"]

_SURROGATE = re.compile("[\ud800-\udfff]")

Syntax = Literal["lark", "regex"]

MAX_DEFINITION = 16 * 1024
"""Characters of a definition. Reading one of this size takes half a second, away from the event loop."""


@lru_cache(maxsize=256)  # an agent sends the same tools with every request
def language_of(syntax: Syntax, definition: str) -> Language:
    """The language that a client defines. Raises :class:`LanguageError`."""
    if len(definition) > MAX_DEFINITION:
        raise LanguageError(f"it has {len(definition):,} characters, at most {MAX_DEFINITION:,} are allowed")
    if _SURROGATE.search(definition):
        raise LanguageError("it holds half a character, a surrogate")
    return regex.language(definition) if syntax == "regex" else lark.language(definition)

"""Known tools with unknown words, so that a request must be matched to a schema by reading, not by recalling.

A model that sees a family a thousand times learns it by heart: "oven" means set_oven, whatever stands in the prompt.
A disguise puts another word in the place of one that a request and its tool share, on both sides alike. What is left
is what helps with a tool never seen: the request speaks of a zorbex, and there is a tool for the zorbex.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from .slots import Slots

_WORD = re.compile(r"(?<![{\w])[a-zA-Z]{4,}(?![\w}])")
_MEANINGLESS = """
about after again also another around away back been before being between both called can't check could does doing
done don't down each every find from give given goes gone have here how's into it's just kind know last like long
look made make many more most much must name need needs next number once only onto other over please right same says
should show some such sure take tell than that that's their them then there these they thing this those time today
tomorrow tonight under until used very want wants what what's when where which while whose will with within without
would your you're
"""
_COMMON = frozenset(_MEANINGLESS.split())


def stem(word: str) -> str:
    """What the forms of a word have in common, roughly: enough to find "watering" for "waters"."""
    lower = word.lower()
    for ending in ("ings", "ing", "ers", "ies", "ed", "es", "er", "s", "e", "y"):
        if lower.endswith(ending) and len(lower) - len(ending) >= 4:
            return lower[: -len(ending)]
    return lower


def stems(texts: Iterable[str]) -> set[str]:
    """The stems of the texts' words with a meaning; placeholders are left out."""
    words = {word.lower() for text in texts for word in _WORD.findall(text)}
    return {stem(word) for word in words - _COMMON}


@dataclass(frozen=True)
class Disguise:
    """Stems and the words that stand for them."""

    words: tuple[tuple[str, str], ...] = ()

    @classmethod
    def draw(cls, shared: tuple[str, ...], slots: Slots) -> Disguise:
        """Other words for one or two of the shared stems."""
        chosen = slots.rng.sample(shared, min(len(shared), slots.pick([1, 1, 2])))
        return cls(tuple((one, slots.rare().lower() if slots.chance(0.5) else slots.plain_word()) for one in chosen))

    def text(self, text: str) -> str:
        for old, new in self.words:
            text = _forms(old).sub(lambda match, new=new: _like(match[0], new), text)
        return text

    def name(self, name: str) -> str:
        """For snake_case."""
        if not self.words:
            return name
        parts = name.split("_")
        for old, new in self.words:
            plain = _NO_WORD.sub("", new) or "item"
            parts = [plain if _forms(old).fullmatch(part) else part for part in parts]
        return "_".join(parts)


_NO_WORD = re.compile(r"\W+")


@cache
def _forms(stem: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![{{\w]){stem}[a-z]{{0,4}}(?![\w}}])", re.IGNORECASE)


def _like(old: str, new: str) -> str:
    """The new word in the old one's case."""
    return new.capitalize() if old[0].isupper() else new

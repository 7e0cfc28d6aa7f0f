"""Sets of characters, as sorted ranges of code points. Surrogates are in none: no text holds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Ranges = tuple[tuple[int, int], ...]

ALL: Ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF))
_MOST_CASED = 128  # of one range: longer ones hold both cases of their letters anyway


class Class(NamedTuple):
    """A class of characters that dialects draw differently: in all of them ``sure``, in none more than ``possible``.

    A text that is made of what is sure is right for whoever reads it.
    """

    sure: Ranges
    possible: Ranges

    @property
    def inverted(self) -> Class:
        return Class(complement(self.possible), complement(self.sure))


def union(*sets: Ranges) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(one for ranges in sets for one in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """All characters but these."""
    found, at = [], 0
    for low, high in union(ranges, ((0xD800, 0xDFFF),)):
        if at < low:
            found.append((at, low - 1))
        at = high + 1
    return (*found, (at, 0x10FFFF)) if at <= 0x10FFFF else tuple(found)


def both(one: Ranges, other: Ranges) -> Ranges:
    return complement(union(complement(one), complement(other)))


def either(classes: Iterable[Class]) -> Class:
    classes = list(classes)
    return Class(union(*(one.sure for one in classes)), union(*(one.possible for one in classes)))


def exactly(low: int, high: int) -> Class:
    ranges: Ranges = ((low, high),)
    if low < 0xE000 and high >= 0xD800:
        ranges = both(ranges, ALL)
    return Class(ranges, ranges)


def any_case(low: int, high: int) -> Class:
    """A range of characters with those that differ from them by case only."""
    if high - low > _MOST_CASED:
        return exactly(low, high)
    cased = [form for code in range(low, high + 1) for form in (chr(code).lower(), chr(code).upper()) if len(form) == 1]
    ranges = union(exactly(low, high).sure, tuple((ord(form), ord(form)) for form in cased))
    return Class(ranges, ranges)


def _named(*texts: str) -> Ranges:
    """Ranges by their ends: ``az`` is from a to z."""
    return union(tuple((ord(text[0]), ord(text[-1])) for text in texts))


# Letters and digits of the scripts that most texts are in, for every dialect but JavaScript's; and what is neither.
_WORDS = union(
    _named("09", "AZ", "az", "_", "ª", "µ", "º", "ÀÖ", "Øö", "øˁ"),  # Latin
    ((0x370, 0x374), (0x388, 0x38A), (0x38E, 0x3A1), (0x3A3, 0x3F5), (0x400, 0x481), (0x48A, 0x52F)),  # Greek, Cyrillic
    ((0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x939), (0xE01, 0xE30)),  # Hebrew, Arabic, Devanagari, Thai
    ((0x3041, 0x3096), (0x30A1, 0x30FA), (0x3400, 0x4DBF), (0x4E00, 0x9FEF), (0xAC00, 0xD7A3)),  # kana, Han, Hangul
)
_NO_WORDS = union(
    _named("\0/", ":@", "[^", "`", "{©", "«±", "´", "¶¸", "»", "¿", "×", "÷"),
    ((0x2000, 0x200B), (0x2010, 0x2027), (0x2030, 0x203E), (0x20A0, 0x20BF), (0x2190, 0x23FF), (0x2500, 0x2775)),
    ((0x3001, 0x3004), (0x3008, 0x3020), (0x1F300, 0x1F64F), (0x1F680, 0x1F6C5)),  # punctuation, symbols, emoji
)
_SPACES = _named("\t\r", " ")
_OTHER_SPACES = union(
    ((0x1C, 0x1F), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x180E, 0x180E), (0x2000, 0x200A)),
    ((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
# Digits of other scripts are somewhere above ASCII; what is surely none of them is also no word, or one of Latin's.
_OTHER_DIGITS = complement(union(((0, 0x65F),), _NO_WORDS, ((0x905, 0x939), (0x3041, 0xA61F), (0xAC00, 0xD7A3))))

SHORTHANDS = {
    "w": Class(_WORDS, complement(_NO_WORDS)),
    "d": Class(_named("09"), union(_named("09"), _OTHER_DIGITS)),
    "s": Class(_SPACES, union(_SPACES, _OTHER_SPACES)),
}
SHORTHANDS |= {name.upper(): given.inverted for name, given in SHORTHANDS.items()}
"""What ``\\w``, ``\\d``, ``\\s`` and their opposites are, by letter."""

"""Reads regular expressions, in what the dialects of Rust, Python and JavaScript have in common.

What only matching needs, and no language is described by, is refused: lookarounds, references back, word boundaries.
"""

from __future__ import annotations

import re
from typing import NoReturn

from .characters import SHORTHANDS, Class, any_case, complement, either, exactly
from .nodes import (
    MAX_REPETITION,
    Characters,
    Language,
    LanguageError,
    Node,
    choice,
    repeat,
    sequence,
)
from .nodes import language as of_rules

MAX_GROUPS = 24
"""Nesting of groups."""

_COUNT = re.compile(r"\{(?=,?\d)(\d*)(,?)(\d*)\}")
_GROUP = re.compile(r"\?(?:P?<[A-Za-z_]\w*>|(?P<flags>[a-z]*):)")
_FLAGS = re.compile(r"\(\?([a-z]+)\)")
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "a": 7, "0": 0}
_HEX = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|[xu]\{([0-9a-fA-F]{1,8})\}")
_QUANTIFIERS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_NO_GROUPS = {
    "?=": "lookaheads", "?!": "lookaheads", "?<=": "lookbehinds", "?<!": "lookbehinds", "?>": "atomic groups",
    "?P=": "backreferences", "?(": "conditions", "?#": "comments",
}  # fmt: skip


def language(pattern: str) -> Language:
    """The texts that ``pattern`` matches from end to end. Raises :class:`LanguageError`."""
    return of_rules({"text": parse(pattern, whole=True)}, "text")


def parse(pattern: str, flags: str = "", *, whole: bool = False) -> Node:
    """What ``pattern`` matches. Raises :class:`LanguageError`.

    Args:
        flags: as Python and JavaScript call them, of ``i m s u``.
        whole: it matches a whole text, so anchors at its ends say nothing, and neither does laziness.
    """
    return _Parser(pattern, flags, whole).pattern()


class _Parser:
    def __init__(self, pattern: str, flags: str, whole: bool) -> None:
        self._text = pattern
        self._at = 0
        self._whole = whole
        self._flags = self._checked(flags)

    def pattern(self) -> Node:
        if found := _FLAGS.match(self._text):
            self._flags |= self._checked(found[1])
            self._at = found.end()
        node = self._alternatives(0)
        if self._at < len(self._text):
            self._refuse("a parenthesis is closed that was never opened")
        return node

    def _alternatives(self, depth: int) -> Node:
        options = [self._alternative(depth)]
        while self._taken("|"):
            options.append(self._alternative(depth))
        return choice(options)

    def _alternative(self, depth: int) -> Node:
        edge = self._whole and depth == 0
        while edge and (self._taken("^") or self._taken("\\A")):
            pass
        parts = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            if edge and (self._taken("$") or self._taken("\\z") or self._taken("\\Z")):
                if self._text[self._at : self._at + 1] not in ("", "|"):
                    self._refuse("an anchor is in the middle of the expression")
                break
            parts.append(self._quantified(self._atom(depth)))
        return sequence(parts)

    def _quantified(self, node: Node) -> Node:
        start, text = self._at, self._text
        if text[start : start + 1] in _QUANTIFIERS:
            least, most = _QUANTIFIERS[text[start]]
            self._at += 1
        elif found := _COUNT.match(text, start):
            low, comma, high = found.groups()
            if max(len(low), len(high)) > 6 or max(int(low or 0), int(high or 0)) > MAX_REPETITION:
                self._refuse(f"a repetition counts beyond {MAX_REPETITION:,}")
            least = int(low or 0)
            most = (int(high) if high else None) if comma else least
            if most is not None and most < least:
                self._refuse(f"the repetition {found[0]} has its bounds the wrong way round")
            self._at = found.end()
        else:
            return node
        if self._taken("?") and not self._whole:
            self._refuse("lazy quantifiers are not supported", start)
        if text[self._at : self._at + 1] in _QUANTIFIERS or _COUNT.match(text, self._at):
            self._refuse("two quantifiers follow each other")
        return repeat(node, least, most)

    def _atom(self, depth: int) -> Node:
        start, char = self._at, self._text[self._at]
        self._at += 1
        match char:
            case "(":
                return self._group(depth, start)
            case "[":
                return Characters(self._class(start).sure)
            case ".":
                newline = ((10, 10),)
                return Characters(complement(() if "s" in self._flags else newline))
            case "\\":
                return Characters(self._escape(start).sure)
            case "*" | "+" | "?":
                self._refuse(f"there is nothing before the quantifier {char}", start)
            case "^" | "$":
                self._refuse("an anchor is in the middle of the expression", start)
        return Characters(self._cased(ord(char), ord(char)).sure)

    def _group(self, depth: int, start: int) -> Node:
        if depth == MAX_GROUPS:
            self._refuse(f"groups are nested deeper than {MAX_GROUPS} levels", start)
        outside = self._flags
        if self._text.startswith("?", self._at):
            for opening, kind in _NO_GROUPS.items():
                if self._text.startswith(opening, self._at):
                    self._refuse(f"{kind} are not supported", start)
            found = _GROUP.match(self._text, self._at)
            if found is None:
                self._refuse("groups of this kind are not supported", start)
            self._flags = outside | self._checked(found["flags"] or "")
            self._at = found.end()
        node = self._alternatives(depth + 1)
        self._flags = outside
        if not self._taken(")"):
            self._refuse("the parenthesis is never closed", start)
        return node

    def _class(self, start: int) -> Class:
        inverted = self._taken("^")
        found: list[Class] = []
        first = True
        while first or not self._text.startswith("]", self._at):
            if self._at >= len(self._text):
                self._refuse("the bracket is never closed", start)
            if self._text.startswith(("[:", "&&"), self._at):
                self._refuse("sets of sets and named sets are not supported")
            first = False
            low = self._member()
            if low.sure != low.possible or not self._ranges_on():
                found.append(self._cased(*low.sure[0]) if low.sure == low.possible else low)
                continue
            self._at += 1
            high = self._member()
            if high.sure != high.possible or low.sure[0] > high.sure[-1]:
                self._refuse("a range of characters has no such ends", start)
            found.append(self._cased(low.sure[0][0], high.sure[-1][1]))
        self._at += 1
        return either(found).inverted if inverted else either(found)

    def _member(self) -> Class:
        start, char = self._at, self._text[self._at : self._at + 1]
        self._at += 1
        if char == "\\":
            return self._escape(start, inside=True)
        return exactly(ord(char), ord(char)) if char else self._refuse("the bracket is never closed", start)

    def _ranges_on(self) -> bool:
        behind = self._text[self._at : self._at + 2]
        return len(behind) == 2 and behind[0] == "-" and behind[1] != "]"

    def _escape(self, start: int, *, inside: bool = False) -> Class:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        if char in SHORTHANDS:
            return SHORTHANDS[char]
        if found := _HEX.match(self._text, self._at - 1):
            self._at = found.end()
            code = int(next(filter(None, found.groups())), 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                self._refuse(f"\\{found[0]} is no character", start)
        elif char == "b" and inside:
            code = 8
        elif char in _CONTROLS and not self._text[self._at : self._at + 1].isdigit():
            code = _CONTROLS[char]
        elif not char or char.isalnum():
            self._refuse(f"\\{char} is not supported", start)
        else:
            code = ord(char)
        return exactly(code, code) if inside else self._cased(code, code)

    def _cased(self, low: int, high: int) -> Class:
        return any_case(low, high) if "i" in self._flags else exactly(low, high)

    def _checked(self, flags: str) -> set[str]:
        for flag in flags:
            if flag not in "imsu":
                self._refuse(f"the flag {flag} is not supported")
        return set(flags)

    def _taken(self, text: str) -> bool:
        there = self._text.startswith(text, self._at)
        self._at += len(text) if there else 0
        return there

    def _refuse(self, reason: str, at: int | None = None) -> NoReturn:
        at = self._at if at is None else at
        raise LanguageError(f"at character {at + 1} of the expression {_short(self._text)}, {reason}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."

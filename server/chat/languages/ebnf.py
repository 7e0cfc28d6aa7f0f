"""Writes a language in the EBNF of the grammar engine: its texts as they are, or as JSON has them between quotes."""

from __future__ import annotations

import functools
import json

from .characters import Ranges, both, complement
from .nodes import Characters, Choice, Language, Node, Reference, Repeat, Sequence

_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_PLAIN = complement(((0, 0x1F), (_QUOTE, _QUOTE), (_BACKSLASH, _BACKSLASH)))
"""What stands in a JSON string as it is."""


@functools.lru_cache(maxsize=256)
def raw(language: Language) -> str:
    """The grammar of the language's texts."""
    return _Writer(escaped=False).source(language)


@functools.lru_cache(maxsize=256)
def json_string(language: Language) -> str:
    """The grammar of the language's texts as ``json.dumps`` writes them, without the quotes around them."""
    return _Writer(escaped=True).source(language)


class _Writer:
    def __init__(self, *, escaped: bool) -> None:
        self._escaped = escaped
        self._names: dict[str, str] = {}
        self._classes: dict[Ranges, str] = {}

    def source(self, language: Language) -> str:
        self._names = {rule: f"r{index}" for index, rule in enumerate(language.rules)}
        lines = [f"{self._names[rule]} ::= {self._node(node)}" for rule, node in language.rules.items()]
        classes = [f"{name} ::= {self._class(ranges)}" for ranges, name in self._classes.items()]
        return "\n".join([f"root ::= {self._names[language.start]}", *lines, *classes, ""])

    def _node(self, node: Node) -> str:
        match node:
            case Characters(ranges):
                return self._string(chr(ranges[0][0])) if _is_one(node) else self._named(ranges)
            case Sequence(parts):
                return self._sequence(parts) if parts else '""'
            case Choice(options):
                return f"({' | '.join(map(self._node, options))})"
            case Repeat(inner, least, most):
                said = self._node(inner)
                return f"{said if isinstance(inner, Characters) else f'({said})'}{_times(least, most)}"
            case Reference(rule):
                return self._names[rule]

    def _sequence(self, parts: tuple[Node, ...]) -> str:
        written: list[str] = []
        said = ""
        for part in parts:
            if isinstance(part, Characters) and _is_one(part):
                said += chr(part.ranges[0][0])
                continue
            written += [self._string(said)] if said else []
            written.append(self._node(part))
            said = ""
        return " ".join([*written, self._string(said)] if said else written)

    def _named(self, ranges: Ranges) -> str:
        if not self._escaped:
            return _bracket(ranges)
        return self._classes.setdefault(ranges, f"c{len(self._classes)}")

    def _string(self, text: str) -> str:
        said = json.dumps(text, ensure_ascii=False)[1:-1] if self._escaped else text
        return f'"{"".join(_code(ord(char)) for char in said)}"'

    def _class(self, ranges: Ranges) -> str:
        plain = both(ranges, _PLAIN)
        escaped = both(ranges, complement(_PLAIN))
        options = [_bracket(plain)] if plain else []
        options += [self._string(chr(code)) for low, high in escaped for code in range(low, high + 1)]
        return " | ".join(options)


def _is_one(node: Characters) -> bool:
    return len(node.ranges) == 1 and node.ranges[0][0] == node.ranges[0][1]


def _times(least: int, most: int | None) -> str:
    match least, most:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
        case _:
            return f"{{{least},{'' if most is None else most}}}"


def _bracket(ranges: Ranges) -> str:
    return "[" + "".join(_code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in ranges) + "]"


def _code(code: int) -> str:
    char = chr(code)
    if char.isascii() and char.isalnum():
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

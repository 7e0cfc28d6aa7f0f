"""What a language is made of: characters, one after another, one of several, repeated, by rules that may recur."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .characters import Ranges, union

MAX_REPETITION = 10_000
_SHORT = 16


class LanguageError(ValueError):
    """Why a definition gives no language, in words for the client: where, and what was found there."""


@dataclass(frozen=True, slots=True)
class Characters:
    """One of these characters."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of ``options``, of which there are two at least, or none: then there is no such text."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``least`` times ``node`` or more, up to ``most`` times; None is without end."""

    node: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Reference:
    """A text of the rule of this name."""

    rule: str


Node = Characters | Sequence | Choice | Repeat | Reference

EMPTY = Sequence(())
NOTHING = Choice(())


@dataclass(frozen=True, eq=False)  # one language is one object, so that what is made of it can be kept by it
class Language:
    """The texts of the rule ``start``. Every rule has some text."""

    rules: Mapping[str, Node]
    start: str


def literal(text: str) -> Node:
    return sequence(Characters(((ord(char), ord(char)),)) for char in text)


def sequence(parts: Iterable[Node]) -> Node:
    flat: list[Node] = []
    for part in parts:
        if part == NOTHING:
            return NOTHING
        flat += part.parts if isinstance(part, Sequence) else [part]
    return flat[0] if len(flat) == 1 else Sequence(tuple(flat))


def choice(options: Iterable[Node]) -> Node:
    """Characters that may stand for each other are one node, and what is there twice is there once."""
    characters: list[Ranges] = []
    others: dict[Node, None] = {}
    for option in options:
        if isinstance(option, Characters):
            characters.append(option.ranges)
        else:
            others.update(dict.fromkeys(option.options if isinstance(option, Choice) else [option]))
    if characters:
        others = {Characters(union(*characters)): None, **others}
    return next(iter(others)) if len(others) == 1 else Choice(tuple(others))


def repeat(node: Node, least: int, most: int | None) -> Node:
    """A repetition without end of another one, of at most one time each, is one repetition: it is less ambiguous."""
    if node == NOTHING:
        return NOTHING if least else EMPTY
    if node == EMPTY or most == 0:
        return EMPTY
    if (least, most) == (1, 1):
        return node
    if most is None and least <= 1 and isinstance(node, Repeat) and node.least <= 1:
        if node.most is None:
            return Repeat(node.node, min(least, node.least), None)
        if node.most == 1:
            return Repeat(node.node, 0, None)
    return Repeat(node, least, most)


def rebuilt(node: Node, leaf: Callable[[Characters | Reference], Node]) -> Node:
    """``node`` with every leaf as ``leaf`` makes it."""
    match node:
        case Sequence(parts):
            return sequence(rebuilt(part, leaf) for part in parts)
        case Choice(options):
            return choice(rebuilt(option, leaf) for option in options)
        case Repeat(inner, least, most):
            return repeat(rebuilt(inner, leaf), least, most)
        case _:
            return leaf(node)


def language(rules: Mapping[str, Node], start: str) -> Language:
    """What ``rules`` describe, without what never ends, and without rules that nothing leads to or that are short.

    Raises :class:`LanguageError` when there is no text at all.
    """
    ending: set[str] = set()
    left = dict(rules)
    while found := [name for name, node in left.items() if _ends(node, ending) and not ending.add(name)]:
        for name in found:
            del left[name]
    if start not in ending:
        raise LanguageError("it has no text that ever ends")

    def leaf(node: Characters | Reference) -> Node:
        if not isinstance(node, Reference):
            return node
        if node.rule not in ending:
            return NOTHING
        inner = rules[node.rule]
        if isinstance(inner, Reference):
            return leaf(inner) if inner.rule != node.rule else inner
        return inner if _is_short(inner) else node

    kept: dict[str, Node] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = rebuilt(rules[name], leaf)
            waiting += references(kept[name])
    return Language(kept, start)


def _is_short(node: Node) -> bool:
    """It may stand where its rule is named: the grammar engine is the faster the more it sees in one place."""
    parts = node.parts if isinstance(node, Sequence) else [node]
    inner = [part.node if isinstance(part, Repeat) else part for part in parts]
    return len(inner) <= _SHORT and all(isinstance(part, Characters) for part in inner)


def references(node: Node) -> Iterable[str]:
    match node:
        case Sequence(inner) | Choice(inner):
            return [name for part in inner for name in references(part)]
        case Repeat(part):
            return references(part)
        case Reference(name):
            return [name]
        case _:
            return ()


def _ends(node: Node, ending: set[str]) -> bool:
    match node:
        case Characters(ranges):
            return bool(ranges)
        case Sequence(parts):
            return all(_ends(part, ending) for part in parts)
        case Choice(options):
            return any(_ends(option, ending) for option in options)
        case Repeat(inner, least):
            return not least or _ends(inner, ending)
        case Reference(name):
            return name in ending

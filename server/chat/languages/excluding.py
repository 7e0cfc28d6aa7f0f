"""A language without the texts that hold a mark: where a call's text ends at a mark, it cannot hold it.

The rules are multiplied with the automaton that looks for the mark (Bar-Hillel's construction): a rule becomes one
for every state in which its text may begin and every state in which it then ends. Since this takes the square of the
mark's length, it is the mark's beginning that is looked for; what gets too large all the same does without its first
character.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from contextlib import suppress

from .characters import both, complement
from .nodes import (
    EMPTY,
    NOTHING,
    Characters,
    Choice,
    Language,
    Node,
    Reference,
    Repeat,
    Sequence,
    choice,
    rebuilt,
    repeat,
    sequence,
)
from .nodes import language as of_rules

_BEGINNINGS = (5, 2)
_MOST_STEPS = 20_000
_MOST_COPIES = 64  # of what is repeated


class _TooLarge(Exception):
    pass


@functools.lru_cache(maxsize=256)
def excluding(language: Language, mark: str) -> Language:
    """Texts of ``language`` that do not hold ``mark``: most of them, see above.

    Args:
        mark: its first character is in it once.

    Raises :class:`LanguageError` when there is none.
    """
    for length in _BEGINNINGS:
        with suppress(_TooLarge):
            return _Product(language, mark[:length]).language()
    first = complement(((ord(mark[0]), ord(mark[0])),))

    def leaf(node: Characters | Reference) -> Node:
        return node if isinstance(node, Reference) else _characters(both(node.ranges, first))

    return of_rules({name: rebuilt(node, leaf) for name, node in language.rules.items()}, language.start)


def _characters(ranges: tuple[tuple[int, int], ...]) -> Node:
    return Characters(ranges) if ranges else NOTHING


class _Product:
    """The state is how much of the mark has just been written."""

    def __init__(self, language: Language, mark: str) -> None:
        self._codes = [ord(char) for char in mark]
        self._start = language.start
        self._rules = dict(language.rules)
        self._made: dict[tuple[str, int], dict[int, Node]] = {}
        self._named: dict[Node, Reference] = {}
        self._repeated: dict[Node, Reference] = {}
        self._written: dict[Node, Reference] = {}
        self._steps = 0

    def language(self) -> Language:
        self._made[self._start, 0] = {}
        grown = True
        while grown:  # until no rule is found to end in one more state
            grown = False
            for rule, state in list(self._made):
                before, known = self._made[rule, state].keys(), len(self._made)
                paths = self._paths(self._rules[rule], state)
                grown |= paths.keys() != before or len(self._made) > known
                self._made[rule, state] = paths
        rules = {
            _name(rule, state, end): node for (rule, state), paths in self._made.items() for end, node in paths.items()
        }
        rules |= {name.rule: node for node, name in self._written.items()}
        ends = [Reference(_name(self._start, 0, end)) for end in self._made[self._start, 0]]
        return of_rules({**rules, ".start": choice(ends)}, ".start")

    def _paths(self, node: Node, state: int) -> dict[int, Node]:
        """What of ``node`` may follow in ``state``, by the state in which it ends."""
        self._spend(1)
        match node:
            case Characters():
                return self._characters(node, state)
            case Reference(rule):
                ends = self._made.setdefault((rule, state), {})
                return {end: Reference(_name(rule, state, end)) for end in ends}
            case Choice(options):
                return _merged((end, path) for option in options for end, path in self._paths(option, state).items())
            case Repeat(inner, least, most):
                if isinstance(inner, Characters) and most is None:
                    if least:
                        return self._paths(sequence([*[inner] * least, Repeat(inner, 0, None)]), state)
                    return self._run(inner, state)
                paths = self._paths(inner, state)
                if paths.keys() <= {state}:
                    same = repeat(paths.get(state, NOTHING), least, most)
                    return _possible({state: same})
                return self._paths(self._unrolled(node), state)
            case Sequence(parts):
                return self._sequence(parts, state)

    def _sequence(self, parts: tuple[Node, ...], state: int) -> dict[int, Node]:
        done: list[Node] = []
        here: dict[int, Node] = {state: EMPTY}
        for index, part in enumerate(parts):
            steps = [self._paths(part, middle) for middle in here]
            if any(step != steps[0] for step in steps):  # what may follow depends on what was written
                tail = self._rule(sequence(parts[index:])) if parts[index + 1 :] else part
                return _merged(
                    (end, sequence([*done, before, rest]))
                    for middle, before in here.items()
                    for end, rest in self._paths(tail, middle).items()
                )
            done.append(_factored(here.values()))
            here = steps[0] if steps else {}
        return {end: sequence([*done, path]) for end, path in here.items()}

    def _run(self, node: Characters, state: int) -> dict[int, Node]:
        """Any number of ``node``, written so that the grammar engine goes round in one set of characters.

        That set is left with the mark's first character, for an attempt at the mark, which fails at some character of
        the run: no run ends in an attempt. Each end more would be as many rules more.
        """
        last = len(self._codes)
        ways = [self._characters(node, at) for at in range(last)]

        def reached(at: int, to: int) -> Node:
            return sequence(ways[step].get(step + 1, NOTHING) for step in range(at, to))

        def failing(at: int) -> Node:
            failed = choice(sequence([reached(at, to), ways[to].get(0, NOTHING)]) for to in range(at, last))
            begun_again = sequence([choice(reached(at, to) for to in range(at, last)), begun])
            return self._shared(sequence([repeat(begun_again, 0, None), failed]))

        begun = ways[0].get(1, NOTHING)
        plain = repeat(ways[0].get(0, NOTHING), 0, None)
        loop = sequence([plain, repeat(sequence([begun, failing(1), plain]), 0, None)])
        return _possible({state: EMPTY, 0: sequence([failing(state), loop]) if state else loop})

    def _characters(self, node: Characters, state: int) -> dict[int, Node]:
        """The mark's next character leads on, to no text behind the last; its first one to the first state."""
        codes = self._codes
        next_one, first = ((codes[state], codes[state]),), ((codes[0], codes[0]),)
        led = {state + 1: both(node.ranges, next_one)} if state + 1 < len(codes) else {}
        if state:
            led[1] = both(node.ranges, first)
        led[0] = both(node.ranges, complement((*next_one, *first)))
        return {end: Characters(ranges) for end, ranges in led.items() if ranges}

    def _unrolled(self, node: Repeat) -> Node:
        """A repetition as rules."""
        inner, least, most = node.node, node.least, node.most
        if least > _MOST_COPIES or (most or 0) > _MOST_COPIES:
            raise _TooLarge
        if most is None:
            again = self._repeated.get(inner)
            if again is None:
                again = self._repeated[inner] = Reference(f"+{len(self._repeated)}")
                self._rules[again.rule] = choice([EMPTY, sequence([inner, again])])
            return sequence([*[inner] * least, again])
        rest: Node = EMPTY
        for _ in range(most - least):
            rest = self._rule(choice([EMPTY, sequence([inner, rest])]))
        return sequence([*[inner] * least, rest])

    def _shared(self, node: Node) -> Node:
        """A name for what is written already: the grammar engine then compiles it once."""
        if node in (EMPTY, NOTHING):
            return node
        if node not in self._written:
            self._written[node] = Reference(f"={len(self._written)}")
        return self._written[node]

    def _rule(self, node: Node) -> Reference:
        if node not in self._named:
            self._named[node] = Reference(f"*{len(self._named)}")
            self._rules[self._named[node].rule] = node
        self._spend(len(node.parts) if isinstance(node, Sequence) else 1)
        return self._named[node]

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise _TooLarge


def _possible(paths: dict[int, Node]) -> dict[int, Node]:
    return {end: path for end, path in paths.items() if path != NOTHING}


def _merged(paths: Iterable[tuple[int, Node]]) -> dict[int, Node]:
    found: dict[int, list[Node]] = {}
    for end, path in paths:
        found.setdefault(end, []).append(path)
    return {end: _factored(options) for end, options in found.items()}


def _factored(options: Iterable[Node]) -> Node:
    """One of ``options``, with what several begin with written once."""
    begun: dict[Node, list[Node]] = {}
    for option in options:
        first, *rest = option.parts if isinstance(option, Sequence) and option.parts else (option,)
        begun.setdefault(first, []).append(sequence(rest))
    return choice(sequence([first, _factored(rest) if len(rest) > 1 else rest[0]]) for first, rest in begun.items())


def _name(rule: str, state: int, end: int) -> str:
    return f"{rule} {state} {end}"

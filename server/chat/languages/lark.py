"""Languages that are defined in Lark, as far as OpenAI describes it for custom tools.

A text is in the language when the rules make it of their terminals: it is not cut into terminals first, as Lark's
faster parsers do it, who would refuse some of these texts; its ``earley`` with ``dynamic_complete`` takes them all.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from .lark_parser import Definitions, is_terminal, parse, refuse
from .nodes import (
    Characters,
    Language,
    LanguageError,
    Node,
    Reference,
    Repeat,
    choice,
    rebuilt,
    references,
    repeat,
    sequence,
)
from .nodes import language as of_rules

MOST_IGNORED = 64
"""Ignored texts in a row, so that no model is caught in white space."""

# Names that no definition can use.
_TEXT, _IGNORED, _COMMON_NAME = ".text", ".ignored", ".common."
_COMMON = r"""
DIGIT: "0".."9"
HEXDIGIT: "a".."f" | "A".."F" | DIGIT
INT: DIGIT+
SIGNED_INT: ["+" | "-"] INT
DECIMAL: INT "." INT? | "." INT
EXPONENT: ("e" | "E") SIGNED_INT
FLOAT: INT EXPONENT | DECIMAL EXPONENT?
SIGNED_FLOAT: ["+" | "-"] FLOAT
NUMBER: FLOAT | INT
SIGNED_NUMBER: ["+" | "-"] NUMBER
ESCAPED_STRING: /"([^"\\\n]|\\[^\n])*"/
LCASE_LETTER: "a".."z"
UCASE_LETTER: "A".."Z"
LETTER: UCASE_LETTER | LCASE_LETTER
WORD: LETTER+
CNAME: ("_" | LETTER) ("_" | LETTER | DIGIT)*
WS_INLINE: /[ \t]/+
WS: /[ \t\f\r\n]/+
CR: /\r/
LF: /\n/
NEWLINE: (CR? LF)+
SH_COMMENT: /#[^\n]*/
CPP_COMMENT: /\/\/[^\n]*/
C_COMMENT: /\/\*([^*]|\*+[^*\/])*\*+\//
SQL_COMMENT: /--[^\n]*/
"""


def language(definition: str) -> Language:
    """The texts of the rule ``start``. Raises :class:`LanguageError`, which names the line."""
    found = parse(definition, lambda node: sequence([node, Reference(_IGNORED)]))
    common = _common()
    for imported in found.imports:
        if f"{_COMMON_NAME}{imported.original}" not in common:
            refuse(imported.line, f"common has no {imported.original[:60]}")
        found.nodes[imported.name] = Reference(f"{_COMMON_NAME}{imported.original}")
    for name, line in found.named.items():
        if name not in found.nodes:
            refuse(line, f"{name[:60]} is not defined")
    if "start" not in found.nodes:
        raise LanguageError("there is no rule named start")
    _check_terminals(found)
    rules = {**common, **found.nodes}
    rules[_IGNORED] = repeat(choice(_once(node, rules) for node in found.ignored), 0, MOST_IGNORED)
    rules[_TEXT] = sequence([Reference(_IGNORED), Reference("start")])
    return of_rules(rules, _TEXT)


def _check_terminals(found: Definitions) -> None:
    """A terminal is a regular expression, so none may lead back to itself."""
    left = {name for name in found.nodes if is_terminal(name)}
    while free := {name for name in left if left.isdisjoint(references(found.nodes[name]))}:
        left -= free
    if left:
        name = min(left, key=found.lines.__getitem__)
        refuse(found.lines[name], f"the terminal {name[:60]} leads back to itself")


def _once(node: Node, rules: Mapping[str, Node]) -> Node:
    """What is ignored, without its own repetition: repeated again, it could be read in many ways."""
    while isinstance(node, Reference):
        node = rules[node.rule]
    return node.node if isinstance(node, Repeat) and node.least <= 1 and node.most is None else node


@functools.cache
def _common() -> dict[str, Node]:
    """What can be imported, under names of its own, which no definition can use."""

    def renamed(node: Characters | Reference) -> Node:
        return Reference(f"{_COMMON_NAME}{node.rule}") if isinstance(node, Reference) else node

    return {f"{_COMMON_NAME}{name}": rebuilt(node, renamed) for name, node in parse(_COMMON).nodes.items()}

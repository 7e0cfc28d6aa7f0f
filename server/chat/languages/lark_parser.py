"""Reads definitions in Lark's language: rules, terminals and directives, each with the line where it stands.

Not with the ``lark`` package: it reads definitions with regular expressions that a stranger's text can keep busy for
ever, and its imports open files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from . import regex
from .characters import exactly
from .nodes import (
    EMPTY,
    MAX_REPETITION,
    Characters,
    LanguageError,
    Node,
    Reference,
    choice,
    literal,
    repeat,
    sequence,
)

MAX_NESTING = 24
"""Brackets within brackets."""
MAX_RULES = 300
"""Rules and terminals."""

_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\f]|\\\r?\n|//[^\n]*|\#[^\n]*)+)
    |(?P<line>\n)
    |(?P<name>[!?]*_?[a-z][_a-z0-9]*|_?[A-Z][_A-Z0-9]*)(?![a-zA-Z])
    |(?P<string>"(?:[^"\\\n]|\\.)*"i?)
    |(?P<regex>/(?:[^/\\\n]|\\[^\n])+/[a-z]*)
    |(?P<number>[+-]?\d+)
    |(?P<directive>%[a-z]*)
    |(?P<sign>\.\.|->|[:|()\[\]{}~*+?.,])""",
    re.VERBOSE,
)
_CLOSING = {"(": ")", "[": "]"}
_ESCAPE = re.compile(r"\\(?:(?P<code>x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|(?P<char>.))", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", '"': '"', "\\": "\\"}
_QUANTIFIERS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class Imported(NamedTuple):
    """A terminal of Lark's module ``common``, and by which name it goes here."""

    name: str
    original: str
    line: int


@dataclass
class Definitions:
    """What a text defines: by name, the terminals in capitals.

    Attributes:
        ignored: what may stand between any two terminals of a rule.
        lines: where each name was defined, and each was first named.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    ignored: list[Node] = field(default_factory=list)
    imports: list[Imported] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def refuse(line: int, reason: str) -> NoReturn:
    raise LanguageError(f"line {line}: {reason}")


def is_terminal(name: str) -> bool:
    return name.lstrip("_")[:1].isupper()


def parse(text: str, skipped: Callable[[Node], Node] = lambda node: node) -> Definitions:
    """Raises :class:`LanguageError`.

    Args:
        skipped: what becomes of a terminal that stands in a rule: what is ignored may follow it.
    """
    return _Parser(list(_tokens(text)), skipped).definitions()


def _tokens(text: str) -> Iterator[_Token]:
    """Without spaces and comments, and without the line breaks inside a rule: before ``|`` a rule goes on."""
    line, at, waiting = 1, 0, None
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            what = {'"': "this string is never closed", "/": "this expression is never closed"}
            refuse(line, what.get(text[at], f"{text[at]!r} is nothing that Lark knows"))
        assert found.lastgroup is not None
        if found.lastgroup == "line":
            waiting = _Token("line", "", line)
        elif found.lastgroup != "space":
            if waiting is not None and found[0] != "|":
                yield waiting
            waiting = None
            yield _Token(found.lastgroup, found[0], line)
        line += found[0].count("\n")
        at = found.end()
    yield _Token("line", "", line)
    yield _Token("end", "", line)


class _Parser:
    def __init__(self, tokens: list[_Token], skipped: Callable[[Node], Node]) -> None:
        self._tokens = tokens
        self._at = 0
        self._skipped = skipped
        self._terminal = False
        self._found = Definitions()

    def definitions(self) -> Definitions:
        while self._next.kind != "end":
            if self._next.kind == "directive":
                self._directive()
            elif self._next.kind == "name":
                self._definition()
            elif self._next.kind != "line":
                self._unexpected("a rule, a terminal or a directive")
            self._expect("line")
        return self._found

    def _definition(self) -> None:
        token = self._take()
        name = token.text.lstrip("!?")
        self._terminal = is_terminal(name)
        if self._next.text == "{":
            refuse(token.line, "templates are not supported")
        if self._taken("."):  # the priority, which says nothing about what is in the language
            self._expect("number")
        if not self._taken(":"):
            self._unexpected(f"':' behind {name[:60]}")
        self._define(name, token.line)
        self._found.nodes[name] = self._alternatives(0)

    def _directive(self) -> None:
        token = self._take()
        match token.text:
            case "%ignore":
                self._terminal = True
                self._found.ignored.append(self._alternatives(0))
            case "%import":
                self._import(token.line)
            case _:
                refuse(token.line, f"{token.text} is not supported; %ignore and %import are")

    def _import(self, line: int) -> None:
        if self._next.text != "common":
            refuse(line, "only what is in common can be imported, as in %import common.INT")
        self._take()
        if self._taken("("):
            names = [self._expect("name").text]
            while self._taken(","):
                names.append(self._expect("name").text)
            if not self._taken(")"):
                self._unexpected("')'")
            pairs = [(name, name) for name in names]
        else:
            if not self._taken("."):
                self._unexpected("'.' and a name")
            original = self._expect("name").text
            pairs = [(self._expect("name").text if self._taken("->") else original, original)]
        for name, original in pairs:
            self._define(name, line)
            self._found.imports.append(Imported(name, original, line))

    def _define(self, name: str, line: int) -> None:
        if name in self._found.lines:
            refuse(line, f"{name[:60]} is defined already, in line {self._found.lines[name]}")
        if len(self._found.lines) == MAX_RULES:
            refuse(line, f"there are more than {MAX_RULES} rules and terminals")
        self._found.lines[name] = line

    def _alternatives(self, depth: int) -> Node:
        options = [self._alternative(depth)]
        while self._taken("|"):
            options.append(self._alternative(depth))
        return choice(options)

    def _alternative(self, depth: int) -> Node:
        parts = []
        while self._next.kind in ("name", "string", "regex") or self._next.text in ("(", "["):
            parts.append(self._quantified(self._atom(depth)))
        if self._taken("->"):  # a name for the tree
            self._expect("name")
        return sequence(parts)

    def _quantified(self, node: Node) -> Node:
        if self._next.text in _QUANTIFIERS:
            return repeat(node, *_QUANTIFIERS[self._take().text])
        if not self._taken("~"):
            return node
        least = most = self._count()
        if self._taken(".."):
            most = self._count()
        if most < least:
            refuse(self._next.line, f"the repetition ~{least}..{most} has its bounds the wrong way round")
        return repeat(node, least, most)

    def _count(self) -> int:
        token = self._expect("number")
        if len(token.text) > 6 or not 0 <= int(token.text) <= MAX_REPETITION:
            refuse(token.line, f"a repetition counts from 0 to {MAX_REPETITION:,}")
        return int(token.text)

    def _atom(self, depth: int) -> Node:
        token = self._take()
        if token.text in _CLOSING:
            return self._group(token, depth)
        if token.kind == "name":
            name = token.text
            if name[0] in "!?":
                refuse(token.line, f"{name[:60]} may stand in front of a rule only")
            if self._next.text == "{":
                refuse(token.line, "templates are not supported")
            if self._terminal and not is_terminal(name):
                refuse(token.line, f"a terminal cannot hold the rule {name[:60]}")
            self._found.named.setdefault(name, token.line)
            return self._in_rule(Reference(name)) if is_terminal(name) else Reference(name)
        if token.kind == "regex":
            source, _, flags = token.text[1:].rpartition("/")
            return self._in_rule(_expression(source, flags, token.line))
        text = _text(token)
        if self._taken(".."):
            last = _text(self._expect("string"))
            if len(text) != 1 or len(last) != 1 or text > last:
                refuse(token.line, "a range goes from one character to a later one")
            return self._in_rule(Characters(exactly(ord(text), ord(last)).sure))
        if token.text.endswith("i"):
            return self._in_rule(_expression(re.escape(text), "i", token.line))
        return self._in_rule(literal(text))

    def _group(self, opened: _Token, depth: int) -> Node:
        if depth == MAX_NESTING:
            refuse(opened.line, f"brackets are nested deeper than {MAX_NESTING} levels")
        while self._next.kind == "line":
            self._take()
        inside = self._alternatives(depth + 1)
        while self._next.kind == "line":
            self._take()
        if not self._taken(_CLOSING[opened.text]):
            self._unexpected(f"'{_CLOSING[opened.text]}' for the bracket opened in line {opened.line}")
        return inside if opened.text == "(" else repeat(inside, 0, 1)

    def _in_rule(self, node: Node) -> Node:
        return node if self._terminal or node == EMPTY else self._skipped(node)

    # -- tokens ---------------------------------------------------------------------------------------------------

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _taken(self, sign: str) -> bool:
        there = self._next.kind == "sign" and self._next.text == sign
        self._at += there
        return there

    def _expect(self, kind: str) -> _Token:
        if self._next.kind != kind:
            self._unexpected({"line": "the end of the line"}.get(kind, f"a {kind}"))
        return self._take()

    def _unexpected(self, expected: str) -> NoReturn:
        token = self._next
        there = {"line": "the line ends", "end": "the definition ends"}.get(token.kind, f"there is {token.text[:60]}")
        refuse(token.line, f"{there} where {expected} should be")


def _expression(source: str, flags: str, line: int) -> Node:
    try:
        return regex.parse(source, flags)
    except LanguageError as error:
        refuse(line, str(error))


def _text(token: _Token) -> str:
    """What a string spells. An escape that there is not is the two characters that it is."""

    def spelled(found: re.Match[str]) -> str:
        if found["code"] is None:
            return _ESCAPES.get(found["char"], found[0])
        code = int(found["code"][1:], 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            refuse(token.line, f"{found[0]} is no character")
        return chr(code)

    return _ESCAPE.sub(spelled, token.text.removesuffix("i")[1:-1])

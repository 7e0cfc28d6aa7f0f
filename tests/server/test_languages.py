"""Languages of custom tools: what their texts are, and which definitions are refused, with line and reason."""

import random
import re
import time

import httpx
import lark
import pytest
from agenthost.server.chat.languages import LanguageError, ebnf, language_of
from agenthost.server.chat.languages.characters import SHORTHANDS
from agenthost.server.chat.languages.excluding import excluding
from agenthost.server.chat.languages.nodes import Characters, Choice, Reference, Repeat, Sequence

EXPRESSIONS = [
    r"\w+[^\w\s]?(?i:ab)", r"[^\d]{2,4}\D\S\W", r"(a|<|/|p|>){0,4}[a-z]*<?/?.*", r"(?i)[a-k]+[^k]x",
    r'"[^"\\]*(?:\\.[^"\\]*)*?"', r"a{,3}b{2}c{1,}|^q$", r"[\]\-a\\^]+[]x]", r"\x41\u0042\t?\.\*{a", r"(?s)(?P<x>.+)\Z",
]  # fmt: skip
CALCULATOR = r"""
// Sums and products.
start: sum
?sum: product (("+" | "-") product)*   # left to right
?product.2: atom (_times atom)~0..2
_times: "*" | "times"i
!atom: NUMBER -> number
     | "(" sum ")"
     | NAME ["[" INT "]"]
NAME.-1: /[a-z_]\w{0,3}/i
%import common (NUMBER, INT)
%import common.WS_INLINE -> SPACE
%ignore SPACE
"""


def some_text(language, rng, node=None):
    """A random text of ``language``."""
    match node or language.rules[language.start]:
        case Characters(ranges):
            low, high = rng.choice(ranges)
            return chr(rng.randint(low, min(high, low + 100)))
        case Sequence(parts):
            return "".join(some_text(language, rng, part) for part in parts)
        case Choice(options):
            return some_text(language, rng, rng.choice(options))
        case Repeat(inner, least, most):
            times = rng.randint(least, least + 2 if most is None else min(most, least + 2))
            return "".join(some_text(language, rng, inner) for _ in range(times))
        case Reference(rule):
            return some_text(language, rng, language.rules[rule])
        case other:
            raise AssertionError(other)


@pytest.fixture
def rng():
    return random.Random(0)


def drawn(language, rng):
    """A text of the language. Rules that recur can lead deeper than Python goes, where the draw is made again."""
    while True:
        try:
            return some_text(language, rng)
        except RecursionError:
            continue


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_is_written_for_an_expression_matches_it(rng, expression):
    language = language_of("regex", expression)
    without = excluding(language, "</p>")
    for _ in range(300):
        assert re.fullmatch(expression, drawn(language, rng))
        text = drawn(without, rng)
        assert re.fullmatch(expression, text)
        assert "</p>" not in text


@pytest.mark.parametrize("name", SHORTHANDS)
def test_shorthands_hold_only_what_they_surely_are(name):
    sure, possible = SHORTHANDS[name]
    written = "".join(chr(code) for low, high in sure for code in range(low, high + 1))
    assert re.fullmatch(rf"\{name}+", written)
    others = "".join(chr(code) for low, high in SHORTHANDS[name].inverted.sure for code in range(low, high + 1))
    assert not re.search(rf"\{name}", others)
    assert all(any(low <= start and end <= high for low, high in possible) for start, end in sure)


def test_what_is_written_for_a_lark_grammar_is_what_lark_parses(rng):
    language = language_of("lark", CALCULATOR)
    parser = lark.Lark(CALCULATOR, parser="earley", lexer="dynamic_complete")
    read = 0
    while read < 20:
        text = drawn(language, rng)
        if len(text) < 60:  # longer ones take Lark's slowest parser long
            parser.parse(text)
            read += 1


@pytest.mark.parametrize(
    ("syntax", "definition", "reason"),
    [
        ("lark", 'start: "a" b\n\nB: "x"', "line 1: b is not defined"),
        ("lark", 'a: "x"', "no rule named start"),
        ("lark", 'start: "a"\nstart: "b"', "line 2: start is defined already, in line 1"),
        ("lark", 'start: "a"\nB: "b" a', "line 2: a terminal cannot hold the rule a"),
        ("lark", 'start: A\nA: "b" C\nC: A', "line 2: the terminal A leads back to itself"),
        ("lark", 'start: a\na: "x" a', "no text that ever ends"),
        ("lark", 'start: ("a"\n', r"line 2: the definition ends where '\)' .* opened in line 1"),
        ("lark", '\nstart: "a', "line 2: this string is never closed"),
        ("lark", "start: /a/ /(?<=a)b/", "line 1: at character 1 of the expression .* lookbehinds are not supported"),
        ("lark", "start: /a*?b/", "lazy quantifiers are not supported"),
        ("lark", "start: /a/x", "the flag x is not supported"),
        ("lark", 'start: pair{"a"}\npair{x}: x', "line 1: templates are not supported"),
        ("lark", '%import .secrets.KEY\nstart: "a"', "line 1: only what is in common"),
        ("lark", "%import common.NOTHING\nstart: NOTHING", "line 1: common has no NOTHING"),
        ("lark", '%declare A\nstart: "a"', "line 1: %declare is not supported"),
        ("lark", 'start: "a"~3..2', "line 1: the repetition ~3..2"),
        ("lark", 'start: "a"~2000000', "counts from 0 to 10,000"),
        ("lark", "start: " + "(" * 30 + '"a"' + ")" * 30, "nested deeper than 24 levels"),
        ("lark", "start: " + '"a" ' * 9000, "at most 16,384 are allowed"),
        ("regex", "(a", "at character 1 .* never closed"),
        ("regex", "a)", "closed that was never opened"),
        ("regex", "a**", "two quantifiers"),
        ("regex", r"\bword", r"\\b is not supported"),
        ("regex", r"(a)\1", r"\\1 is not supported"),
        ("regex", "a(^b)", "an anchor is in the middle"),
        ("regex", "[z-a]", "a range of characters has no such ends"),
        ("regex", "(" * 40 + ")" * 40, "nested deeper"),
        ("regex", "\ud800", "a surrogate"),
    ],
)
def test_definitions_that_are_refused_say_where_and_why(syntax, definition, reason):
    with pytest.raises(LanguageError, match=reason):
        language_of(syntax, definition)


@pytest.mark.parametrize(
    ("syntax", "definition"),
    [
        ("regex", "(?i)[" + "".join(f"{chr(0x400 + 5 * n)}-{chr(0x2400 + 5 * n)}" for n in range(2000)) + "]"),
        ("regex", "(.{0,60}){0,60}"),
        ("regex", r"[\W\S\D]" * 2000),
        ("regex", '"' + "\\\\" * 8000),
        ("lark", "start: /" + "\\\\" * 8000),
        ("lark", "start: " + '("<"|"/"|"p"|start)? ' * 700),
        ("lark", "start: a" + "\nb: c" * 3000),
    ],
)
def test_no_definition_keeps_the_server_busy(syntax, definition):
    begun = time.process_time()
    try:
        language = language_of(syntax, definition)
        ebnf.json_string(language)
        ebnf.raw(excluding(language, "</parameter>"))
    except LanguageError:
        pass
    assert time.process_time() - begun < 5  # it takes a second at most


def test_a_bad_grammar_is_a_400_that_names_the_tool(scripted):
    grammar = {"syntax": "lark", "definition": "start: A\nA: /(?=x)/"}
    custom = {"name": "patch", "format": {"type": "grammar", "grammar": grammar}}
    asked = {"messages": [{"role": "user", "content": "?"}], "tools": [{"type": "custom", "custom": custom}]}
    answer = httpx.post(f"{scripted.url}/v1/chat/completions", json=asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "tools[0].custom.format.grammar.definition")
    assert "line 2: at character 1 of the expression (?=x), lookaheads are not supported" in error["message"]
    tool = {"type": "custom", "name": "patch", "format": {"type": "grammar", **grammar}}
    answer = httpx.post(f"{scripted.url}/v1/responses", json={"input": "?", "tools": [tool]})
    assert (answer.status_code, "line 2" in answer.json()["error"]["message"]) == (400, True)

"""Which grammars are worth compiling: checks of the source alone, before any process is troubled with it.

Loads neither torch nor xgrammar, so the front may call it too. What passes here may still be refused by the compiler,
or prove too expensive for it.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from ..errors import InvalidRequest
from ..request import Grammar
from .grammar_schema import formats, subschemas

MAX_SOURCE_BYTES = 256 * 1024
MAX_REGEX = 2_000
"""Characters of a regular expression: checking one takes the square of its length, at worst 40 ms for so many."""
MAX_DEPTH = 64
"""Nesting of JSON containers, or of groups in a regex or an EBNF grammar."""
MAX_VALUES = 20_000
"""Values (containers, strings, numbers) in a JSON source: this bounds properties, enum values and alternatives."""
MAX_REPETITION = 1_000_000
"""Largest bound of minLength, maxItems, ``{m,n}`` and the like. xgrammar overflows beyond 32 bits and does not say."""

_BOUNDS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_BRACES = re.compile(r"\{\s*(\d+)\s*(?:,\s*(\d*)\s*)?\}")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# What may hold an unbalanced parenthesis without nesting: escapes, character classes, quoted strings, comments.
_REGEX_LITERALS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]", re.DOTALL)
_EBNF_LITERALS = re.compile(r'"(?:\\.|[^"\\\n])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*', re.DOTALL)


def check_grammar(grammar: Grammar) -> None:
    """Raise :class:`InvalidRequest` for a source that is malformed, too large, too deep, or refers elsewhere."""
    try:
        size = len(grammar.source.encode())
    except UnicodeEncodeError:
        _refuse("contains a surrogate that is no Unicode character")
    if size > MAX_SOURCE_BYTES:
        _refuse(f"is {size:,} bytes long, at most {MAX_SOURCE_BYTES:,} are allowed")
    match grammar.kind:
        case "json_schema":
            _check_schema(_load(grammar.source))
        case "structural_tag":
            _check_structural_tag(_load(grammar.source))
        case "regex":
            _check_regex(grammar.source)
        case "ebnf":
            _check_ebnf(grammar.source)


def _refuse(reason: str) -> NoReturn:
    raise InvalidRequest(f"The grammar {reason}.", "grammar")


def _load(source: str) -> Any:
    try:
        value = json.loads(source)
    except RecursionError:
        _refuse(f"is nested deeper than {MAX_DEPTH} levels")
    except ValueError as error:
        _refuse(f"is not valid JSON: {error}")
    values = 0
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        values += len(level)
        if values > MAX_VALUES:
            _refuse(f"holds more than {MAX_VALUES:,} values")
        level = [child for item in level for child in _children(item)]
        if not level:
            return value
    _refuse(f"is nested deeper than {MAX_DEPTH} levels")


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _check_schema(schema: Any) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        _refuse(f"must be a JSON schema, an object or a boolean, not {_type_name(schema)}")
    for here in subschemas(schema):
        for key in _REFERENCES:
            target = here.get(key)
            if target is not None and not (key == "$ref" and isinstance(target, str) and re.match(r"#(/|$)", target)):
                _refuse(f"has {key} {str(target)[:100]!r}: only $ref to '#' or '#/...' in the same schema is followed")
        for key in _BOUNDS:
            bound = here.get(key)
            if isinstance(bound, int | float) and not 0 <= bound <= MAX_REPETITION:
                _refuse(f"has {key} {str(bound)[:20]}, it must be between 0 and {MAX_REPETITION:,}")
        patterns = list(here["patternProperties"]) if isinstance(here.get("patternProperties"), dict) else []
        for pattern in (here.get("pattern"), *patterns):
            if isinstance(pattern, str):
                _check_regex(pattern)


def _check_structural_tag(tag: Any) -> None:
    if not isinstance(tag, dict) or not isinstance(tag.get("format"), dict):
        _refuse('must be a structural tag: {"type": "structural_tag", "format": {...}}')
    for here in formats(tag):
        match here.get("type"):
            case "json_schema" | "qwen_xml_parameter":
                _check_schema(here.get("json_schema"))
            case "regex" if isinstance(here.get("pattern"), str):
                _check_regex(here["pattern"])
            case "grammar" if isinstance(here.get("grammar"), str):
                _check_ebnf(here["grammar"])
            case "repeat":
                for key in ("min", "max"):
                    bound = here.get(key)
                    if isinstance(bound, int) and bound > MAX_REPETITION:
                        _refuse(f"repeats a format {bound:,} times, at most {MAX_REPETITION:,} are allowed")
            case _:
                pass


def _check_regex(pattern: str) -> None:
    if len(pattern) > MAX_REGEX:
        _refuse(f"has a regular expression of {len(pattern):,} characters; at most {MAX_REGEX:,} are allowed")
    _check_text(_REGEX_LITERALS.sub("", pattern))


def _check_ebnf(source: str) -> None:
    _check_text(_EBNF_LITERALS.sub("", source))


def _check_text(text: str) -> None:
    """Bound the nesting of groups and the counts of repetitions. ``text`` has no literals left in it."""
    depth = 0
    for bracket in re.findall(r"[()]", text):
        depth += 1 if bracket == "(" else -1
        if depth > MAX_DEPTH:
            _refuse(f"nests groups deeper than {MAX_DEPTH} levels")
    for low, high in _BRACES.findall(text):
        for bound in (low, high):
            if len(bound) > 7 or (bound and int(bound) > MAX_REPETITION):
                _refuse(f"repeats {bound[:20]} times, at most {MAX_REPETITION:,} are allowed")


def _type_name(value: Any) -> str:
    return {list: "an array", str: "a string", type(None): "null"}.get(type(value), "a number")

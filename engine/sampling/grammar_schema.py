"""The shape of grammar sources: where the subschemas of a JSON schema are, and the formats inside a structural tag.

Loads neither torch nor xgrammar: the front checks grammars with it, the grammar process prepares them with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

MAX_WHITESPACE = 24
"""Longest run of white space between the parts of a JSON text. Small models otherwise loop in it to the last token."""

_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SCHEMAS = (
    "items", "additionalItems", "unevaluatedItems", "contains", "additionalProperties", "unevaluatedProperties",
    "propertyNames", "not", "if", "then", "else",
)  # fmt: skip
_OBJECT_CONTENT = ("properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames")
_ARRAY_CONTENT = ("items", "prefixItems", "additionalItems", "unevaluatedItems")
_COMPOSITION = ("$ref", "anyOf", "oneOf", "allOf", "enum", "const")


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``schema`` and every object schema inside it. Values (``const``, ``enum``, ``default``) are not schemas."""
    waiting = [schema]
    while waiting:
        here = waiting.pop()
        yield here
        inside: list[Any] = [here.get(key) for key in _SCHEMAS]
        for key in _SCHEMA_MAPS:
            named = here.get(key)
            inside += named.values() if isinstance(named, dict) else ()
        for key in _SCHEMA_LISTS:
            listed = here.get(key)
            inside += listed if isinstance(listed, list) else ()
        waiting += [item for item in inside if isinstance(item, dict)]


def formats(tag: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every format inside a structural tag, outermost first. Does not enter the JSON schemas it finds."""
    waiting: list[Any] = [tag.get("format")]
    while waiting:
        here = waiting.pop()
        if not isinstance(here, dict):
            continue
        yield here
        waiting.append(here.get("content"))
        for key in ("elements", "tags"):
            listed = here.get(key)
            waiting += listed if isinstance(listed, list) else ()
        rules = here.get("rules")
        for rule in rules if isinstance(rules, list) else ():
            waiting += rule if isinstance(rule, list) else ()


def prepare_schema(source: str, escapes: Callable[[str], bool]) -> str:
    """The schema as it is compiled: see :func:`_adapt`."""
    schema = json.loads(source)
    _adapt(schema, escapes)
    return json.dumps(schema, ensure_ascii=False)


def prepare_structural_tag(source: str, escapes: Callable[[str], bool]) -> str:
    """The structural tag as it is compiled: its schemas adapted, its JSON's white space bounded."""
    tag = json.loads(source)
    for here in formats(tag):
        if here.get("type") == "json_schema":
            in_json = here.get("style", "json") == "json"
            _adapt(here.get("json_schema"), escapes if in_json else None)
            if in_json:
                here.setdefault("max_whitespace_cnt", MAX_WHITESPACE)
    return json.dumps(tag, ensure_ascii=False)


def _adapt(schema: Any, escapes: Callable[[str], bool] | None) -> None:
    """Change, in place, what xgrammar 0.2 would read in a way that does harm.

    It compiles a string with a length bound to any run of characters but quotes and backslashes: a control character
    makes invalid JSON of it, and text with a newline or a quote cannot be written at all: ``minLength: 1`` spoils the
    code argument of a tool. (The bounds also cost 7 s to compile for 152k tokens.) They are left to validation. So is
    a pattern of which ``escapes`` says that a text would need escapes in a JSON string: it would write none.
    """
    if isinstance(schema, dict):
        for here in list(subschemas(schema)):
            here.pop("minLength", None)
            here.pop("maxLength", None)
            if escapes is not None and isinstance(here.get("pattern"), str) and escapes(here["pattern"]):
                del here["pattern"]
            _open_bare_type(here)


def _open_bare_type(schema: dict[str, Any]) -> None:
    """Let ``{"type": "object"}`` be any object and ``{"type": "array"}`` any array.

    xgrammar closes every object and array: what is not declared is refused. That is what one wants of an object that
    declares its properties (a model should not invent arguments), but it leaves ``{}`` as the only free-form object.
    """
    if any(key in schema for key in _COMPOSITION):
        return
    types = schema.get("type")
    types = types if isinstance(types, list) else [types]
    if "object" in types and not any(key in schema for key in _OBJECT_CONTENT):
        schema["additionalProperties"] = True
    if "array" in types and not any(key in schema for key in _ARRAY_CONTENT):
        schema["items"] = {}

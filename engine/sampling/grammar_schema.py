"""The shape of grammar sources: where the subschemas of a JSON schema are, and the formats inside a structural tag.

Loads neither torch nor xgrammar: the front checks grammars with it, the grammar process prepares them with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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


def prepare_schema(source: str) -> str:
    """The schema as it is compiled: see :func:`_open_bare_types` and :func:`_spell_out_lengths`."""
    schema = json.loads(source)
    _open_bare_types(schema)
    _spell_out_lengths(schema)
    return json.dumps(schema, ensure_ascii=False)


def prepare_structural_tag(source: str) -> str:
    """The structural tag as it is compiled: its schemas opened, its JSON's white space bounded."""
    tag = json.loads(source)
    for here in formats(tag):
        if here.get("type") == "json_schema":
            _open_bare_types(here.get("json_schema"))
            _spell_out_lengths(here.get("json_schema"))
            if here.get("style", "json") == "json":
                here.setdefault("max_whitespace_cnt", MAX_WHITESPACE)
    return json.dumps(tag, ensure_ascii=False)


def _open_bare_types(schema: Any) -> None:
    """Let ``{"type": "object"}`` be any object and ``{"type": "array"}`` any array, in place.

    xgrammar closes every object and array: what is not declared is refused. That is what one wants of an object that
    declares its properties (a model should not invent arguments), but it leaves ``{}`` as the only free-form object.
    """
    if not isinstance(schema, dict):
        return
    for here in list(subschemas(schema)):
        if any(key in here for key in _COMPOSITION):
            continue
        types = here.get("type")
        types = types if isinstance(types, list) else [types]
        if "object" in types and not any(key in here for key in _OBJECT_CONTENT):
            here["additionalProperties"] = True
        if "array" in types and not any(key in here for key in _ARRAY_CONTENT):
            here["items"] = {}


def _spell_out_lengths(schema: Any) -> None:
    """Write the bounds of a string's length as a pattern, in place.

    xgrammar's own rule for them lets raw control characters through, and the text is then no JSON. The pattern leaves
    out quotes and backslashes too, which a string of bounded length can do without.
    """
    if not isinstance(schema, dict):
        return
    for here in list(subschemas(schema)):
        if not any(key in here for key in ("pattern", "format")) and ("minLength" in here or "maxLength" in here):
            bounds = f"{here.pop('minLength', 0)},{here.pop('maxLength', '')}"
            here["pattern"] = rf'^[^\x00-\x1f"\\]{{{bounds}}}$'

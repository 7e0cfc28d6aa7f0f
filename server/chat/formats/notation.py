"""The grammar of a JSON schema's values in a notation other than JSON, for formats that write arguments in one.

Enforced are types, properties, items, enum and const, anyOf and oneOf, and what xgrammar enforces of a single string or
number. References are followed as deep as the grammar then is of a reasonable size; what is deeper is any value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...json_values import JsonObject
from .base import MOST_WHITESPACE
from .raw_values import resolved

_DEEPEST = 6
_MOST_PARTS = 2000  # of one tool's grammar: references and choices among choices multiply
_LONG = 100  # characters of a text that count as one part more
_MOST_ORDERED = 32  # optional properties that stand in their order, which takes the square of so many parts
_IMPLIED = {"properties": "object", "items": "array", "prefixItems": "array", "pattern": "string"}


@dataclass(frozen=True)
class Notation:
    """How values are written.

    Attributes:
        text: the format of a string under its schema (``pattern``, ``format``), or of any string under ``{}``.
        quoted: one given string. key: one given property's name, with what separates it from its value.
        names: how true, false and null are spelled.
        any: the format of any value.
        by_name: properties stand in the order of their names, not in the schema's.
    """

    text: Callable[[JsonObject], JsonObject]
    quoted: Callable[[str], str]
    key: Callable[[str], str]
    names: dict[bool | None, str]
    any: JsonObject
    separator: str = ", "
    by_name: bool = False


def members(schema: JsonObject, notation: Notation, key: Callable[[str], str] | None = None) -> JsonObject:
    """The structural-tag format of what stands between the brackets of an object of ``schema``.

    The properties stand in their order. ``key`` writes their names, where they are written unlike those of the objects
    inside.
    """
    for deepest in range(_DEEPEST, 0, -1):
        with suppress(_TooLarge):
            return _Values(schema, notation, deepest).members(schema, 0, key or notation.key)
    return _Values(schema, notation, 0, math.inf).members(schema, 0, key or notation.key)


class _TooLarge(Exception):
    pass


class _Values:
    """Makes the formats of the values of a schema whose references lead into ``root``. They raise :class:`_TooLarge`.

    Args:
        deepest: the level from which on any value will do. most: parts that may be made in all.
    """

    def __init__(self, root: JsonObject, notation: Notation, deepest: int, most: float = _MOST_PARTS) -> None:
        self._root = root
        self._notation = notation
        self._deepest = deepest
        self._left = most

    def value(self, schema: Any, depth: int) -> JsonObject:
        self._count(1)
        schema = resolved(schema, self._root)
        if depth > self._deepest or not isinstance(schema, dict):
            return self._notation.any
        for key in ("enum", "const"):
            if key in schema:
                values = schema[key] if key == "enum" and isinstance(schema[key], list) else [schema[key]]
                return _either([self._said(written(item, self._notation)) for item in values])
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list) and schema[key]:
                return _either([self.value(item, depth + 1) for item in schema[key]])
        if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1:
            return self.value(schema["allOf"][0], depth + 1)
        kinds = schema.get("type") or next((kind for key, kind in _IMPLIED.items() if key in schema), None)
        if kinds is None:
            return self._notation.any
        listed = kinds if isinstance(kinds, list) else [kinds]
        return _either([self._of_type(kind, schema, depth) for kind in listed])

    def members(self, schema: JsonObject, depth: int, key: Callable[[str], str]) -> JsonObject:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        listed = schema.get("required")
        names = sorted(properties, key=str.lower) if self._notation.by_name else list(properties)
        required = [name for name in names if isinstance(listed, list) and name in listed]
        parts = {name: _sequence(self._said(key(name)), self.value(properties[name], depth + 1)) for name in properties}
        separator = _text(self._notation.separator)
        if required:
            # What comes before the first that is surely there ends with a separator, what comes after begins with one.
            first = names.index(required[0])
            before = [_maybe(parts[name], separator) for name in names[:first]]
            after = [(_sequence if name in required else _maybe)(separator, parts[name]) for name in names[first + 1 :]]
            return _sequence(*before, parts[names[first]], *after)
        if len(names) > _MOST_ORDERED:
            some = _either(list(parts.values()))
            more = {"type": "repeat", "min": 0, "max": len(names) - 1, "content": _sequence(separator, some)}
            return {"type": "optional", "content": _sequence(some, more)}
        # Whichever comes first has no separator before it.
        self._count(len(names) ** 2 // 2)
        starts = [
            _sequence(parts[name], *(_maybe(separator, parts[later]) for later in names[place + 1 :]))
            for place, name in enumerate(names)
        ]
        return {"type": "optional", "content": _either(starts)} if starts else _text("")

    def _of_type(self, kind: str, schema: JsonObject, depth: int) -> JsonObject:
        notation = self._notation
        match kind:
            case "string":
                self._count(len(str(schema.get("pattern"))) // _LONG)
                return notation.text(schema)
            case "integer" | "number":
                bounds = {key: item for key, item in schema.items() if key not in ("type", "description", "title")}
                plain = {
                    key: item for key, item in bounds.items() if isinstance(item, int | float) and math.isfinite(item)
                }
                return {"type": "json_schema", "json_schema": {"type": kind, **plain}}
            case "boolean":
                return _either([_text(notation.names[True]), _text(notation.names[False])])
            case "null":
                return _text(notation.names[None])
            case "array":
                return self._array(schema, depth)
            case "object" if isinstance(schema.get("properties"), dict) and schema["properties"]:
                return _sequence(_text("{"), self.members(schema, depth, notation.key), _text("}"))
            case _:
                return notation.any

    def _array(self, schema: JsonObject, depth: int) -> JsonObject:
        item = self.value(schema.get("items"), depth + 1)
        least, most = schema.get("minItems"), schema.get("maxItems")
        least = least if isinstance(least, int) else 0
        most = most if isinstance(most, int) else -1
        more = {
            "type": "repeat", "min": max(0, least - 1), "max": -1 if most < 0 else max(0, most - 1),
            "content": _sequence(_text(self._notation.separator), item),
        }  # fmt: skip
        items = _text("") if most == 0 else _sequence(item, more)
        return _sequence(_text("["), items if least else {"type": "optional", "content": items}, _text("]"))

    def _said(self, text: str) -> JsonObject:
        self._count(1 + len(text) // _LONG)
        return _text(text)

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise _TooLarge


def written(item: Any, notation: Notation) -> str:
    """One given value."""
    match item:
        case None | bool():
            return notation.names[item]
        case str():
            return notation.quoted(item)
        case dict():
            inside = [notation.key(key) + written(inner, notation) for key, inner in item.items()]
            return "{" + notation.separator.join(inside) + "}"
        case list():
            return "[" + notation.separator.join(written(inner, notation) for inner in item) + "]"
        case _:
            return str(item)


def _text(text: str) -> JsonObject:
    return {"type": "const_string", "value": text}


def _sequence(*elements: JsonObject) -> JsonObject:
    filled = [element for element in elements if element != _text("")]
    if len(filled) == 1:
        return filled[0]
    return {"type": "sequence", "elements": filled} if filled else _text("")


def _maybe(*elements: JsonObject) -> JsonObject:
    return {"type": "optional", "content": _sequence(*elements)}


def _either(elements: list[JsonObject]) -> JsonObject:
    return elements[0] if len(elements) == 1 else {"type": "or", "elements": elements}


def json_text(schema: JsonObject) -> JsonObject:
    """A string as JSON writes it, under its own schema."""
    kept = {key: item for key, item in schema.items() if key in ("pattern", "format")}
    return {
        "type": "json_schema", "json_schema": {"type": "string", **kept}, "max_whitespace_cnt": MOST_WHITESPACE,
    }  # fmt: skip

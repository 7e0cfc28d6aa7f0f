"""Turns an argument that a model wrote as plain text into JSON, by what the schema says it should be."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import warnings
from typing import Any

from ...json_values import JsonObject

_DEEPEST = 40  # what Python's parser takes without complaint
_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}  # fmt: skip
_ANY = frozenset(_SCALARS)
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_text(schema: object) -> bool:
    """Whether every value of the schema is a string that is passed on as it stands."""
    exact = isinstance(schema, dict) and any(key in schema for key in ("enum", "const", "pattern", "format"))
    return _types(schema) == {"string"} and not exact


def from_text(raw: str, schema: object) -> str:
    """The JSON text of the value that ``raw`` means. What fits nothing else is a string."""
    types = _types(schema)
    if types == {"string"}:
        return dumped(raw if is_text(schema) else raw.strip())
    value = _read(raw.strip())
    if value is None and raw.strip() not in ("null", "None"):
        return dumped(raw)
    return dumped(value if fits(value, types) or "string" not in types else raw)


def dumped(value: object) -> str:
    """JSON text, never failing: what is not JSON becomes its text."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(str(value))
    return text if text.isascii() or not _SURROGATE.search(text) else json.dumps(value)


def inner(text: str) -> str:
    """``text`` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def fits(value: object, types: frozenset[str] | set[str]) -> bool:
    """Whether ``value`` is of one of the JSON types."""
    for name in types:
        if isinstance(value, bool):
            if name == "boolean":
                return True
        elif isinstance(value, _SCALARS.get(name, ())) or (
            name == "integer" and isinstance(value, float) and value.is_integer()
        ):
            return True
    return False


def literal(text: str) -> Any:
    """A Python or JSON literal's value. Raises ValueError for anything else."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text, strict=False)
    if max(text.count("["), text.count("{"), text.count("(")) > _DEEPEST:
        raise ValueError("nested too deep")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a model escapes needlessly is no business of the log's
            return _plain(ast.literal_eval(text))
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("not a literal") from error


def argument_schema(parameters: JsonObject, name: str) -> object:
    """What a function's parameters say of one argument, with what its references refer to."""
    properties = parameters.get("properties")
    schema = properties.get(name) if isinstance(properties, dict) else None
    return resolved(schema, parameters)


def resolved(schema: object, root: JsonObject) -> object:
    """``schema``, or what its reference into ``root`` leads to."""
    for _ in range(8):
        target = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(target, str) or not target.startswith("#"):
            return schema
        schema = root
        for part in target[1:].split("/")[1:]:
            schema = schema.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
    return schema


def _read(raw: str) -> Any:
    try:
        return literal(raw)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    """Only what JSON has: tuples are lists, keys are text, and anything else is no literal of ours."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else dumped(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError("not a literal of JSON's kinds")


def _types(schema: object) -> frozenset[str]:
    """The JSON types that values of ``schema`` may have."""
    if not isinstance(schema, dict):
        return _ANY
    named = schema.get("type")
    if isinstance(named, str):
        return frozenset([named])
    if isinstance(named, list):
        return frozenset(item for item in named if isinstance(item, str))
    if isinstance(schema.get("enum"), list):
        return frozenset(name for value in schema["enum"] for name in _ANY if fits(value, {name}))
    if "const" in schema:
        return frozenset(name for name in _ANY if fits(schema["const"], {name}))
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return frozenset[str]().union(*(_types(item) for item in schema[key]))
    return _ANY

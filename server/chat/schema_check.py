"""Checks the JSON Schemas that clients send, before anything compiles them. Takes a millisecond for a new schema."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

MAX_TOOLS = 512
MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 32
NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")


class SchemaError(ValueError):
    """Why a schema cannot be used, in words for the client."""


def check_object_schema(schema: object) -> None:
    """Raise :class:`SchemaError` unless ``schema`` is a JSON Schema of an object, of a reasonable size."""
    check_schema(schema)
    if isinstance(schema, dict) and schema.get("type", "object") != "object":
        raise SchemaError(f"its type must be 'object', not {schema['type']!r}")


def check_schema(schema: object) -> None:
    """Raise :class:`SchemaError` unless ``schema`` is a JSON Schema (2020-12) of a reasonable size."""
    if not isinstance(schema, dict):
        raise SchemaError("it must be a JSON Schema object")
    if _depth_exceeds(schema, MAX_SCHEMA_DEPTH):
        raise SchemaError(f"it is nested deeper than {MAX_SCHEMA_DEPTH} levels")
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise SchemaError(f"it is larger than {MAX_SCHEMA_BYTES // 1024} KiB")
    problem = _problem(text)
    if problem is not None:
        raise SchemaError(f"it is not a valid JSON Schema: {problem}")


@functools.lru_cache(maxsize=512)  # an agent sends the same tools with every request
def _problem(text: str) -> str | None:
    import jsonschema  # a tenth of a second, and many servers never see a tool

    try:
        jsonschema.Draft202012Validator.check_schema(json.loads(text))
    except RecursionError:
        return "it is too complex"
    except jsonschema.SchemaError as error:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        return (f"{where}: {error.message}" if where else error.message)[:300]
    return None


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True

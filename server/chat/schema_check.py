"""Checks the JSON Schemas that clients send, before anything compiles them."""

from __future__ import annotations

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
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise SchemaError(f"it is larger than {MAX_SCHEMA_BYTES // 1024} KiB")
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except RecursionError as error:
        raise SchemaError("it is too complex") from error
    except jsonschema.SchemaError as error:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        raise SchemaError(
            f"it is not a valid JSON Schema: {where + ': ' if where else ''}{error.message[:200]}"
        ) from error


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

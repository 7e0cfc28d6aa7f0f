"""Checks the JSON Schemas that clients send, before anything compiles them.

A new schema of the largest size takes a third of a second, so this is not for the event loop.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_TOOLS = 512
MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 32
_ELSEWHERE = re.compile(r'"\$ref": "meta/[^#]*#')
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
    from jsonschema.exceptions import best_match

    try:
        error = best_match(_metaschema().iter_errors(json.loads(text)))
    except RecursionError:
        return "it is too complex"
    if error is None:
        return None
    where = "".join(f"[{part!r}]" for part in error.absolute_path)
    return (f"{where}: {error.message}" if where else error.message)[:300]


@functools.cache
def _metaschema() -> Validator:
    """The metaschema in one piece: its vocabularies, joined by dynamic references, take twenty times as long."""
    import jsonschema  # a tenth of a second, and many servers never see a tool
    from jsonschema_specifications import REGISTRY

    meta: Any = jsonschema.Draft202012Validator.META_SCHEMA
    properties, definitions = dict(meta["properties"]), {}
    for part in meta["allOf"]:
        vocabulary: Any = REGISTRY.contents(urljoin(meta["$id"], part["$ref"]))
        properties |= vocabulary["properties"]
        definitions |= vocabulary.get("$defs", {})
    text = json.dumps({"type": ["object", "boolean"], "properties": properties, "$defs": definitions})
    text = _ELSEWHERE.sub('"$ref": "#', text.replace('"$dynamicRef": "#meta"', '"$ref": "#"'))
    formats = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(json.loads(text), format_checker=formats)


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

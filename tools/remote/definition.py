"""A tool's definition as an external server gives it, made safe to show to a model and to check arguments by."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import mcp.types as types

from ..json_values import JsonObject
from ..spec import Annotations

_LONGEST_DESCRIPTION = 4_000  # characters
_LARGEST_SCHEMA = 32 * 1024  # bytes
_DEEPEST_SCHEMA = 24
# What is slow to check by itself. The server checks its arguments in any case.
_SLOW = ("patternProperties", "uniqueItems", "unevaluatedItems", "unevaluatedProperties")
# Dropped unless their values are objects: these are no patterns, but schemas of arguments that have such a name.
_UNLESS_NAMES = ("pattern", "$id", "$schema", "$dynamicRef")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class BadDefinition(ValueError):
    """Why a tool cannot be offered."""


@dataclass(frozen=True)
class Definition:
    """
    Args:
        name: as the server calls it.
        hints: what the server claims of the tool's effects, as far as it makes us more careful.
        says_read_only: its claim to change nothing. Only whoever asks for it by name may rely on that.
    """

    name: str
    description: str
    parameters: JsonObject
    hints: Annotations
    says_read_only: bool = False

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of all that a model or a person gets to see. Another one needs another approval."""
        text = json.dumps([self.name, self.description, self.parameters], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def definition(tool: types.Tool) -> Definition:
    """Raises BadDefinition."""
    schema = tool.input_schema
    text = json.dumps([tool.name, tool.description, schema], sort_keys=True)
    if len(text) > _LARGEST_SCHEMA:
        raise BadDefinition(f"its definition has {len(text)} bytes, more than {_LARGEST_SCHEMA}")
    if schema.get("type", "object") != "object":
        raise BadDefinition("its arguments are no object")
    hints = tool.annotations or types.ToolAnnotations()
    return Definition(
        name=tool.name,
        description=visible(tool.description or tool.title or tool.name, _LONGEST_DESCRIPTION),
        parameters={"type": "object", "properties": {}, **_bounded(schema, _DEEPEST_SCHEMA)},
        # Only what makes us more careful is believed.
        hints=Annotations(read_only=False, destructive=True, open_world=hints.open_world_hint is not False),
        says_read_only=hints.read_only_hint is True,
    )


def visible(text: str, longest: int) -> str:
    """``text`` without what people do not see: terminal escapes, control characters, zero-width and tag characters.

    Of a text longer than twice ``longest`` only that much is looked at, since it takes time.
    """
    text = _ESCAPES.sub("", text[: 2 * longest])
    seen = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Co", "Cs"))
    return "".join(seen)[:longest]


def _bounded(schema: JsonObject, depth: int) -> JsonObject:
    """``schema`` without what would let a server fetch (foreign references) or stall us (regular expressions)."""
    if depth == 0:
        raise BadDefinition(f"its schema is nested deeper than {_DEEPEST_SCHEMA} levels")
    kept: JsonObject = {}
    for key, value in schema.items():
        if key in _SLOW or (key in _UNLESS_NAMES and not isinstance(value, dict)):
            continue
        if key == "$ref" and isinstance(value, str) and not value.startswith("#"):
            raise BadDefinition(f"its schema refers to {value[:100]!r}, which is not fetched")
        kept[key] = _inner(value, depth - 1)
    return kept


def _inner(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return _bounded(value, depth)
    if isinstance(value, list):
        return [_inner(item, depth) for item in value]
    return visible(value, _LARGEST_SCHEMA) if isinstance(value, str) else value

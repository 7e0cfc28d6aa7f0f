"""JSON answers, and how a route says in the OpenAPI description which it gives."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response

from ..json_values import JsonObject

REFERENCE = "#/components/schemas/{name}"


def answer(value: object, status: int = 200) -> Response:
    """``value`` as JSON: what msgspec encodes."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def answered(kind: Any, *, streams: bool = False, also: tuple[int, ...] = ()) -> JsonObject:
    """For a route's ``openapi_extra``: it writes a ``kind`` itself, so FastAPI cannot see it. See :func:`schemas`.

    Args:
        kind: a Struct or a TypedDict.
        streams: it also answers with events.
        also: further statuses with the same answer.
    """
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REFERENCE)
    content: JsonObject = {"application/json": {"schema": schema}}
    if streams:
        content["text/event-stream"] = {}
    others = {str(status): {"description": "Not now", "content": content} for status in also}
    return {"responses": {"200": {"content": content}, **others}}


def schemas(*kinds: Any) -> JsonObject:
    """The components that :func:`answered` refers to."""
    return msgspec.json.schema_components(kinds, ref_template=REFERENCE)[1]

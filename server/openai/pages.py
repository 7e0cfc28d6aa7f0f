"""Lists as OpenAI pages them: ``after`` an id, at most ``limit``, in ascending or descending order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from .errors import ApiError

JsonObject = dict[str, Any]

_MOST = 100


def page(request: Request, objects: Sequence[JsonObject], *, limit: int = 20, order: str = "desc") -> JsonObject:
    """The page of ``objects``, given oldest first, that the query asks for. Raises :class:`ApiError`."""
    query = request.query_params
    order = query.get("order") or order
    if order not in ("asc", "desc"):
        raise ApiError("order must be 'asc' or 'desc'.", code="invalid_value", param="order")
    if given := query.get("limit"):
        if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= _MOST * 100:
            raise ApiError(f"limit must be a number from 1 to {_MOST}.", code="invalid_value", param="limit")
        limit = int(given)
    ordered = list(objects if order == "asc" else reversed(objects))
    after = query.get("after")
    if after:
        places = [place for place, one in enumerate(ordered) if one["id"] == after]
        if not places:
            raise ApiError(f"There is no {after[:100]!r} to list after.", code="invalid_value", param="after")
        ordered = ordered[places[0] + 1 :]
    data = ordered[:limit]
    return {
        "object": "list", "data": data, "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None, "has_more": len(ordered) > len(data),
    }  # fmt: skip

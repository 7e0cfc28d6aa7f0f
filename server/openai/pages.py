"""Lists as OpenAI pages them: ``after`` an id, at most ``limit``, in ascending or descending order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, Literal, TypedDict, TypeVar

from fastapi import Request

from .errors import ApiError

T = TypeVar("T", bound=Mapping[str, object])

_MOST = 100


class Page(TypedDict, Generic[T]):
    """One page of a list."""

    object: Literal["list"]
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(TypedDict):
    """What was deleted."""

    id: str
    object: str
    deleted: Literal[True]


def page(request: Request, objects: Sequence[T], *, limit: int = 20, order: str = "desc") -> Page[T]:
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
    return listed(ordered[:limit], more=len(ordered) > limit)


def listed(data: list[T], *, more: bool = False) -> Page[T]:
    """All of ``data`` as one page."""
    ends = (str(data[0]["id"]), str(data[-1]["id"])) if data else (None, None)
    return {"object": "list", "data": data, "first_id": ends[0], "last_id": ends[1], "has_more": more}

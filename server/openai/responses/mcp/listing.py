"""What a server offers, as an item: listed once for a conversation, and read again from there.

The item pins the definitions: a tool that has changed since is not called. After that it is listed again, and what is
different then needs approval, whatever was said before.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .....tools import Registry
from ....json_values import JsonObject

if TYPE_CHECKING:
    from .....tools.remote.definition import Definition


CHANGED = -32050  # in the error of a call that was not made because its tool has changed
_MOST = 512  # tools of one listing
_MOST_LISTINGS = 32  # of one server


def listing(label: str, tools: Iterable[JsonObject], error: str | None = None) -> JsonObject:
    """An ``mcp_list_tools`` item of what :func:`entry` makes."""
    return {
        "id": f"mcpl_{secrets.token_hex(24)}", "type": "mcp_list_tools", "server_label": label, "tools": list(tools),
        "error": error,
    }  # fmt: skip


def entry(name: str, description: str, schema: JsonObject, *, read_only: bool) -> JsonObject:
    """One tool of a listing."""
    return {
        "name": name, "description": description, "input_schema": schema, "annotations": {"read_only": read_only},
    }  # fmt: skip


def own_listings(
    labels: Mapping[str, Sequence[str]], registry: Registry, items: Sequence[Mapping[str, Any]]
) -> list[JsonObject]:
    """Listings of the connectors that are tools of this server, as far as ``items`` do not have them."""
    specs = registry.tools
    return [
        listing(
            label,
            (
                entry(
                    name, specs[name].spec.description, specs[name].spec.parameters,
                    read_only=specs[name].spec.annotations.read_only,
                )
                for name in names
            ),
        )
        for label, names in labels.items()
        if not _listings(items, label)
    ]  # fmt: skip


def pinned(items: Sequence[Mapping[str, Any]], label: str) -> dict[str, Definition] | None:
    """What the conversation was last told of a server's tools; None when they must be listed (again)."""
    last = _listings(items, label)[-1:]
    if not last:
        return None
    place, item = last[0]
    if any(_has_changed(later, label) for later in items[place + 1 :]):
        return None
    return _definitions(item)


def renewed(items: Sequence[Mapping[str, Any]], label: str, now: Mapping[str, Definition]) -> set[str]:
    """The tools whose definition is ``now`` another one than before, and of which no call was approved since.

    Of a server that was listed all too often, every tool counts as another one.
    """
    listings = _listings(items, label)
    before = [(place, _definitions(item)) for place, item in listings[-_MOST_LISTINGS:]]
    changed = {
        name
        for name, tool in now.items()
        if len(listings) > _MOST_LISTINGS
        or any(name in older and older[name].fingerprint != tool.fingerprint for _, older in before)
    }
    since = max((place for place, older in before if _same(older, now)), default=len(items))
    return changed - _approved(items[since:], label)


def _listings(items: Sequence[Mapping[str, Any]], label: str) -> list[tuple[int, Mapping[str, Any]]]:
    return [
        (place, item)
        for place, item in enumerate(items)
        if item.get("type") == "mcp_list_tools" and item.get("server_label") == label and not item.get("error")
    ]


def _definitions(item: Mapping[str, Any]) -> dict[str, Definition]:
    """What is no definition is left out: a client may send anything. Loads the MCP SDK."""
    import mcp.types as types
    from pydantic import ValidationError

    from .....tools.remote.definition import BadDefinition, definition

    found: dict[str, Definition] = {}
    tools = item.get("tools")
    for tool in tools[:_MOST] if isinstance(tools, list) else ():
        try:
            annotations = {"readOnlyHint": bool((tool.get("annotations") or {}).get("read_only"))}
            shown = {"name": tool["name"], "description": tool.get("description"), "annotations": annotations}
            read = definition(types.Tool.model_validate({**shown, "inputSchema": tool["input_schema"]}))
        except (AttributeError, KeyError, TypeError, ValidationError, BadDefinition):
            continue
        found[read.name] = read
    return found


def _same(one: Mapping[str, Definition], other: Mapping[str, Definition]) -> bool:
    return {name: tool.fingerprint for name, tool in one.items()} == {
        name: tool.fingerprint for name, tool in other.items()
    }


def _has_changed(item: Mapping[str, Any], label: str) -> bool:
    error = item.get("error")
    return (
        item.get("type") == "mcp_call"
        and item.get("server_label") == label
        and isinstance(error, Mapping)
        and error.get("code") == CHANGED
    )


def _approved(items: Iterable[Mapping[str, Any]], label: str) -> set[str]:
    asked: dict[object, str] = {}
    approved: set[str] = set()
    for item in items:
        if item.get("type") == "mcp_approval_request" and item.get("server_label") == label:
            asked[item.get("id")] = str(item.get("name"))
        elif item.get("type") == "mcp_approval_response" and item.get("approve") is True:
            name = asked.get(item.get("approval_request_id"))
            approved.update([] if name is None else [name])
    return approved

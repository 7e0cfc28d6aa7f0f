"""The names by which requests ask for hosted tools: one by one, or by group."""

from __future__ import annotations

from collections.abc import Iterable

from ...tools import Offer, Registry
from ..hands import for_model

GROUPS = ("python", "files", "browser")
_BROWSER = ("search", "open", "find")


class NotOffered(ValueError):
    """A request asks for tools that are not here; the message says which there are."""


def select(names: Iterable[str], offer: Offer, model: str) -> Registry:
    """The tools that a request names, in the offer's order, as far as ``model`` can handle them.

    A tool that is named by itself comes along in any case. Raises :class:`NotOffered`.
    """
    there = offer.registry.tools
    handled = for_model(offer.registry, model).tools
    chosen: set[str] = set()
    for name in names:
        if name in there and name not in GROUPS:
            found = [name]
        else:
            found = [tool for tool in handled if name in ("all", group_of(tool))]
        if not found:
            raise NotOffered(_missing(name, offer))
        chosen.update(found)
    return Registry.of(tool for name, tool in there.items() if name in chosen)


def group_of(tool: str) -> str:
    """``python``, ``browser`` or ``files``."""
    if tool == "python":
        return "python"
    return "browser" if tool in _BROWSER or tool.startswith("browser_") else "files"


def _missing(name: str, offer: Offer) -> str:
    there = offer.registry.tools
    sentences = [f"There is no hosted tool {name[:100]!r} on this server."]
    if there:
        groups = [group for group in GROUPS if group in map(group_of, there)]
        sentences.append(f"There are the groups {', '.join(groups)} and the tools {', '.join(there)}.")
    return " ".join([*sentences, *offer.missing])

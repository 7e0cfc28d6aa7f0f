"""What a search gives, wherever it is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Hit:
    """One result. ``url`` is what `open` takes; ``snippet`` some words of the page."""

    title: str
    url: str
    snippet: str


class SearchBackend(ABC):
    """Finds pages."""

    @abstractmethod
    async def search(self, query: str, count: int) -> list[Hit]:
        """At most ``count`` results, the best first.

        Raises:
            ToolError: the search could not be made.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of what it holds."""

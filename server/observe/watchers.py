"""Several watchers of the engine in the place of one."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine import Request, TokenOutput
from ...engine.client import Watcher


class Watchers:
    """Tells each, see :class:`engine.client.Watcher`."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def submitted(self, request: Request) -> None:
        for watcher in self._watchers:
            watcher.submitted(request)

    def produced(self, request: Request, output: TokenOutput) -> None:
        for watcher in self._watchers:
            watcher.produced(request, output)

    def ended(self, request: Request) -> None:
        for watcher in self._watchers:
            watcher.ended(request)

"""Several watchers of the engine in the place of one."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine import Request, TokenOutput
from ...engine.streams import Watch, Watcher


class Watchers:
    """Tells each, see :class:`engine.streams.Watcher`."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def watch(self, request: Request) -> Watch:
        return _Watches([watcher.watch(request) for watcher in self._watchers])


class _Watches:
    def __init__(self, watches: Sequence[Watch]) -> None:
        self._watches = watches

    def produced(self, output: TokenOutput) -> None:
        for watch in self._watches:
            watch.produced(output)

    def ended(self) -> None:
        for watch in self._watches:
            watch.ended()

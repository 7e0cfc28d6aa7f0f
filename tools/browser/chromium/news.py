"""What happens in a session's browser beside its calls: dialogs, downloads, windows, crashes."""

from __future__ import annotations

from collections import deque

_KEPT, _LONGEST = 20, 400  # messages, characters of one: a page can make as many as it likes


class News:
    """The latest messages, until they are told.

    Attributes:
        count: how many there have ever been.
    """

    def __init__(self) -> None:
        self.count = 0
        self._untold = 0
        self._latest: deque[str] = deque(maxlen=_KEPT)

    def add(self, message: str) -> None:
        self.count += 1
        self._untold += 1
        self._latest.append(message[:_LONGEST])

    def take(self, since: int = 0) -> list[str]:
        """Those not told yet that came after the first ``since`` of all. They count as told then."""
        wanted = min(self._untold, self.count - since)
        shown = [self._latest.pop() for _ in range(min(wanted, len(self._latest)))][::-1]
        self._untold -= wanted
        return [f"[... {wanted - len(shown)} earlier messages left out ...]", *shown] if wanted > len(shown) else shown

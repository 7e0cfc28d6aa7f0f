"""Holds callers to their limits: how many requests a minute, how many at a time."""

from __future__ import annotations

import math
from collections import Counter

from .keys import Limits
from .rate import Rate


class Limiter:
    """One for the whole server. Callers go by their names, so several keys of one name share its limits."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._rates: dict[int, Rate] = {}

    def enter(self, name: str, limits: Limits) -> int | None:
        """Begin a request, which :meth:`leave` ends. Otherwise: the seconds after which to try again."""
        if limits.concurrent and self._running[name] >= limits.concurrent:
            return 1
        per_minute = limits.requests_per_minute
        if per_minute:
            rate = self._rates.get(per_minute)
            if rate is None:
                rate = self._rates[per_minute] = Rate(per_minute / 60, max(1, per_minute // 5))
            if wait := rate.wait(name):
                return math.ceil(wait)
        self._running[name] += 1
        return None

    def leave(self, name: str) -> None:
        self._running[name] -= 1
        if not self._running[name]:
            del self._running[name]

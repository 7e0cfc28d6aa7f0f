"""How often one caller may call: a bucket of tokens that fills at a steady rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_MOST_CALLERS = 10_000


@dataclass
class _Bucket:
    tokens: float
    filled: float


@dataclass
class Rate:
    """
    Args:
        per_second: calls that a caller may make on the long run; 0 for any number.
        burst: calls that may come at once.
    """

    per_second: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def wait(self, caller: str) -> float:
        """Take a token for a call: 0.0, or without one the seconds after which to try again."""
        if not self.per_second:
            return 0.0
        now = self.clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            if len(self._buckets) >= _MOST_CALLERS:
                self._forget(now)
            bucket = self._buckets[caller] = _Bucket(self.burst, now)
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.filled) * self.per_second)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self.per_second
        bucket.tokens -= 1
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the callers whose buckets are full again: nothing is lost with them."""
        full = self.burst / self.per_second
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket.filled < full}

"""How many CPU threads a small step takes: all, or one where others keep the cores busy.

A step of a few tokens is dozens of short parallel regions, each of which ends when its slowest thread does. On an idle
machine all threads are fastest; where another process takes a core away for a time slice, every region waits for it and
the step takes ten times as long as with one thread. Which it is shows in how long steps take.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

_SMALL = 2.5e8  # multiplications of a step up to which one thread may win
_WEIGHT = 0.3  # of the newest step in the mean
_FIRST_TRIAL, _LAST_TRIAL = 16, 1024  # steps until the slower choice is tried again; doubled each time it loses


@dataclass
class _Choice:
    """Mean seconds of recent steps of one size, with all threads and with one."""

    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    used: int = 0  # an index of ``seconds``
    patience: int = _FIRST_TRIAL
    left: int = 1

    def next(self) -> int:
        """The choice for the next step."""
        self.left -= 1
        return self.used if self.left else 1 - self.used

    def learn(self, tried: int, seconds: float) -> None:
        known = self.seconds[tried]
        self.seconds[tried] = known + _WEIGHT * (seconds - known) if known and self.left else seconds
        best = int(self.seconds[1] < self.seconds[0]) if all(self.seconds) else self.used
        if best != self.used:
            self.used, self.patience, self.left = best, _FIRST_TRIAL, _FIRST_TRIAL
        elif not self.left:
            self.patience = min(2 * self.patience, _LAST_TRIAL)
            self.left = self.patience


class StepThreads:
    """Chooses for each size of steps by itself.

    Args:
        weights: multiplications that one token takes.
    """

    def __init__(self, weights: int) -> None:
        self._weights = weights
        self._all = torch.get_num_threads()
        self._choices: dict[int, _Choice] = {}

    @contextmanager
    def of_step(self, tokens: int) -> Iterator[None]:
        """Run a step of ``tokens`` tokens with as many threads as are best for it."""
        if self._all == 1 or tokens * self._weights > _SMALL:
            yield
            return
        choice = self._choices.setdefault(tokens.bit_length(), _Choice())
        tried = choice.next()
        if tried:
            torch.set_num_threads(1)
        begun = time.perf_counter()
        try:
            yield
        finally:
            if tried:
                torch.set_num_threads(self._all)
        choice.learn(tried, time.perf_counter() - begun)

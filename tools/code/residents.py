"""How many interpreters live at a time."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from .interpreter import Interpreter


class Residents:
    """Makes room for one more interpreter by ending the one that was idle for longest.

    Args:
        most: how many may live. When all of them run code, more do.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls = 0
        self._last_call: WeakKeyDictionary[Interpreter, int] = WeakKeyDictionary()

    async def admit(self, interpreter: Interpreter) -> None:
        self._calls += 1
        self._last_call[interpreter] = self._calls
        if interpreter.running:
            return
        others = [other for other in self._last_call if other.running and other is not interpreter]
        while len(others) >= self._most and (idle := [other for other in others if not other.busy]):
            oldest = min(idle, key=self._last_call.__getitem__)
            others.remove(oldest)
            await oldest.evict()

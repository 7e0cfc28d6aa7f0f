"""Processes that a supervisor of ours looks after (`inside/supervisor.py`), told by words on a message socket."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .backend import Stats
from .processes import Processes, readable

MESSAGE = 1 << 16


@dataclass
class Supervised(Processes):
    """Args:
    server: the socket to the supervisor. When it is closed, the supervisor ends everything.
    """

    server: socket.socket

    def complaint(self) -> str:
        with suppress(OSError, ValueError):
            return str(json.loads(self.server.recv(MESSAGE, socket.MSG_DONTWAIT)).get("problem", ""))
        return ""

    def freeze(self) -> bool:
        return self._ask(b"freeze") is not None

    def thaw(self) -> None:
        with suppress(OSError):
            self.server.send(b"thaw")

    def stats(self) -> Stats:
        counted = self._ask(b"stats") or {}
        limited = super().stats()
        return Stats(
            limited.memory if limited.memory is not None else counted.get("memory"),
            counted.get("processes"),
            counted.get("cpu_seconds"),
        )

    def _ask(self, word: bytes) -> dict[str, Any] | None:
        """The supervisor's answer, or None. Only our own code runs in it."""
        with suppress(OSError, ValueError):
            while readable(self.server.fileno()):  # answers that nobody waited for
                if not self.server.recv(MESSAGE):
                    return None
            self.server.send(word)
            if readable(self.server.fileno(), 1.0):
                return json.loads(self.server.recv(MESSAGE))
        return None

    def close(self, timeout: float = 5.0) -> None:
        super().close(timeout)
        self.server.close()

"""What an isolation backend is: it makes sandboxes, one Python in each, cut off from the host.

Nothing here knows how isolation is done, nor that a sandbox is on this host: `local.py` has what the backends of one
machine share, and a remote one would implement the same two classes. Everything that comes from inside is untrusted.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from .answer import Answer
from .output import Capture
from .spec import SandboxSpec

Limit = Literal["output-limit", "disk-limit", "cpu-limit"]
_NEWS = 1 << 16


class Execution:
    """A cell in flight.

    Args:
        output_limit: bytes that it may print; ``limit`` is set when it prints more.
        whole: bytes of each stream that are kept on disk when they are too many for a text. See :meth:`close`.
    """

    def __init__(self, output_limit: int, whole: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self.nonce = secrets.token_hex(16)
        self.stdout, self.stderr = Capture(whole), Capture(whole)
        self.news = bytearray()  # printed since somebody last took it, up to a bound
        self.answer: asyncio.Future[Answer] = loop.create_future()
        self.limit: asyncio.Future[Limit] = loop.create_future()
        self._output_limit = output_limit

    def print(self, capture: Capture, data: bytes) -> None:
        capture.add(data)
        self.news += data[: _NEWS - len(self.news)]
        if self.stdout.total + self.stderr.total > self._output_limit:
            self.hit("output-limit")

    def close(self) -> None:
        self.stdout.close()
        self.stderr.close()

    def hit(self, limit: Limit) -> None:
        if not self.limit.done():
            self.limit.set_result(limit)


@dataclass(frozen=True)
class Stats:
    """What a sandbox uses now. None where this machine does not count it."""

    memory: int | None = None  # bytes, of all processes and temporary files together
    processes: int | None = None  # threads count
    cpu_seconds: float | None = None


class Sandbox(ABC):
    """One session's running sandbox. Belongs to the event loop it was made in.

    One execution at a time: :meth:`exec_code` starts it, its ``answer``, its ``limit`` or :attr:`ended` comes, and
    :meth:`finish` ends it.
    """

    ended: asyncio.Future[None]  # done when nothing runs inside any more
    listener: socket.socket | None = None  # with a network: where connections to its proxy arrive, for one taker

    @abstractmethod
    async def exec_code(self, code: str, cell: int) -> Execution:
        """Start Python source in the sandbox's one ``__main__``; ``cell`` is its number in tracebacks."""

    @abstractmethod
    def finish(self) -> None:
        """End the execution: what was printed before its answer is in its captures, what comes later is dropped."""

    @abstractmethod
    def interrupt(self) -> None:
        """Send SIGINT to the Python inside."""

    @abstractmethod
    async def freeze(self) -> bool:
        """Stop all processes inside, background ones too. False: this sandbox cannot."""

    @abstractmethod
    async def thaw(self) -> None:
        """Let them go on."""

    @abstractmethod
    def open(self, path: str, flags: int, mode: int = 0) -> int:
        """A descriptor of ``path`` in the workspace, with the rights of the code inside.

        Raises:
            OSError: as open(2); EXDEV or ELOOP when the path leaves the workspace.
        """

    @abstractmethod
    async def stats(self) -> Stats: ...

    @abstractmethod
    def out_of_memory(self) -> bool:
        """Whether the kernel has killed something inside for memory."""

    @abstractmethod
    def kill(self) -> None:
        """End everything inside at once; :attr:`ended` tells when it has."""

    @abstractmethod
    async def close(self) -> None:
        """Kill, wait until nothing is left, let go. Idempotent."""


class Backend(ABC):
    """One way to isolate.

    Args:
        name: as shown to users.
        python: what runs inside, by its path on the host.
        lacks: in words, what other ways have and this one has not; empty for a whole sandbox.
        networks: a sandbox can have a network of its own.
    """

    name: str
    python: str
    lacks: str = ""
    networks: bool = False

    @abstractmethod
    async def create(self, spec: SandboxSpec) -> Sandbox:
        """A sandbox with its Python ready.

        Raises:
            SandboxUnavailable: it does not start.
        """

    @abstractmethod
    def warm_up(self, network: bool = False) -> None:
        """Make ready what will be needed soon, without waiting for it: sandboxes with a network or without."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the backend itself keeps running. Sandboxes are closed by whoever created them."""

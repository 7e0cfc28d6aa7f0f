"""A session's processes as the zygote has made them, before a session claims them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import SandboxUnavailable
from .cgroups import SessionCgroup
from .identity import Identity
from .processes import readable, send_signal
from .supervised import MESSAGE


class ZygoteGone(Exception):
    """The zygote has died."""


@dataclass
class Embryo:
    """A session's processes that wait to be claimed, or what is there before them.

    Args:
        server: message socket to pid 1 of the session.
        identity: whom they run as; None for the server's own user.
        network: they will have one.
    """

    server: socket.socket
    control: socket.socket
    stdout: int
    stderr: int
    confinement: SessionCgroup | None
    identity: Identity | None
    network: bool
    init: int = -1  # pidfds
    program: int = -1

    async def ready(self) -> None:
        """Until they wait.

        Raises:
            ZygoteGone: nothing will come any more.
            SandboxUnavailable: it said why it cannot go on.
        """
        loop = asyncio.get_running_loop()
        while self.init < 0 or self.program < 0:  # two processes tell of them, in any order
            try:
                data, fds, _, _ = socket.recv_fds(self.server, MESSAGE, 1)
            except BlockingIOError:
                await _readable(loop, self.server)
                continue
            except OSError as error:
                raise ZygoteGone from error
            if not data:
                raise ZygoteGone
            message = json.loads(data)
            if "problem" in message:
                raise SandboxUnavailable(f"the sandbox did not start: {message['problem']}")
            self._note(message, fds)

    def _note(self, message: dict[str, Any], fds: list[int]) -> None:
        if "pid" in message:
            (self.init,) = fds
        if "ready" in message:
            (self.program,) = fds

    def close(self, timeout: float = 1.0) -> None:
        """End them unclaimed. Blocks for a moment, until the groups can be removed."""
        with suppress(OSError, ValueError):
            while self.init < 0 or self.program < 0:  # news of them may be there unread
                data, fds, _, _ = socket.recv_fds(self.server, MESSAGE, 1)
                if not data:
                    break
                self._note(json.loads(data), fds)
        self.server.close()
        self.control.close()
        if self.init >= 0:
            send_signal(self.init, signal.SIGKILL)  # it may wait for packages that are loaded for seconds
            readable(self.init, timeout)
        for fd in (self.stdout, self.stderr, self.init, self.program):
            if fd >= 0:
                os.close(fd)
        if self.confinement:
            self.confinement.close()


async def _readable(loop: asyncio.AbstractEventLoop, end: socket.socket) -> None:
    event = asyncio.Event()
    loop.add_reader(end, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(end)

"""The host's end of a running sandbox: its control socket, its two output pipes, and the news of its end.

Reads all the time, so that nothing inside ever blocks on a full pipe, and keeps only what the current call may keep.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import struct
from contextlib import suppress
from typing import Any, Literal

from ..errors import SandboxUnavailable
from ..sandbox.spec import MIB, Sandbox
from .output import Capture

_CHUNK = 1 << 16
_MESSAGES_LIMIT = 4 * MIB  # of control traffic in one call; an honest answer has some kilobytes
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid


Limit = Literal["output-limit", "disk-limit"]


class Call:
    """One cell in flight: what it printed so far, its answer, and a limit that it hit."""

    def __init__(self, output_limit: int) -> None:
        loop = asyncio.get_running_loop()
        self.nonce = secrets.token_hex(16)
        self.stdout, self.stderr = Capture(), Capture()
        self.answer: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.limit: asyncio.Future[Limit] = loop.create_future()
        self._output_limit = output_limit

    def print(self, capture: Capture, data: bytes) -> None:
        capture.add(data)
        if self.stdout.total + self.stderr.total > self._output_limit:
            self.hit("output-limit")

    def hit(self, limit: Limit) -> None:
        if not self.limit.done():
            self.limit.set_result(limit)


class Channel:
    """Talks to the program inside one sandbox. Belongs to the event loop it was made in."""

    def __init__(self, sandbox: Sandbox, output_limit: int) -> None:
        self.sandbox = sandbox
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._output_limit = output_limit
        self._call = Call(output_limit)  # what is printed before the first cell: the launcher's complaints
        self._idle = False
        self._buffer = bytearray()
        self._messages = 0
        self._program_pid = 0
        self._closed = False
        self._end = os.pidfd_open(sandbox.launcher.pid)
        sandbox.control.setblocking(False)
        for fd in (sandbox.stdout, sandbox.stderr):
            os.set_blocking(fd, False)
        self._loop.add_reader(sandbox.control, self._on_control)
        self._loop.add_reader(sandbox.stdout, self._on_output, sandbox.stdout)
        self._loop.add_reader(sandbox.stderr, self._on_output, sandbox.stderr)
        self._loop.add_reader(self._end, self._on_end)

    async def handshake(self, rlimits: dict[str, int], seconds: float) -> None:
        """Give the program its limits and wait until it is there.

        Raises:
            SandboxUnavailable: it ended, or did not answer in time.
        """
        call = self._call
        with suppress(OSError):
            await self._send({"id": call.nonce, "rlimits": rlimits})
        await asyncio.wait({call.answer, self.ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not call.answer.done() or not self._program_pid:
            self._drain()
            complaint = call.stderr.text().strip() or f"no answer within {seconds:g} seconds"
            raise SandboxUnavailable(f"the sandbox did not start: {complaint[-500:]}")
        try:
            self.sandbox.settle(self._program_pid)
        except OSError as error:  # it has ended already
            raise SandboxUnavailable(f"the sandbox could not be limited: {error}") from error
        self._idle = True

    async def send(self, code: str, number: int) -> Call:
        """Start a cell. The answer comes in the call's ``answer``; :meth:`finish` ends the call."""
        call = self._call = Call(self._output_limit)
        self._messages = 0
        self._idle = False
        with suppress(OSError):  # the program is gone: `ended` says so
            await self._send({"id": call.nonce, "cell": number, "code": code})
        return call

    def finish(self) -> None:
        """End the call: what was printed before its answer is in its captures, what comes later is dropped."""
        self._drain()
        self._call = Call(self._output_limit)
        self._idle = True

    async def close(self) -> None:
        """Kill everything inside and let go. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for fd in (self.sandbox.control, self.sandbox.stdout, self.sandbox.stderr, self._end):
            self._loop.remove_reader(fd)
        os.close(self._end)
        if not self.ended.done():
            self.ended.set_result(None)
        await asyncio.to_thread(self.sandbox.close)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._loop.sock_sendall(self.sandbox.control, json.dumps(message).encode() + b"\n")

    def _on_end(self) -> None:
        self._loop.remove_reader(self._end)
        if not self.ended.done():
            self.ended.set_result(None)

    def _on_output(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(fd)
            return
        self._call.print(self._call.stdout if fd == self.sandbox.stdout else self._call.stderr, data)
        if self._idle and self._call.limit.done():  # a forgotten child that prints for ever
            self.sandbox.kill()

    def _drain(self) -> None:
        """Take what is in the pipes now: at most what a pipe holds, since children may go on writing."""
        for fd, capture in ((self.sandbox.stdout, self._call.stdout), (self.sandbox.stderr, self._call.stderr)):
            with suppress(BlockingIOError):
                taken = 0
                while taken < MIB and (data := os.read(fd, _CHUNK)):
                    taken += len(data)
                    self._call.print(capture, data)

    def _on_control(self) -> None:
        try:
            data, ancillary, _, _ = self.sandbox.control.recvmsg(_CHUNK, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        self._messages += len(data)
        if not data or self._messages > _MESSAGES_LIMIT:
            self._loop.remove_reader(self.sandbox.control)
            self.sandbox.kill()
            return
        if not self._program_pid:
            # The kernel vouches for the sender's pid. Only the program has run so far, none of the session's code.
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self._program_pid = _CREDENTIALS.unpack(content)[0]
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._on_message(line)

    def _on_message(self, line: bytearray) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict) or self._call.answer.done():
            return
        if message.get("id") == self._call.nonce:
            self._call.answer.set_result(message)

"""A sandbox on this machine: the program's control socket, its two output pipes, and the news of its end.

Reads all the time, so that nothing inside ever blocks on a full pipe, and keeps only what the current execution may
keep. An answer counts only with the execution's nonce, sizes are capped, and nothing is ever unpickled. An execution
ends on its answer, never on the end of stdout, which a forgotten child may hold open.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from contextlib import suppress
from typing import Any

from ..errors import SandboxUnavailable
from ..files.beneath import Root
from ..files.directory import Directory
from .answer import Answer, message_of
from .backend import Execution, Sandbox, Stats
from .processes import Processes
from .spec import MIB, NETWORK_ENVIRONMENT, PROXY, SandboxSpec

START_TIMEOUT = 20.0  # seconds; a loaded machine starts a sandbox in well under one

_CHUNK = 1 << 16
_WHOLE = 16 * MIB  # of each stream, kept for a file in the workspace
_MESSAGES_LIMIT = 24 * MIB  # of control traffic in one execution: all figures that it may draw fit in
_LINE = _CHUNK  # what a line counts as at least: there are few, and each takes time
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_CREDENTIALS_SPACE = socket.CMSG_SPACE(_CREDENTIALS.size)
_DESCRIPTOR = struct.Struct("=i")


async def start_local(processes: Processes, spec: SandboxSpec) -> LocalSandbox:
    """Wait until the program inside is there, and give it its limits. On failure the processes are gone.

    Raises:
        SandboxUnavailable: it ended, or did not answer in time.
    """
    try:
        sandbox = LocalSandbox(processes, spec)
    except OSError as error:
        processes.close()
        raise SandboxUnavailable(f"could not watch the sandbox: {error}") from error
    try:
        await sandbox.handshake(spec)
    except BaseException:
        await asyncio.shield(sandbox.close())
        raise
    return sandbox


class LocalSandbox(Sandbox):
    """Talks to the program inside; owns ``processes``."""

    def __init__(self, processes: Processes, spec: SandboxSpec) -> None:
        self._processes = processes
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._output_limit = spec.limits.output
        self._execution = Execution(self._output_limit)  # of what is printed before the first cell: complaints
        self._idle = False
        self._frozen = False
        self._freezing: asyncio.Future[bool] | None = None
        self._buffer = bytearray()
        self._messages = 0
        self.program_pid = 0
        self._closed = False
        self._end = processes.end()
        try:
            self._files = Root(Directory(spec.workspace), spec.disk_identity)
        except OSError:
            os.close(self._end)
            raise
        self._listens = spec.network
        processes.control.setblocking(False)
        for fd in (processes.stdout, processes.stderr):
            os.set_blocking(fd, False)
        self._loop.add_reader(processes.control, self._on_control)
        self._loop.add_reader(processes.stdout, self._on_output, processes.stdout)
        self._loop.add_reader(processes.stderr, self._on_output, processes.stderr)
        self._loop.add_reader(self._end, self._on_end)

    async def handshake(self, spec: SandboxSpec) -> None:
        execution = self._execution
        network = {"listen": PROXY, "environment": NETWORK_ENVIRONMENT} if spec.network else {}
        with suppress(OSError):
            await self._send({"id": execution.nonce, "rlimits": spec.limits.rlimits(), **network})
        events = {execution.answer, self.ended}
        await asyncio.wait(events, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if not execution.answer.done() or not self.program_pid:
            self._drain()
            silence = "it ended" if self.ended.done() else f"no answer within {START_TIMEOUT:g} seconds"
            complaint = execution.stderr.text().strip() or self._processes.complaint() or silence
            raise SandboxUnavailable(f"the sandbox did not start: {complaint[-500:]}")
        try:
            self._processes.settle(self.program_pid)
        except OSError as error:  # it has ended already
            raise SandboxUnavailable(f"the sandbox could not be limited: {error}") from error
        self._idle = True

    async def exec_code(self, code: str, cell: int) -> Execution:
        execution = self._execution = Execution(self._output_limit, _WHOLE)
        self._messages = 0
        self._idle = False
        if self._frozen or self._freezing:
            await self.thaw()
        with suppress(OSError):  # the program is gone: `ended` says so
            await self._send({"id": execution.nonce, "cell": cell, "code": code})
        return execution

    def finish(self) -> None:
        self._drain()
        self._execution = Execution(self._output_limit)
        self._idle = True

    def interrupt(self) -> None:
        self._processes.interrupt()

    async def freeze(self) -> bool:
        if not self._closed and not self._frozen:
            # Somebody who waits for it may be cancelled; the thread goes on, and nothing may overtake it.
            self._freezing = asyncio.ensure_future(asyncio.to_thread(self._processes.freeze))
            self._frozen = await asyncio.shield(self._freezing)
        return self._frozen

    async def thaw(self) -> None:
        if self._freezing:
            await self._freezing
            self._freezing = None
        self._frozen = False
        if not self._closed:
            self._processes.thaw()

    def open(self, path: str, flags: int, mode: int = 0) -> int:
        return self._files.open(path, flags, mode)

    async def stats(self) -> Stats:
        return await asyncio.to_thread(self._processes.stats)

    def out_of_memory(self) -> bool:
        return self._processes.out_of_memory()

    def kill(self) -> None:
        self._processes.kill()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._freezing:
            await self._freezing
        for fd in (self._processes.control, self._processes.stdout, self._processes.stderr, self._end):
            self._loop.remove_reader(fd)
        os.close(self._end)
        self._files.directory.close()
        if self.listener:
            self.listener.close()
        if not self.ended.done():
            self.ended.set_result(None)
        await asyncio.to_thread(self._processes.close)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._loop.sock_sendall(self._processes.control, json.dumps(message).encode() + b"\n")

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
        execution = self._execution
        execution.print(execution.stdout if fd == self._processes.stdout else execution.stderr, data)
        if self._idle and execution.limit.done():  # a forgotten child that prints for ever
            self.kill()

    def _drain(self) -> None:
        """Take what is in the pipes now: at most what a pipe holds, since children may go on writing."""
        streams = (self._processes.stdout, self._execution.stdout), (self._processes.stderr, self._execution.stderr)
        for fd, capture in streams:
            with suppress(BlockingIOError):
                taken = 0
                while taken < MIB and (data := os.read(fd, _CHUNK)):
                    taken += len(data)
                    self._execution.print(capture, data)

    def _on_control(self) -> None:
        try:
            data, ancillary, _, _ = self._processes.control.recvmsg(_CHUNK, _CREDENTIALS_SPACE + self._room())
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        self._messages += len(data) + data.count(b"\n") * _LINE
        if not data or self._messages > _MESSAGES_LIMIT:
            self._loop.remove_reader(self._processes.control)
            self.kill()
            return
        if not self.program_pid:
            # The kernel vouches for the sender's pid. Only the program has run so far, none of the session's code.
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self.program_pid = _CREDENTIALS.unpack(content)[0]
                elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self.listener = socket.socket(fileno=_DESCRIPTOR.unpack(content)[0])
        self._buffer += data
        if b"\n" in data:
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                self._on_message(line)

    def _room(self) -> int:
        """For the listener, which comes with the first message; later ones bring no descriptors in."""
        return socket.CMSG_SPACE(_DESCRIPTOR.size) if self._listens and not self.program_pid else 0

    def _on_message(self, line: bytearray) -> None:
        execution = self._execution
        message = None if execution.answer.done() else message_of(line)
        if message and message.id == execution.nonce:
            execution.answer.set_result(Answer.of(message))

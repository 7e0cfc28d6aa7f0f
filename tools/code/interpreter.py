"""One session's Python: started when first needed, kept between calls, stopped when it does not stop by itself.

Everything that arrives from inside is untrusted: an answer counts only with this call's nonce, sizes are capped, and
nothing is ever unpickled. A call ends on the answer, never on the end of stdout, which a forgotten child may hold open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from ..errors import SandboxUnavailable
from ..sandbox.spec import MIB, Backend, SandboxSpec
from .channel import Call, Channel
from .output import visible

Status = Literal["ok", "error", "timeout", "killed", "died", "out-of-memory", "output-limit", "disk-limit"]

START_TIMEOUT = 20.0  # seconds; a loaded machine starts a sandbox in well under one
WATCH_INTERVAL = 0.5  # seconds between two looks at the size of the workspace
_PART_LIMIT = 20_000  # characters; the program inside cuts earlier


@dataclass(frozen=True)
class Outcome:
    """What became of one call.

    Args:
        status: ``ok``; ``error`` (see ``traceback``); ``timeout`` (interrupted, variables kept); ``killed`` (timed out
            and did not stop when interrupted); ``died`` (the process ended by itself); or the limit that was hit.
        state_lost: variables of earlier calls are gone. Reported once, in the first outcome after the loss.
        seconds: wall time of the call.
        excess: what is too much in the workspace, in a sentence, when ``status`` is ``disk-limit``.
    """

    status: Status
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    traceback: str | None = None
    state_lost: bool = False
    seconds: float = 0.0
    excess: str | None = None


class Interpreter:
    """Runs cells one after the other in a sandbox.

    Args:
        backend: how to isolate.
        spec: the session's sandbox.
        output_limit: bytes that one call may print before it is stopped (what is kept is far less).
        grace: seconds that interrupted code gets to stop before it is killed.
        over_quota: says in a sentence what is too much in the workspace (more than so many times the quota), or None.
            Asked while a call runs and after it. As long as there is too much, Python can delete but not write.
    """

    def __init__(
        self,
        backend: Backend,
        spec: SandboxSpec,
        *,
        output_limit: int = 64 * MIB,
        grace: float = 2.0,
        over_quota: Callable[[int], Awaitable[str | None]] | None = None,
    ) -> None:
        self._backend = backend
        self._spec = spec
        self._output_limit = output_limit
        self._grace = grace
        self._over_quota = over_quota
        self._lock = asyncio.Lock()
        self._channel: Channel | None = None
        self._cells = 0
        self._lost = False  # a loss that no outcome has reported yet
        self._full = False  # the workspace holds too much
        self._stopping: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._channel is not None and not self._channel.ended.done()

    async def execute(self, code: str, seconds: float) -> Outcome:
        """Run one cell for at most ``seconds``. Cancelling this really stops the cell.

        Raises:
            SandboxUnavailable: the sandbox does not start.
        """
        async with self._lock:
            began = time.monotonic()
            channel = await self._ready()
            self._cells += 1
            call: Call | None = None
            try:
                call = await channel.send(code, self._cells)
                return await self._outcome(channel, call, began, seconds)
            except asyncio.CancelledError:
                self._stopping = asyncio.create_task(self._abandon(channel, call))
                await asyncio.shield(self._stopping)
                raise

    async def close(self) -> None:
        """End the sandbox at once, with whatever runs in it. A later call would start a new one."""
        if self._stopping:
            await self._stopping
        await self._close()

    async def _close(self) -> None:
        channel, self._channel = self._channel, None
        if channel:
            await channel.close()

    async def _ready(self) -> Channel:
        if self._stopping:  # a call that was cancelled twice did not wait for its own end
            await self._stopping
            self._stopping = None
        made_room = self._full and not await self._excess()
        if self._channel and (self._channel.ended.done() or made_room):
            await self._close()
            self._lost = True
        if made_room:
            self._full = False
        if self._channel is None:
            self._channel = await self._start()
            self._cells = 0
        return self._channel

    async def _start(self) -> Channel:
        limits = replace(self._spec.limits, file_size=0) if self._full else self._spec.limits
        # In this thread: the launcher ends when the thread that started it does.
        sandbox = self._backend.start(self._spec, _worker_source())
        try:
            channel = Channel(sandbox, self._output_limit)
        except OSError as error:
            sandbox.close()
            raise SandboxUnavailable(f"could not watch the sandbox: {error}") from error
        try:
            await channel.handshake(limits.rlimits(), START_TIMEOUT)
        except BaseException:
            await asyncio.shield(channel.close())
            raise
        return channel

    async def _outcome(self, channel: Channel, call: Call, began: float, seconds: float) -> Outcome:
        watcher = asyncio.create_task(self._watch_quota(call))
        try:
            events = {call.answer, call.limit, channel.ended}
            await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watcher.cancel()
        lost = False
        status: Status
        if call.answer.done():
            status = "error" if call.answer.result().get("traceback") else "ok"
        elif channel.ended.done():
            status = "out-of-memory" if channel.sandbox.out_of_memory() else "died"
            lost = True
        else:
            status = call.limit.result() if call.limit.done() else "timeout"
            lost = await self._stop(channel, call)
            if lost and status == "timeout":
                status = "killed"
        channel.finish()
        excess = None if self._full else await self._excess()
        if excess:
            status, lost, self._full = "disk-limit", True, True
        if lost:
            await self._close()
        lost, self._lost = lost or self._lost, False
        answer = call.answer.result() if call.answer.done() else {}
        return Outcome(
            status=status,
            stdout=call.stdout.text(),
            stderr=call.stderr.text(),
            value=_text(answer.get("value")),
            traceback=_text(answer.get("traceback")),
            state_lost=lost,
            seconds=time.monotonic() - began,
            excess=excess,
        )

    async def _stop(self, channel: Channel, call: Call | None) -> bool:
        """Interrupt the cell, and kill the sandbox if that does not help. True: the state is lost."""
        channel.sandbox.interrupt()
        if call:
            await asyncio.wait({call.answer, channel.ended}, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
            if call.answer.done():
                return False
        channel.sandbox.kill()
        return True

    async def _abandon(self, channel: Channel, call: Call | None) -> None:
        """Stop a call whose outcome nobody will see; the next one tells of the loss."""
        if await self._stop(channel, call):
            self._lost = True
            await self._close()

    async def _watch_quota(self, call: Call) -> None:
        while self._over_quota:
            await asyncio.sleep(WATCH_INTERVAL)
            if await self._excess(times=2 if self._full else 1):
                call.hit("disk-limit")

    async def _excess(self, times: int = 1) -> str | None:
        return await self._over_quota(times) if self._over_quota else None


def _text(part: object) -> str | None:
    """A part of an untrusted answer, fit to be shown: a string of bounded length without lone surrogates."""
    if not isinstance(part, str):
        return None
    return visible(part[:_PART_LIMIT].encode("utf-8", "backslashreplace").decode())


@cache
def _worker_source() -> str:
    return Path(__file__).with_name("worker.py").read_text(encoding="utf-8")

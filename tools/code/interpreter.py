"""One session's Python: started when first needed, kept between calls, stopped when it does not stop by itself."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from ..egress.proxy import Door
from ..errors import ToolError
from ..sandbox.answer import Answer, Figure
from ..sandbox.backend import Backend, Execution, Sandbox
from ..sandbox.output import Capture, visible
from ..sandbox.spec import SandboxSpec
from .network import Connect

Status = Literal["ok", "error", "timeout", "killed", "died", "out-of-memory", "output-limit", "disk-limit", "cpu-limit"]
Listen = Callable[[str], Awaitable[None]]

_INSISTENCE = 0.5  # seconds between two interrupts of a cell that goes on
WATCH_INTERVAL = 0.5  # seconds between two looks at what a running call uses and prints


@dataclass(frozen=True)
class Idle:
    """What becomes of an interpreter that is not used. Seconds after its last call; None for never.

    Args:
        freeze: its processes are stopped, those in the background too, and go on with the next call.
        evict: it is ended. The next call starts a new one and reports ``state_lost``.
    """

    freeze: float | None = 5.0
    evict: float | None = 1200.0


_IDLE = Idle()


@dataclass(frozen=True)
class Outcome:
    """What became of one execution.

    Args:
        status: ``ok``; ``error`` (see ``traceback``); ``timeout`` (interrupted, variables kept); ``killed`` (timed out
            and did not stop when interrupted); ``died`` (the process ended by itself); or the limit that was hit.
        state_lost: variables of earlier calls are gone. Reported once, in the first outcome after the loss.
        seconds: wall time of the execution.
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
    figures: tuple[Figure, ...] = ()


class Interpreter:
    """Runs cells one after the other in a sandbox.

    Args:
        backend: how to isolate.
        spec: the session's sandbox.
        grace: seconds that interrupted code gets to stop before it is killed.
        over_quota: says in a sentence what is too much in the workspace (more than so many times the quota), or None.
            Asked while a call runs and after it. As long as there is too much, Python can delete but not write.
        idle: what happens between calls.
        connect: gives each new sandbox its way out to the network; None for none.
        lost: there was one before this, whose variables are gone.
    """

    def __init__(
        self,
        backend: Backend,
        spec: SandboxSpec,
        *,
        grace: float = 2.0,
        over_quota: Callable[[int], Awaitable[str | None]] | None = None,
        idle: Idle = _IDLE,
        connect: Connect | None = None,
        lost: bool = False,
    ) -> None:
        self._backend = backend
        self._spec = replace(spec, network=connect is not None)
        self._connect = connect
        self._door: Door | None = None
        self._grace = grace
        self._over_quota = over_quota
        self._idle = idle
        self._resting: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._cells = 0
        self._lost = lost  # a loss that no outcome has reported yet
        self._full = False  # the workspace holds too much
        self._stopping: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._sandbox is not None and not self._sandbox.ended.done()

    @property
    def busy(self) -> bool:
        return self._lock.locked()

    async def execute(self, code: str, seconds: float, listen: Listen | None = None) -> Outcome:
        """Run one cell for at most ``seconds``. Cancelling this really stops the cell.

        Args:
            listen: gets what the cell prints while it runs, a piece now and then.

        Raises:
            SandboxUnavailable: the sandbox does not start.
        """
        async with self._lock:
            self._wake()
            try:
                return await self._execute(code, seconds, listen)
            finally:
                self._rest()

    async def _execute(self, code: str, seconds: float, listen: Listen | None) -> Outcome:
        began = time.monotonic()
        sandbox = await self._ready()
        self._cells += 1
        execution: Execution | None = None
        try:
            execution = await sandbox.exec_code(code, self._cells)
            return await self._outcome(sandbox, execution, began, seconds, listen)
        except asyncio.CancelledError:
            self._stopping = asyncio.create_task(self._abandon(sandbox, execution))
            await asyncio.shield(self._stopping)
            raise
        finally:
            if execution:
                execution.close()

    async def start(self) -> None:
        """Make the sandbox ready before the first call.

        Raises:
            SandboxUnavailable: it does not start.
        """
        async with self._lock:
            self._wake()
            await self._ready()
            self._rest()

    async def evict(self) -> None:
        """End the sandbox for want of room, when no call runs. The next call tells of the loss."""
        async with self._lock:
            if self._sandbox:
                self._lost = True
                await self._close()

    async def close(self) -> None:
        """End the sandbox at once, with whatever runs in it. A later call would start a new one."""
        self._wake()
        if self._stopping:
            await self._stopping
        await self._close()

    def _wake(self) -> None:
        if self._resting and self._resting is not asyncio.current_task():
            self._resting.cancel()
            self._resting = None

    def _rest(self) -> None:
        if self._sandbox:
            self._resting = asyncio.create_task(self._grow_old(self._sandbox))

    async def _grow_old(self, sandbox: Sandbox) -> None:
        freeze, evict = self._idle.freeze, self._idle.evict
        if freeze is not None and (evict is None or freeze < evict):
            await self._watch_rest(sandbox, freeze)
            async with self._lock:  # a call that comes now waits until it is done, then thaws
                await sandbox.freeze()
        if evict is not None:
            await asyncio.sleep(max(0.0, evict - (freeze or 0.0)))
            await self.evict()

    async def _watch_rest(self, sandbox: Sandbox, seconds: float) -> None:
        """End a sandbox whose background processes write too much after their call."""
        until = time.monotonic() + seconds
        while not sandbox.ended.done() and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, WATCH_INTERVAL))
            if await self._excess(times=2 if self._full else 1):
                self._full = True
                sandbox.kill()
                return

    async def _close(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
        door, self._door = self._door, None
        if door:
            await door.close()
        if sandbox:
            await sandbox.close()

    async def _ready(self) -> Sandbox:
        if self._stopping:  # a call that was cancelled twice did not wait for its own end
            await self._stopping
            self._stopping = None
        made_room = self._full and not await self._excess()
        if self._sandbox and (self._sandbox.ended.done() or made_room):
            await self._close()
            self._lost = True
        if made_room:
            self._full = False
        if self._sandbox is None:
            limits = replace(self._spec.limits, file_size=0) if self._full else self._spec.limits
            self._sandbox = await self._backend.create(replace(self._spec, limits=limits))
            self._cells = 0
            if self._connect and (listener := self._sandbox.listener):
                self._door = await self._connect(listener)
        return self._sandbox

    async def _outcome(
        self, sandbox: Sandbox, execution: Execution, began: float, seconds: float, listen: Listen | None
    ) -> Outcome:
        watcher = asyncio.create_task(self._watch(sandbox, execution, listen))
        try:
            events = {execution.answer, execution.limit, sandbox.ended}
            await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watcher.cancel()
        lost = False
        status: Status
        if execution.answer.done():
            status = "error" if execution.answer.result().traceback else "ok"
        elif sandbox.ended.done():
            status = "out-of-memory" if sandbox.out_of_memory() else "died"
            lost = True
        else:
            status = execution.limit.result() if execution.limit.done() else "timeout"
            lost = await self._stop(sandbox, execution) or status == "cpu-limit"
            if lost and status == "timeout":
                status = "killed"
        sandbox.finish()
        excess = None if self._full else await self._excess()
        if excess:
            status, lost, self._full = "disk-limit", True, True
        stdout, stderr = await self._texts(sandbox, execution)
        if lost:
            await self._close()
        lost, self._lost = lost or self._lost, False
        answer = execution.answer.result() if execution.answer.done() else Answer()
        return Outcome(
            status=status,
            stdout=stdout,
            stderr=stderr,
            value=answer.value,
            traceback=answer.traceback,
            state_lost=lost,
            seconds=time.monotonic() - began,
            excess=excess,
            figures=answer.figures,
        )

    async def _stop(self, sandbox: Sandbox, execution: Execution | None) -> bool:
        """Interrupt the cell, and kill the sandbox if that does not help. True: the state is lost."""
        deadline = time.monotonic() + self._grace
        while execution and (left := deadline - time.monotonic()) > 0:
            sandbox.interrupt()  # again and again: the first may have come before the cell began
            events = {execution.answer, sandbox.ended}
            await asyncio.wait(events, timeout=min(left, _INSISTENCE), return_when=asyncio.FIRST_COMPLETED)
            if execution.answer.done():
                return False
            if sandbox.ended.done():
                break
        sandbox.kill()
        return True

    async def _abandon(self, sandbox: Sandbox, execution: Execution | None) -> None:
        """Stop a call whose outcome nobody will see; the next one tells of the loss."""
        if await self._stop(sandbox, execution):
            self._lost = True
            await self._close()

    async def _watch(self, sandbox: Sandbox, execution: Execution, listen: Listen | None) -> None:
        """Look after a running call: tell what it prints, stop it when it uses too much."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            if listen and execution.news:
                text = visible(execution.news.decode("utf-8", "replace"))
                execution.news.clear()
                await listen(text)
            if await self._excess(times=2 if self._full else 1):
                execution.hit("disk-limit")
            used = (await sandbox.stats()).cpu_seconds
            if used is not None and used > self._spec.limits.cpu_seconds:
                execution.hit("cpu-limit")

    async def _texts(self, sandbox: Sandbox, execution: Execution) -> tuple[str, str]:
        """What was printed; where the middle had to be left out, all of it is in a file of the workspace."""
        texts: list[str] = []
        for kind, capture in (("output", execution.stdout), ("errors", execution.stderr)):
            name = f"python-{kind}-{self._cells}.txt"
            kept = capture.left_out and not self._full and await asyncio.to_thread(_keep, sandbox, capture, name)
            texts.append(capture.text(kept_in=name if kept else None))
        return texts[0], texts[1]

    async def _excess(self, times: int = 1) -> str | None:
        return await self._over_quota(times) if self._over_quota else None


def _keep(sandbox: Sandbox, capture: Capture, name: str) -> bool:
    """Write all of a stream to a file. False: there is no room, or the name belongs to something else."""
    try:
        fd = sandbox.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    except (OSError, ToolError):
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        capture.copy_whole(fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True

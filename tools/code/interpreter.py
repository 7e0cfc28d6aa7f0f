"""One session's Python: started when first needed, kept between calls, stopped when it does not stop by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from ..sandbox.answer import Answer, Figure
from ..sandbox.backend import Backend, Execution, Sandbox
from ..sandbox.spec import SandboxSpec

Status = Literal["ok", "error", "timeout", "killed", "died", "out-of-memory", "output-limit", "disk-limit"]

WATCH_INTERVAL = 0.5  # seconds between two looks at the size of the workspace


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
    """

    def __init__(
        self,
        backend: Backend,
        spec: SandboxSpec,
        *,
        grace: float = 2.0,
        over_quota: Callable[[int], Awaitable[str | None]] | None = None,
    ) -> None:
        self._backend = backend
        self._spec = spec
        self._grace = grace
        self._over_quota = over_quota
        self._lock = asyncio.Lock()
        self._sandbox: Sandbox | None = None
        self._cells = 0
        self._lost = False  # a loss that no outcome has reported yet
        self._full = False  # the workspace holds too much
        self._stopping: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._sandbox is not None and not self._sandbox.ended.done()

    async def execute(self, code: str, seconds: float) -> Outcome:
        """Run one cell for at most ``seconds``. Cancelling this really stops the cell.

        Raises:
            SandboxUnavailable: the sandbox does not start.
        """
        async with self._lock:
            began = time.monotonic()
            sandbox = await self._ready()
            self._cells += 1
            execution: Execution | None = None
            try:
                execution = await sandbox.exec_code(code, self._cells)
                return await self._outcome(sandbox, execution, began, seconds)
            except asyncio.CancelledError:
                self._stopping = asyncio.create_task(self._abandon(sandbox, execution))
                await asyncio.shield(self._stopping)
                raise

    async def close(self) -> None:
        """End the sandbox at once, with whatever runs in it. A later call would start a new one."""
        if self._stopping:
            await self._stopping
        await self._close()

    async def _close(self) -> None:
        sandbox, self._sandbox = self._sandbox, None
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
        return self._sandbox

    async def _outcome(self, sandbox: Sandbox, execution: Execution, began: float, seconds: float) -> Outcome:
        watcher = asyncio.create_task(self._watch_quota(execution))
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
            lost = await self._stop(sandbox, execution)
            if lost and status == "timeout":
                status = "killed"
        sandbox.finish()
        excess = None if self._full else await self._excess()
        if excess:
            status, lost, self._full = "disk-limit", True, True
        if lost:
            await self._close()
        lost, self._lost = lost or self._lost, False
        answer = execution.answer.result() if execution.answer.done() else Answer()
        return Outcome(
            status=status,
            stdout=execution.stdout.text(),
            stderr=execution.stderr.text(),
            value=answer.value,
            traceback=answer.traceback,
            state_lost=lost,
            seconds=time.monotonic() - began,
            excess=excess,
            figures=answer.figures,
        )

    async def _stop(self, sandbox: Sandbox, execution: Execution | None) -> bool:
        """Interrupt the cell, and kill the sandbox if that does not help. True: the state is lost."""
        sandbox.interrupt()
        if execution:
            events = {execution.answer, sandbox.ended}
            await asyncio.wait(events, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
            if execution.answer.done():
                return False
        sandbox.kill()
        return True

    async def _abandon(self, sandbox: Sandbox, execution: Execution | None) -> None:
        """Stop a call whose outcome nobody will see; the next one tells of the loss."""
        if await self._stop(sandbox, execution):
            self._lost = True
            await self._close()

    async def _watch_quota(self, execution: Execution) -> None:
        while self._over_quota:
            await asyncio.sleep(WATCH_INTERVAL)
            if await self._excess(times=2 if self._full else 1):
                execution.hit("disk-limit")

    async def _excess(self, times: int = 1) -> str | None:
        return await self._over_quota(times) if self._over_quota else None

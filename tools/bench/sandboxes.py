"""The code interpreter's sandboxes: from nothing to the first result, warm calls, memory, stopping, freezing.

A session is what the python tool gives an agent: namespaces, a uid, a system call filter, an interpreter with the
scientific packages loaded where they are installed. ipykernel runs the same code beside it, without any isolation.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import psutil

from ..code.tool import PythonTool
from ..sandbox.backend import Sandbox
from ..sandbox.local import LocalSandbox
from ..sandbox.probe import probe
from ..sandbox.spec import SandboxSpec
from ..sandbox.zygote import Zygote
from ..spec import ToolContext
from ..workspace import Sessions
from .figures import Figure, emit
from .kernel import Kernel, kernel, memory

_IMPORTS = "import numpy, pandas, matplotlib.pyplot"


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("agenthost bench tools", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each time")
    parser.add_argument("--live", type=int, default=300, help="sessions that live at the same time; 0 to leave it out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(words)
    verdict = probe(names=["zygote"])
    backend = verdict.require()
    assert isinstance(backend, Zygote)
    try:
        figures = asyncio.run(_measure(backend, options))
    finally:
        backend.close()
    emit("python tool", figures, [f"{name}: {value}" for name, value in verdict.facts.items()], as_json=options.json)
    return 0


async def _measure(backend: Zygote, options: argparse.Namespace) -> list[Figure]:
    science = _has_science(backend)
    with kernel() as peer:
        others = _Peer(peer, options.runs, science)
    async with Sessions(ttl=None) as sessions:
        bench = _Bench(backend, sessions, options.runs)
        backend.keep_ready(0)
        await bench.forget_first()
        figures = [
            Figure.of("first result, cold", await bench.cold(), "ms", 40, others.first),
        ]
        backend.keep_ready(2)
        first, imports = await bench.pooled(_IMPORTS if science else "import json")
        figures.append(Figure.of("first result, from the ready pool", first, "ms", 5))
        figures.append(Figure.of("then its imports", imports, "ms", 5, others.imports))
        figures.append(Figure.of("warm call of the sandbox", await bench.warm(), "ms", 1, others.warm))
        figures.append(Figure.of("warm call of the tool", await bench.warm_tool(), "ms", 1))
        figures.append(Figure.of("interrupt of a busy loop, state kept", await bench.interrupt(), "ms"))
        figures.append(Figure.of("gone after kill", await bench.kill(), "ms", 50))
        freeze, thaw = await bench.freeze()
        figures.append(Figure.of("freeze", freeze, "ms", 2))
        figures.append(Figure.of("thaw and a result", thaw, "ms", 2))
        figures.append(Figure.of("idle session, memory of its own", await bench.idle_memory(), "MB", 8, others.memory))
        if options.live:
            figures += await bench.live(options.live)
    return figures


def _has_science(backend: Zygote) -> bool:
    return all(any(name.startswith(part) for name in backend.interpreter.names) for part in ("pandas", "matplotlib"))


class _Peer:
    """ipykernel's figures, empty where it is not installed."""

    def __init__(self, peer: Kernel | None, runs: int, science: bool) -> None:
        self.first: list[float] = []
        self.imports: list[float] = []
        self.warm: list[float] = []
        self.memory: list[float] = []
        if peer is None:
            return
        self.first.append(peer.first_result)
        self.warm += [peer.run("1 + 1") for _ in range(runs)]
        if science:
            self.imports.append(peer.run(_IMPORTS))
        self.memory.append(peer.memory())


class _Bench:
    def __init__(self, backend: Zygote, sessions: Sessions, runs: int) -> None:
        self.backend = backend
        self.sessions = sessions
        self.runs = runs

    @asynccontextmanager
    async def spec(self) -> AsyncIterator[SandboxSpec]:
        session = await self.sessions.create()
        try:
            yield session.sandbox
        finally:
            await self.sessions.close(session.id)

    @asynccontextmanager
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        async with self.spec() as spec:
            sandbox = await self.backend.create(spec)
            try:
                yield sandbox
            finally:
                await sandbox.close()

    async def forget_first(self) -> None:
        """The zygote loads its packages; several sandboxes touch what is touched once."""
        for _ in range(3):
            async with self.sandbox() as sandbox:
                await _run(sandbox, _IMPORTS)

    async def cold(self) -> list[float]:
        times: list[float] = []
        for _ in range(self.runs):
            async with self.spec() as spec:
                began = time.perf_counter()
                sandbox = await self.backend.create(spec)
                await _run(sandbox, "1 + 1")
                times.append(_since(began))
                await sandbox.close()
        return times

    async def pooled(self, imports: str) -> tuple[list[float], list[float]]:
        first: list[float] = []
        then: list[float] = []
        for _ in range(self.runs + 1):
            await self.backend.wait_ready()
            async with self.spec() as spec:
                began = time.perf_counter()
                sandbox = await self.backend.create(spec)
                await _run(sandbox, "1 + 1")
                first.append(_since(began))
                began = time.perf_counter()
                await _run(sandbox, imports)
                then.append(_since(began))
                await sandbox.close()
        return first[1:], then[1:]

    async def warm(self) -> list[float]:
        async with self.sandbox() as sandbox:
            return [await _timed(_run(sandbox, "1 + 1")) for _ in range(10 * self.runs)]

    async def warm_tool(self) -> list[float]:
        session = await self.sessions.create()
        tool, context = PythonTool(self.backend), ToolContext(session)
        await tool.call({"code": "1"}, context)
        times = [await _timed(tool.call({"code": "1 + 1"}, context)) for _ in range(10 * self.runs)]
        await self.sessions.close(session.id)
        return times

    async def interrupt(self) -> list[float]:
        times: list[float] = []
        async with self.sandbox() as sandbox:
            await _run(sandbox, "kept = 1")
            for _ in range(self.runs):
                execution = await sandbox.exec_code("print('on'); n = 0\nwhile True: n += 1", 1)
                await _until(lambda: execution.stdout.total > 0)  # noqa: B023
                began = time.perf_counter()
                sandbox.interrupt()
                await execution.answer
                times.append(_since(began))
                sandbox.finish()
            if await _run(sandbox, "kept") != "1":
                raise RuntimeError("an interrupt lost the state")
        return times

    async def kill(self) -> list[float]:
        times: list[float] = []
        for _ in range(self.runs):
            async with self.sandbox() as sandbox:
                await sandbox.exec_code("while True: pass", 1)
                began = time.perf_counter()
                sandbox.kill()
                await sandbox.ended
                times.append(_since(began))
        return times

    async def freeze(self) -> tuple[list[float], list[float]]:
        freeze: list[float] = []
        thaw: list[float] = []
        async with self.sandbox() as sandbox:
            for _ in range(self.runs):
                freeze.append(await _timed(sandbox.freeze()))
                thaw.append(await _timed(_run(sandbox, "1")))
        return freeze, thaw

    async def idle_memory(self) -> list[float]:
        opened = [await self._idle() for _ in range(10)]
        sizes = [memory(_pids(sandbox), "Private_") for _, sandbox in opened]
        for session_id, sandbox in opened:
            await sandbox.close()
            await self.sessions.close(session_id)
        return sizes

    async def live(self, count: int) -> list[Figure]:
        """Many at a time: their memory together, the zygote's included, and how fast they came."""
        gc.collect()
        before = psutil.virtual_memory().available
        began = time.perf_counter()
        opened = [await self._idle() for _ in range(count)]
        rate = count / (time.perf_counter() - began)
        pids = [pid for _, sandbox in opened for pid in _pids(sandbox)]
        together = memory([*pids, *self.backend.pids()], "Pss:") / 1024
        used = (before - psutil.virtual_memory().available) / 2**30
        for session_id, sandbox in opened:
            await sandbox.close()
            await self.sessions.close(session_id)
        return [
            Figure("each of them, everything included", 1024 * together / count, "MB"),
            Figure(f"{count} live sessions and the zygote, PSS", together, "GB", target=round(2.5 * count / 300, 2)),
            Figure(f"{count} live sessions, memory that the machine lost", used, "GB"),
            Figure("new sessions in a second, one after the other", rate, "/s"),
        ]

    async def _idle(self) -> tuple[str, Sandbox]:
        session = await self.sessions.create()
        sandbox = await self.backend.create(session.sandbox)
        await _run(sandbox, "x = 1")
        await sandbox.freeze()
        return session.id, sandbox


async def _run(sandbox: Sandbox, code: str) -> str | None:
    execution = await sandbox.exec_code(code, 1)
    answer = await execution.answer
    sandbox.finish()
    return answer.value


async def _timed(awaitable: Awaitable[object]) -> float:
    began = time.perf_counter()
    await awaitable
    return _since(began)


async def _until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0.001)


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


def _pids(sandbox: Sandbox) -> list[int]:
    """All processes in the sandbox."""
    assert isinstance(sandbox, LocalSandbox)
    wanted = os.readlink(f"/proc/{sandbox.program_pid}/ns/pid")
    found: list[int] = []
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and os.readlink(f"/proc/{name}/ns/pid") == wanted:
                found.append(int(name))
    return found

"""Real sandboxes and real files. On Linux a missing sandbox is a failure, never a skip: isolation is what is tested."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from agenthost.tools import Limits, Offer, Sessions, ToolContext, ToolResult, Verdict, default_tools, probe
from agenthost.tools.code.interpreter import Interpreter
from agenthost.tools.sandbox.backend import Backend
from agenthost.tools.workspace import Session

Call = Callable[..., Awaitable[ToolResult]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def verdict() -> Verdict:
    found = probe()
    if found.backend is None:
        pytest.fail(f"these tests need a working sandbox: {found.problem}", pytrace=False)
    return found


@pytest.fixture(scope="session")
def backend(verdict: Verdict) -> Iterator[Backend]:
    backend = verdict.require()
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def offer(verdict: Verdict, backend: Backend) -> Offer:
    assert verdict.backend is backend
    return default_tools(verdict)


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    async with Sessions() as sessions:
        yield sessions


@pytest.fixture
async def session(sessions: Sessions) -> Session:
    return await sessions.create()


@pytest.fixture
def call(offer: Offer, session: Session) -> Call:
    """``await call(name, **arguments)`` as an agent would."""

    async def call(name: str, **arguments: object) -> ToolResult:
        return await offer.registry.call(name, arguments, ToolContext(session))

    return call


@pytest.fixture
async def run(call):
    async def run(code: str) -> str:
        return (await call("python", code=code)).text

    return run


@pytest.fixture
def interpreter(backend: Backend, session: Session) -> Interpreter:
    """One with short fuses, closed with the session."""
    spec = replace(session.sandbox, limits=Limits(output=1 << 20))
    return session.keep(Interpreter, lambda: Interpreter(backend, spec, grace=0.5))


async def end_of(interpreter: Interpreter) -> None:
    """Until the present sandbox has ended."""
    assert interpreter._sandbox
    await interpreter._sandbox.ended


async def until(holds: Callable[[], bool]) -> None:
    """What becomes true beside this test, and tells nobody."""
    while True:
        if holds():
            return
        await asyncio.sleep(0.01)


def leftovers() -> dict[str, set[str]]:
    """What sessions could leave behind on this machine."""
    descriptors = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return {
        "processes": {str(child) for child in psutil.Process().children()},
        "descriptors": {os.readlink(fd) for fd in descriptors if fd.is_symlink()},
        # By a walk that bears groups of other servers to go meanwhile.
        "cgroups": {
            f"{base}/{name}"
            for base, names, _ in os.walk("/sys/fs/cgroup")
            for name in names
            if name.startswith(f"agenthost-{os.getpid()}-")
        },
    }


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No process, cgroup, descriptor or directory outlives the sessions of these tests."""
    tmp_path_factory.getbasetemp()  # pytest's own goes elsewhere
    folder = tempfile.mkdtemp(prefix="agenthost-tests-")
    os.chmod(folder, 0o711)  # the users of a root server's sandboxes pass through it
    tempfile.tempdir = folder
    before = leftovers()
    try:
        yield
    finally:
        tempfile.tempdir = None
    after = leftovers()
    for kind in ("processes", "cgroups"):
        assert after[kind] <= before[kind], f"sessions left {kind} behind"
    kinds = ("agenthost", "pidfd", "memfd")
    assert not {
        target for target in after["descriptors"] - before["descriptors"] if any(kind in target for kind in kinds)
    }
    assert os.listdir(folder) == [], "sessions left directories behind"
    os.rmdir(folder)

"""Every way to isolate, one after the other: what is promised must hold in all of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agenthost.tools import Limits, Offer, Sessions, Verdict, default_tools, probe
from agenthost.tools.code.interpreter import Interpreter
from agenthost.tools.files.usage import Quota
from agenthost.tools.sandbox.backend import Backend
from agenthost.tools.sandbox.local import LocalSandbox
from agenthost.tools.sandbox.probe import BACKENDS

MARKS = {"bubblewrap": pytest.mark.slow}  # the probe's own checks of it are in every run


@pytest.fixture(scope="module", params=[pytest.param(name, marks=MARKS.get(name, ())) for name in BACKENDS])
def verdict(request) -> Verdict:
    """What holds must hold in every way to isolate."""
    found = probe(names=[request.param])
    if found.backend is None:
        pytest.fail(f"these tests need a working sandbox: {found.problem}", pytrace=False)
    return found


@pytest.fixture(scope="module")
def backend(verdict: Verdict) -> Iterator[Backend]:
    backend = verdict.require()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def offer(verdict: Verdict, backend: Backend) -> Offer:
    """Not the one that all other tests share."""
    assert verdict.backend is backend
    return default_tools(verdict)


@pytest.fixture
def confined(backend: Backend, sessions: Sessions):
    """An interpreter in a session with these limits."""

    async def confined(limits: Limits, quota: Quota | None = None) -> Interpreter:
        session = await sessions.create()
        spec = replace(session.sandbox, limits=limits)

        async def over(times: int) -> str | None:
            return quota.excess(session.files, times) if quota else None

        return session.keep(Interpreter, lambda: Interpreter(backend, spec, grace=0.5, over_quota=over))

    return confined


@pytest.fixture
async def interpreter_pid(run, session) -> int:
    """Host pid of the Python in the sandbox."""
    await run("1")
    sandbox = session.keep(Interpreter, lambda: pytest.fail("there is one"))._sandbox
    assert isinstance(sandbox, LocalSandbox)
    return sandbox.program_pid


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory of the machine that every user of it may write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)

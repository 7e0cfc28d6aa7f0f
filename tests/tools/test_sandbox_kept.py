"""Sandboxes without namespaces: nothing outlives them, whatever becomes of their keeper."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from agenthost.tools import probe
from agenthost.tools.errors import SandboxUnavailable
from agenthost.tools.sandbox import placement
from agenthost.tools.sandbox.backend import Backend
from agenthost.tools.sandbox.kept import Kept
from agenthost.tools.sandbox.local import LocalSandbox

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["landlock", "unconfined"])
def backend(request) -> Iterator[Backend]:
    landlock = request.param == "landlock"
    backend = probe(names=["landlock"] if landlock else (), allow_unsafe=not landlock).require()
    yield backend
    backend.close()


async def value(sandbox, code: str) -> str | None:
    answer = await (await sandbox.exec_code(code, 1)).answer
    assert answer.traceback is None
    return answer.value


async def ctrl_c(kept: Kept) -> None:
    """As a terminal sends it to all of a process group."""
    assert os.getpgid(kept.keeper.pid) != os.getpgid(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        kept.keeper.send_signal(number)
    assert kept.keeper.poll() is None
    kept.kill()


async def server_gone(kept: Kept) -> None:
    """With an answer unread, which is an error for the keeper rather than an end."""
    kept.thaw()
    kept.stats()
    kept.server.send(b"stats")
    kept.server.close()


@pytest.mark.parametrize("end", [ctrl_c, server_gone])
async def test_a_background_process_ends_with_its_keeper(backend: Backend, session, end: Callable):
    sandbox = await backend.create(session.sandbox)
    assert isinstance(sandbox, LocalSandbox)
    kept = sandbox._processes
    assert isinstance(kept, Kept)
    code = "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True).pid"
    background = psutil.Process(int(await value(sandbox, code) or 0))
    await end(kept)
    await sandbox.ended
    assert not background.is_running()
    await sandbox.close()


async def test_the_kernel_ends_code_before_others_when_memory_is_short(backend: Backend, session):
    sandbox = await backend.create(session.sandbox)
    assert isinstance(sandbox, LocalSandbox)
    score = await asyncio.to_thread(Path(f"/proc/{sandbox.program_pid}/oom_score_adj").read_text)
    await sandbox.close()
    assert score == "900\n"


async def test_an_interpreter_that_does_not_start_says_why(session, monkeypatch):
    backend = probe(names=["landlock"]).require()
    monkeypatch.setattr("agenthost.tools.sandbox.kept.assemble", lambda **_: bytes(8))
    with pytest.raises(SandboxUnavailable, match="prctl seccomp: Invalid argument"):
        await backend.create(session.sandbox)


async def test_descriptors_that_run_out_are_a_start_that_fails_and_leave_none(backend: Backend, session, monkeypatch):
    def pipe() -> tuple[int, int]:
        monkeypatch.setattr(os, "pipe", refused)
        return real()

    def refused(*_: object) -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    real, before = os.pipe, os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(SandboxUnavailable, match="Too many open files"):
        await backend.create(session.sandbox)
    monkeypatch.setattr(os, "pipe", real)
    monkeypatch.setattr(os, "pidfd_open", refused)
    with pytest.raises(SandboxUnavailable, match="Too many open files"):
        await backend.create(session.sandbox)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_code_runs_without_isolation_on_other_architectures_too(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    before = set(os.listdir(tempfile.gettempdir()))
    assert probe(allow_unsafe=True).require().name == "unconfined"
    assert set(os.listdir(tempfile.gettempdir())) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only a root server runs code as a directory's owner")
async def test_code_in_a_users_directory_leaves_his_other_files_alone(sessions, monkeypatch):
    monkeypatch.setattr(placement, "_try_mapping", lambda *_: "not supported")
    home = Path(tempfile.mkdtemp())
    project, key = home / "project", home / "key"
    project.mkdir()
    key.touch(0o600)
    for path in (home, project, key):
        os.chown(path, 4321, 4321)
    sandbox = await probe(names=["landlock"]).require().create((await sessions.create(directory=project)).sandbox)
    refused = """
import os
def refused(call, *arguments):
    try: call(*arguments)
    except PermissionError: return True
key = %r
refused(os.chmod, key, 0o666), refused(os.utime, key, (1, 1)), refused(os.setxattr, key, "user.x", b"x")"""
    assert await value(sandbox, refused % str(key)) == "(True, True, True)"
    assert key.stat().st_mode & 0o777 == 0o600
    await sandbox.close()
    shutil.rmtree(home)

"""What only the zygote does: a pool, one process that all sessions come from, and life after its death."""

from __future__ import annotations

import asyncio
import os
import platform
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
from agenthost.tools import Limits, Sessions
from agenthost.tools.sandbox.backend import Sandbox
from agenthost.tools.sandbox.cgroups import Cgroups
from agenthost.tools.sandbox.identity import IDENTITIES, Identity, IdentityPool, server_is_root
from agenthost.tools.sandbox.packages import own_interpreter
from agenthost.tools.sandbox.zygote import Zygote
from agenthost.tools.sandbox.zygote_process import ZygoteProcess

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(platform.system() != "Linux", reason="namespaces are Linux's"),
]


@pytest.fixture
def zygote(monkeypatch) -> Iterator[Zygote]:
    """One that has loaded nothing, which starts at once, and the only one whose sandboxes wait for sessions."""
    monkeypatch.setattr(IDENTITIES, "_offered", [])
    zygote = Zygote(own_interpreter(), Cgroups.find(), ready=2, preload=())
    yield zygote
    zygote.close()


async def value(sandbox: Sandbox, code: str) -> str | None:
    execution = await sandbox.exec_code(code, 1)
    await asyncio.wait({execution.answer, sandbox.ended}, return_when=asyncio.FIRST_COMPLETED)
    sandbox.finish()
    return execution.answer.result().value if execution.answer.done() else None


async def test_sessions_get_the_users_for_which_sandboxes_wait(zygote, sessions):
    async def sandbox_of_new_session() -> tuple[Sandbox, Identity | None]:
        session = await sessions.create()
        return await zygote.create(session.sandbox), session.sandbox.user

    first, _ = await sandbox_of_new_session()
    await zygote.wait_ready()
    waiting = set(zygote._held.waiting)
    second, user = await sandbox_of_new_session()
    assert user in waiting
    assert await value(second, "1") == "1"
    for sandbox in (first, second):
        await sandbox.close()


async def test_a_session_that_never_runs_code_gives_its_sandbox_to_the_next(zygote):
    zygote.warm_up()
    async with Sessions() as sessions:
        unused = await sessions.create()
        await sessions.close(unused.id)
        users = [(await sessions.create()).sandbox.user for _ in range(2)]
        assert not server_is_root() or unused.sandbox.user in users


def test_identities_on_offer_come_first_and_come_back():
    pool = IdentityPool()
    reserved = pool.reserve()
    pool.offer(reserved)
    assert pool.take() == reserved
    pool.give_back(reserved)
    assert pool.take() == reserved
    assert not pool.used(reserved)
    pool.give_back(reserved)
    assert pool.take() != reserved


async def test_limits_of_a_sandbox_that_waited_are_its_sessions(zygote, sessions):
    for _ in range(2):  # the second one comes out of the pool
        session = await sessions.create()
        spec = replace(session.sandbox, limits=Limits(temporary=1 << 20, open_files=50))
        sandbox = await zygote.create(spec)
        code = (
            "import os, resource; (os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize, resource.getrlimit(7)[0])"
        )
        assert await value(sandbox, code) == f"({1 << 20}, 50)"
        await sandbox.close()


@pytest.mark.parametrize("which", [0, 1], ids=["pid-1-forker", "interpreter-forker"])
async def test_sessions_and_server_survive_the_death_of_the_zygote(zygote, sessions, which):
    session = await sessions.create()
    old = await zygote.create(session.sandbox)
    await value(old, "x = 7")
    process = psutil.Process(zygote._held.process._process.pid)
    (process, process.children()[0])[which].kill()
    assert await value(old, "x") == "7"
    for _ in range(4):
        other = await sessions.create()
        new = await zygote.create(other.sandbox)
        assert await value(new, "6 * 7") == "42"
        await new.close()
    await old.close()


async def test_no_sandbox_is_made_while_it_closes(zygote, sessions, monkeypatch):
    refilled = threading.Event()
    refill, close = zygote._refill, ZygoteProcess.close
    monkeypatch.setattr(zygote, "_refill", lambda: (refill(), refilled.set()))
    monkeypatch.setattr(ZygoteProcess, "close", lambda self, **how: (refilled.wait(10), close(self, **how)))
    sandbox = await zygote.create((await sessions.create()).sandbox)
    await asyncio.to_thread(zygote.close)
    assert refilled.is_set()
    assert not zygote._held.waiting
    await sandbox.close()


def test_one_that_still_loads_packages_ends_with_the_server(tmp_path):
    endless = tmp_path / "endless.py"
    endless.write_text("while True: pass")
    interpreter = replace(own_interpreter(), packages=((str(endless), endless.name),))
    zygote = Zygote(interpreter, Cgroups.find(), ready=2, preload=("endless",))
    zygote.warm_up()
    process = psutil.Process(zygote.pids()[0])
    while len(made := process.children(recursive=True)) < 3:  # what loads, and pid 1 of those that wait
        time.sleep(0.01)
    zygote.close()
    _, alive = psutil.wait_procs(made, timeout=10)
    for process in alive:
        process.kill()
    assert not alive


async def test_an_old_zygote_is_replaced_while_its_sessions_live(zygote, sessions, monkeypatch):
    monkeypatch.setattr("agenthost.tools.sandbox.zygote._RECYCLE_FORKS", 3)
    first = zygote._alive()
    sandboxes = []
    while zygote._held.process is first:
        session = await sessions.create()
        sandboxes.append(await zygote.create(session.sandbox))
    for sandbox in sandboxes:
        assert await value(sandbox, "1") == "1"
        await sandbox.close()


async def test_random_numbers_differ_between_sessions(zygote, sessions):
    seen = set()
    for _ in range(3):
        session = await sessions.create()
        sandbox = await zygote.create(session.sandbox)
        code = (
            "import random, numpy, os, uuid; random.random(), float(numpy.random.rand()), os.urandom(4), uuid.uuid4()"
        )
        seen.add(await value(sandbox, code))
        await sandbox.close()
    assert len(seen) == 3


async def test_pid_1_cannot_be_killed_stopped_or_written_to(zygote, sessions):
    session = await sessions.create()
    sandbox = await zygote.create(session.sandbox)
    code = """
import os, signal
through = []
for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
    os.kill(1, number)
for name in ("mem", "environ", "maps", "fd/0", "root", "cwd"):
    try: os.close(os.open(f"/proc/1/{name}", os.O_RDWR if name == "mem" else os.O_RDONLY)); through.append(name)
    except OSError: pass
through"""
    assert await value(sandbox, code) == "[]"
    assert await sandbox.freeze()
    await sandbox.thaw()
    assert await value(sandbox, "1") == "1"
    await sandbox.close()


async def test_nothing_of_the_host_is_behind_the_root(zygote, sessions):
    session = await sessions.create()
    sandbox = await zygote.create(session.sandbox)
    code = """
import os
sorted({name for way in ("/..", "/../..", "/proc/self/cwd/../..") for name in os.listdir(way)}
    & {"host", "box", "home", "root", "var", "sys", "run", "srv"})"""
    assert await value(sandbox, code) == "[]"
    assert await value(sandbox, "len(open('/proc/self/mountinfo').read().split('/host'))") == "1"
    assert await value(sandbox, "'agenthost' in open('/proc/self/cgroup').read()") == "False"
    await sandbox.close()


async def test_a_start_that_fails_says_why_and_leaves_nothing(zygote, sessions, tmp_path):
    session = await sessions.create()
    before = len(os.listdir("/proc/self/fd"))
    missing = replace(session.sandbox, workspace=tmp_path / "missing")
    for _ in range(3):
        with pytest.raises(Exception, match="No such file"):
            await zygote.create(missing)
    zygote.close()
    assert len(os.listdir("/proc/self/fd")) <= before

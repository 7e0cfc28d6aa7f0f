"""Sandboxes without namespaces: nothing outlives them, and other files of their user stay as they are."""

from __future__ import annotations

import ast
import asyncio
import errno
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from agenthost.tools import Limits, probe
from agenthost.tools.errors import SandboxUnavailable
from agenthost.tools.sandbox import placement
from agenthost.tools.sandbox.backend import Backend, Sandbox
from agenthost.tools.sandbox.cgroups import Cgroups
from agenthost.tools.sandbox.kept import Kept, start_kept
from agenthost.tools.sandbox.local import LocalSandbox
from agenthost.tools.sandbox.spec import SYSTEM_FOLDERS

from .conftest import until

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


async def test_what_goes_on_by_itself_is_stopped_again(backend: Backend, session):
    sandbox = await backend.create(session.sandbox)
    assert isinstance(sandbox, LocalSandbox)
    code = "import subprocess; subprocess.getoutput('sleep 1000 > /dev/null 2>&1 & echo $!')"
    orphan = psutil.Process(int(ast.literal_eval(await value(sandbox, code) or "")))
    assert await sandbox.freeze()
    async with asyncio.timeout(5):
        for _ in range(2):
            await until(lambda: orphan.status() == psutil.STATUS_STOPPED)
            orphan.send_signal(signal.SIGCONT)  # as the kernel does when the one between it and its session ends
    await sandbox.close()


async def test_the_kernel_ends_code_before_others_when_memory_is_short(backend: Backend, session):
    sandbox = await backend.create(session.sandbox)
    assert isinstance(sandbox, LocalSandbox)
    score = await asyncio.to_thread(Path(f"/proc/{sandbox.program_pid}/oom_score_adj").read_text)
    await sandbox.close()
    assert score == "900\n"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can give a capability away")
async def test_capabilities_of_a_service_are_none_of_the_codes(session, library, monkeypatch):
    """Such as CAP_NET_BIND_SERVICE, which a program keeps that it runs (ambient)."""
    python = probe(names=["landlock"]).require().python
    capability = "+net_bind_service"
    rights = f"--inh-caps {capability} --ambient-caps {capability}"
    service = f"setpriv --reuid {session.sandbox.user.uid} --clear-groups {rights}"
    (library / "python").write_text(f'#!/bin/sh\nexec {service} {python} "$@"\n')
    (library / "python").chmod(0o755)
    monkeypatch.setattr("agenthost.tools.sandbox.kept.refuse_root", lambda spec: None)
    sandbox = await start_kept(replace(session.sandbox, user=None), str(library / "python"), None, None)
    status = await value(sandbox, "dict(line.split(':\\t') for line in open('/proc/self/status'))")
    await sandbox.close()
    sets = ast.literal_eval(status or "")
    assert {int(sets[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


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


@pytest.fixture
async def sandbox(session, library: Path) -> AsyncIterator[Sandbox]:
    """One whose user has other files too, some of which it can read."""
    python = probe(names=["landlock"]).require().python
    read = ("/usr", *SYSTEM_FOLDERS, str(Path(python).parent.parent), str(library))
    walls = {"read": read, "write": (), "devices": ("/dev/null",)}
    sandbox = await start_kept(replace(session.sandbox, shared_user=True), python, None, walls)
    yield sandbox
    await sandbox.close()


@pytest.fixture
def library(session) -> Iterator[Path]:
    """A directory that belongs to the session's user, with a file in it."""
    library = Path(tempfile.mkdtemp())
    (library / "file").touch(0o644)
    for path in (library, library / "file"):
        os.utime(path, (5, 5))
        if session.sandbox.user:
            os.chown(path, session.sandbox.user.uid, session.sandbox.user.gid)
    yield library
    shutil.rmtree(library)


CHANGES = """
import os, shutil, subprocess
open("a", "w").close()
os.chmod("a", 0o750)
os.utime("a", (1, 2))
os.setxattr("a", "user.x", b"abc")
shutil.copy2("a", "b")
os.symlink("nowhere", "link")
os.utime("link", (3, 4), follow_symlinks=False)
os.mkdir("c")
folder = os.open("c", os.O_RDONLY)
with open("d", "w", opener=lambda path, flags: os.open(path, flags, dir_fd=folder)) as d:
    os.chmod("d", 0o600, dir_fd=folder)
    os.utime(d.fileno())
    os.fchmod(d.fileno(), 0o640)
    os.fchown(d.fileno(), -1, os.getgid())
script = "mkdir bin; echo 'echo made' > bin/make; chmod +x bin/make; bin/make"
script += "; tar cf t.tar bin; tar xpf t.tar; touch -d @9 a"
if shutil.which("git"):
    script += "; git init -q r"
done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True)
attributes = os.getxattr("b", "user.x")
os.removexattr("b", "user.x")
b = os.stat("b")
(done.returncode, done.stdout, done.stderr), oct(b.st_mode), b.st_mtime, attributes, os.listxattr("b"), \\
    os.lstat("link").st_mtime, oct(os.stat("c/d").st_mode), os.stat("a").st_mtime
"""


async def test_code_changes_modes_and_times_of_its_own_files(sandbox):
    seen = ast.literal_eval(await value(sandbox, CHANGES) or "")
    assert seen == ((0, "made\n", ""), "0o100750", 2.0, b"abc", [], 4.0, "0o100640", 9.0)


ATTACK = """
import os
library, through = %r, []
def attempt(name, call, *arguments, **more):
    try: call(*arguments, **more)
    except PermissionError: return
    through.append(name)
os.symlink(library + "/file", "link")
os.symlink(library, "folder")
for name in (library, "folder", library + "/file", "link", "folder/file", "../" * 20 + library + "/file"):
    attempt("chmod " + name, os.chmod, name, 0o666)
    attempt("utime " + name, os.utime, name, (1, 1))
    attempt("chown " + name, os.chown, name, -1, os.getgid())
    attempt("setxattr " + name, os.setxattr, name, "user.x", b"x")
    attempt("removexattr " + name, os.removexattr, name, "user.x")
    fd = os.open(name, os.O_RDONLY)
    attempt("fchmod " + name, os.fchmod, fd, 0o666)
    attempt("futime " + name, os.utime, fd, (1, 1))
    attempt("fchown " + name, os.fchown, fd, -1, os.getgid())
    attempt("fsetxattr " + name, os.setxattr, fd, "user.x", b"x")
    attempt("by descriptor " + name, os.chmod, f"/proc/self/fd/{fd}", 0o666)
folder = os.open(library, os.O_RDONLY)
attempt("chmodat", os.chmod, "file", 0o666, dir_fd=folder)
attempt("utimensat", os.utime, "file", (1, 1), dir_fd=folder, follow_symlinks=False)
attempt("chownat", os.chown, "file", -1, os.getgid(), dir_fd=folder)
os.chdir(library)
attempt("chmod beneath", os.chmod, "file", 0o666)
attempt("set-id", os.chmod, os.environ["HOME"], 0o6755)
through"""


async def test_other_files_of_the_same_user_stay_as_they_are(sandbox, library):
    assert await value(sandbox, ATTACK % str(library)) == "[]"
    for path in (library, library / "file"):
        assert (path.stat().st_mtime, path.stat().st_mode & 0o022, os.listxattr(path)) == (5, 0, [])


WRONG = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
calls = [
    (libc.chmod, b"missing", 0o600), (libc.chmod, b"", 0o600), (libc.chmod, b"x" * 5000, 0o600),
    (libc.chmod, ctypes.c_void_p(1), 0o600), (libc.chmod, ctypes.c_void_p(1 << 63), 0o600),
    (libc.chmod, None, 0o600), (libc.fchmodat, -100, None, 0o600, 0),
    (libc.fchmod, 77, 0o600), (libc.fchmod, -1, 0o600), (libc.utimensat, -100, b".", ctypes.c_void_p(8), 0),
    (libc.setxattr, b".", b"user.x", b"x", ctypes.c_size_t(1 << 40), 0),
]
[(call(*arguments), errno.errorcode[ctypes.get_errno()])[1] for call, *arguments in calls]"""


async def test_calls_with_wrong_arguments_are_refused_as_the_kernel_does(sandbox):
    expected = "ENOENT ENOENT ENAMETOOLONG EFAULT EFAULT EFAULT EFAULT EBADF EBADF EFAULT E2BIG"
    assert " ".join(ast.literal_eval(await value(sandbox, WRONG) or "")) == expected


@pytest.fixture
def twenty_others(session) -> Iterator[None]:
    """Processes of the session's user."""
    user = {"user": session.sandbox.user.uid} if session.sandbox.user else {}
    others = [subprocess.Popen(["sleep", "1000"], **user) for _ in range(20)]
    yield
    for process in others:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("twenty_others")
@pytest.mark.parametrize("cgroups", [None, Cgroups.find()], ids=["rlimits", "cgroups"])
async def test_other_processes_of_the_same_user_take_no_room(session, cgroups):
    spec = replace(session.sandbox, shared_user=True, limits=Limits(processes=12))
    sandbox = await start_kept(spec, probe(names=["landlock"]).require().python, cgroups, None)
    start = "import subprocess; p = [subprocess.Popen(['sleep', '9']) for _ in range(%d)]; len(p)"
    assert await value(sandbox, start % 6) == "6"
    answer = await (await sandbox.exec_code(start % 8, 2)).answer
    assert "BlockingIOError" in (answer.traceback or "")
    await sandbox.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only a root server runs code as a directory's owner")
async def test_only_a_user_of_the_sessions_own_has_no_other_files(sessions, library, monkeypatch):
    os.chown(library, 4321, 4321)
    assert not (await sessions.create()).sandbox.shared_user
    assert not (await sessions.create(directory=library)).sandbox.shared_user
    monkeypatch.setattr(placement, "_try_mapping", lambda *_: "not supported")
    assert (await sessions.create(directory=library)).sandbox.shared_user

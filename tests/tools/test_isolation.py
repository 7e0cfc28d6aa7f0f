"""What hostile code can do in the sandbox: nothing outside its session. Each probe runs for real.

A probe is a cell whose value is the list of what got through.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from agenthost.tools import Limits, Sessions, ToolContext, Verdict, probe
from agenthost.tools.code.interpreter import Interpreter
from agenthost.tools.errors import SandboxUnavailable
from agenthost.tools.files.usage import Quota
from agenthost.tools.sandbox import bubblewrap, zygote
from agenthost.tools.sandbox.backend import Backend
from agenthost.tools.sandbox.local import LocalSandbox
from agenthost.tools.sandbox.probe import BACKENDS
from agenthost.tools.sandbox.spec import MIB, SandboxSpec

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session", params=BACKENDS)
def verdict(request) -> Verdict:
    """What holds must hold in every way to isolate."""
    found = probe(names=[request.param])
    if found.backend is None:
        pytest.fail(f"these tests need a working sandbox: {found.problem}", pytrace=False)
    return found


@pytest.fixture
async def run(call):
    async def run(code: str) -> str:
        return (await call("python", code=code)).text

    return run


@pytest.fixture
def confined(backend: Backend, sessions: Sessions):
    """An interpreter in a session with these limits."""

    async def confined(limits: Limits, quota: Quota | None = None) -> Interpreter:
        session = await sessions.create()
        spec = SandboxSpec(session.workspace, session.sandbox.user, limits=limits)

        async def over(times: int) -> str | None:
            return quota.excess(session.files, times) if quota else None

        return session.keep(Interpreter, lambda: Interpreter(backend, spec, grace=0.5, over_quota=over))

    return confined


async def test_probe_says_what_holds(verdict: Verdict):
    assert verdict.problem is None
    assert {"backend", "python", "code runs as", "limits", "start"} <= set(verdict.facts)


async def test_network_is_closed(run):
    listener = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(b"\0agenthost-test-%d" % os.getpid())
    abstract.listen()
    port = listener.getsockname()[1]
    try:
        assert (
            await run(f"""
import socket, errno
through = []
for family, kind, address in [
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {port})),
    (socket.AF_INET6, socket.SOCK_STREAM, ("::1", {port})),
    (socket.AF_INET, socket.SOCK_DGRAM, ("8.8.8.8", 53)),
    (socket.AF_INET, socket.SOCK_RAW, None),
    (40, socket.SOCK_STREAM, (2, 1024)),  # AF_VSOCK, which passes a network namespace
    (16, socket.SOCK_RAW, (0, 0)), (17, socket.SOCK_RAW, None), (38, 5, ("hash", "sha256")), (33, 2, None),
]:
    try:
        s = socket.socket(family, kind)
        through.append((family, kind))
    except OSError as e:
        if e.errno != errno.EAFNOSUPPORT: through.append((family, kind, e.errno))
try:
    s = socket.socket(socket.AF_UNIX); s.connect(b"\\0agenthost-test-{os.getpid()}"); through.append("abstract unix")
except OSError: pass
try:
    socket.getaddrinfo("example.com", 80); through.append("dns")
except OSError: pass
through""")
            == "[]"
        )
    finally:
        listener.close()
        abstract.close()


async def test_unix_sockets_pipes_and_asyncio_work(run):
    assert (
        await run("""
import asyncio, socket
a, b = socket.socketpair(); a.send(b"x")
async def main():
    p = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
    return (await p.communicate())[0]
b.recv(1), asyncio.run(main())""")
        == "(b'x', b'hi\\n')"
    )


async def test_host_files_are_not_there(run, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s")
    assert (
        await run(f"""
import os
wanted = ["/etc/shadow", "/root", "/home", "/var", "/sys", "/run", "/boot", "/etc/hostname"]
wanted += [{str(secret)!r}, {str(Path(__file__))!r}]
expected = "bin dev etc lib lib32 lib64 libx32 opt proc sbin tmp usr workspace".split()
[path for path in wanted if os.path.exists(path)] + sorted(set(os.listdir("/")) - set(expected))""")
        == "[]"
    )


async def test_nothing_outside_the_workspace_can_be_written(run):
    assert (
        await run("""
import os
through = []
for folder in ["/", "/usr", "/usr/bin", "/etc", "/dev", "/proc", *(base for base, _, _ in os.walk("/proc/sys"))]:
    try:
        open(os.path.join(folder, "x"), "w").close(); through.append(folder)
    except OSError: pass
for base, _, names in os.walk("/proc/sys"):
    for name in names:
        try: os.close(os.open(os.path.join(base, name), os.O_WRONLY))
        except OSError: continue
        through.append(name)
for path in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/etc/passwd", "/usr/bin/python3"]:
    try: os.close(os.open(path, os.O_WRONLY)); through.append(path)
    except OSError: pass
through""")
        == "[]"
    )


async def test_environment_of_the_server_is_not_visible(run, monkeypatch):
    monkeypatch.setenv("AGENTHOST_TEST_SECRET", "hush-hush")
    assert (
        await run("""
import glob, os
seen = b""
for path in glob.glob("/proc/*/environ"):
    try: seen += open(path, "rb").read()
    except PermissionError: pass
b"hush" in seen or "AGENTHOST_TEST_SECRET" in os.environ""")
        == "False"
    )


async def test_only_the_sessions_own_processes_are_visible(run):
    assert await run("import os; max(int(p) for p in os.listdir('/proc') if p.isdigit()) < 20") == "True"
    assert "No such process" in await run("import os; os.kill(-1, 0)")


async def test_the_code_is_nobody_on_the_host(session, interpreter_pid):
    process = psutil.Process(interpreter_pid)
    assert process.uids().real == (session.sandbox.user.uid if session.sandbox.user else os.geteuid())
    assert process.uids().real != 0
    status = status_of(interpreter_pid)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert status["Groups"].split() == [] or os.geteuid() != 0


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.fixture
async def interpreter_pid(run, session) -> int:
    """Host pid of the Python in the sandbox."""
    await run("1")
    return program_pid(session.keep(Interpreter, lambda: pytest.fail("there is one")))


def program_pid(interpreter: Interpreter) -> int:
    assert isinstance(interpreter._sandbox, LocalSandbox)
    return interpreter._sandbox.program_pid


async def test_no_descriptor_of_the_server_leaks(run, tmp_path):
    secret = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(secret, True)
    try:
        assert (
            await run("""
import os
paths = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
sorted({os.readlink(path).split(":")[0] for path in paths if os.path.islink(path)})""")
            == "['/dev/null', 'pipe', 'socket']"
        )
    finally:
        os.close(secret)


def beside(pid: int) -> list[psutil.Process]:
    """Everything in the pid namespace of this process."""

    def namespace(pid: int) -> str | None:
        try:
            return os.readlink(f"/proc/{pid}/ns/pid")
        except OSError:
            return None

    return [process for process in psutil.process_iter() if namespace(process.pid) == namespace(pid)]


SYSCALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return "open" if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64; test_seccomp covers both filters")
async def test_dangerous_system_calls_are_refused(run):
    names = {
        "unshare": "272, 0x10000000",
        "unshare net": "272, 0x40000000",
        "setns": "308, 0, 0",
        "mount": "165, 0, 0, 0, 0, 0",
        "umount": "166, b'/tmp', 2",
        "pivot_root": "155, b'/', b'/'",
        "chroot": "161, b'/'",
        "ptrace": "101, 0, 0, 0, 0",
        "process_vm_readv": "310, 1, 0, 0, 0, 0, 0",
        "add_key": "248, b'user', b'x', b'y', 1, -3",
        "keyctl": "250, 0, -3, 0",
        "bpf": "321, 0, 0, 0",
        "perf": "298, 0, 0, -1, -1, 0",
        "userfaultfd": "323, 0",
        "kexec": "246, 0, 0, 0, 0",
        "handle": "304, 0, 0, 0",
        "splice": "275, 0, 0, 1, 0, 1, 0",
        "vmsplice": "278, 1, 0, 0, 0",
        "shmget": "29, 0, 4096, 0o1600",
        "personality": "135, 0x0040000",
        "seccomp": "317, 0, 0, 0",
        "open_tree": "428, -100, b'/', 1",
        "fsopen": "430, b'proc', 0",
        "clone newuser": "56, 0x10000011, 0, 0, 0, 0",
        "prctl seccomp": "157, 22, 1, 0",
        "TIOCSTI": "16, 0, 0x5412, b'x'",
        "TIOCSTI high bits": "16, 0, 0x1_0000_5412, b'x'",
        "io_uring": "425, 8, 0",
    }
    calls = ", ".join(f"{name!r}: call({arguments})" for name, arguments in names.items())
    assert await run(f"{SYSCALLS}{{name: code for name, code in {{{calls}}}.items() if code != 'EPERM'}}") == "{}"
    assert await run("call(435, 0, 0), call(437, -100, b'/', 0, 0), call(467, 0), call(0x40000000 + 41, 2, 1, 0)") == (
        "('ENOSYS', 'ENOSYS', 'ENOSYS', 'ENOSYS')"
    )


async def test_set_id_files_cannot_be_left_behind(run):
    assert (
        await run("""
import os
open("f", "w").close()
through = []
for name, attempt in {
    "chmod": lambda: os.chmod("f", 0o4755), "fchmod": lambda: os.fchmod(os.open("f", os.O_RDONLY), 0o2755),
    "chmodat": lambda: os.chmod("f", 0o4755, dir_fd=os.open(".", 0)),
    "open": lambda: os.open("g", os.O_CREAT | os.O_WRONLY, 0o4755), "mknod": lambda: os.mknod("h", 0o104755),
    "device": lambda: os.mknod("d", 0o060666, os.makedev(8, 0)),
}.items():
    try: attempt(); through.append(name)
    except PermissionError: pass
os.chmod("f", 0o755); os.open("g", os.O_CREAT | os.O_WRONLY, 0o644)
through""")
        == "[]"
    )


async def test_mount_table_shows_no_name_of_the_session(run, session):
    table = await run("open('/proc/self/mountinfo').read()")
    assert session.id not in table


async def test_fork_bomb_stays_small_and_the_session_usable(confined, backend):
    interpreter = await confined(Limits(processes=40))
    code = """
import os, time
made = 0
try:
    while made < 200:
        if os.fork() == 0: time.sleep(30); os._exit(0)
        made += 1
except OSError: pass
made"""
    outcome = await interpreter.execute(code, 20)
    assert outcome.status == "ok"
    assert 20 < int(outcome.value or 0) < 40
    await interpreter.close()


async def test_process_limits_of_two_sessions_do_not_add_up(confined):
    fork_many = (
        "import os, time\nn = 0\nwhile n < 25:\n    if os.fork() == 0: time.sleep(30); os._exit(0)\n    n += 1\nn"
    )
    one, other = await confined(Limits(processes=40)), await confined(Limits(processes=40))
    assert (await one.execute(fork_many, 10)).value == "25"
    assert (await other.execute(fork_many, 10)).value == "25"


async def test_memory_bomb_in_one_process_is_a_memory_error(confined):
    interpreter = await confined(Limits())
    outcome = await interpreter.execute("x = []\nwhile True: x.append(bytearray(16 << 20))", 20)
    assert (outcome.status, outcome.state_lost) == ("error", False)
    assert "MemoryError" in (outcome.traceback or "")
    await interpreter.execute("x = None", 10)
    assert (await interpreter.execute("1", 10)).value == "1"


async def test_memory_bomb_over_many_processes_ends_the_session_only(confined, verdict):
    if "memory" not in verdict.facts["limits"]:
        pytest.skip("no writable memory cgroup here: memory is limited for each process only, as the probe says")
    interpreter = await confined(Limits(memory=200 * MIB))
    code = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        x = b"x" * (60 << 20)
        time.sleep(30)
        os._exit(0)
os.WTERMSIG(os.wait()[1])"""
    outcome = await interpreter.execute(code, 20)
    assert outcome.status == "out-of-memory" or outcome.value == "9"
    assert (await interpreter.execute("1", 10)).value == "1"


@pytest.mark.parametrize(("folder", "limit"), [("/tmp", 64 * MIB), ("/dev/shm", 16 * MIB)])
async def test_temporary_files_are_limited(confined, folder, limit):
    interpreter = await confined(Limits())
    code = f"""
import os
total = 0
try:
    for n in range(20):
        with open(f"{folder}/f{{n}}", "wb", buffering=0) as f:
            for _ in range(10): total += f.write(bytes(1 << 20))
except OSError as e: pass
total"""
    outcome = await interpreter.execute(code, 20)
    assert limit - 2 * MIB < int(outcome.value or 0) <= limit


async def test_a_workspace_that_grows_too_large_stops_the_code(confined):
    interpreter = await confined(Limits(), Quota(bytes=20 * MIB))
    grow = "n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(1 << 20)); n += 1; time.sleep(0.01)"
    outcome = await interpreter.execute(f"import time\n{grow}", 30)
    assert (outcome.status, outcome.state_lost) == ("disk-limit", True)


async def test_a_full_workspace_can_be_emptied_but_not_filled(confined):
    interpreter = await confined(Limits(), Quota(bytes=5 * MIB))
    outcome = await interpreter.execute("open('f', 'wb').write(bytes(10 << 20))", 30)
    assert (outcome.status, outcome.excess) == (
        "disk-limit", "the workspace holds more than 5 MB. Delete files that are not needed.",
    )  # fmt: skip
    outcome = await interpreter.execute("open('g', 'wb', buffering=0).write(b'more')", 30)
    assert "File too large" in (outcome.traceback or "")
    assert (await interpreter.execute("import os; os.unlink('f')", 30)).status == "ok"
    outcome = await interpreter.execute("open('g', 'wb', buffering=0).write(b'more')", 30)
    assert (outcome.value, outcome.state_lost) == ("4", True)
    assert not (await interpreter.execute("1", 30)).state_lost


async def test_one_file_is_limited(run):
    assert "File too large" in await run("f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20))")


async def test_a_daemon_does_not_survive_the_session(offer, backend):
    async with Sessions() as sessions:
        session = await sessions.create()
        interpreter = Interpreter(backend, session.sandbox)
        code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        time.sleep(1000)
    os._exit(0)"""
        await interpreter.execute(code, 10)
        inside = beside(program_pid(interpreter))
        assert len(inside) >= 3
        begun = time.monotonic()
        await interpreter.close()
        assert time.monotonic() - begun < 2
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in inside)


async def test_a_sandbox_never_starts_as_root(backend: Backend, tmp_path, monkeypatch):
    for module in (bubblewrap, zygote):
        monkeypatch.setattr(module, "server_is_root", lambda: True)
    with pytest.raises(SandboxUnavailable, match="uid 0"):
        await backend.create(SandboxSpec(tmp_path, None))


async def test_a_frozen_sandbox_ends_when_it_is_closed(backend: Backend, session):
    """On cgroup v1 what was killed while it was frozen is there until it is thawed."""
    sandbox = await backend.create(session.sandbox)
    assert isinstance(sandbox, LocalSandbox)
    execution = await sandbox.exec_code("import subprocess; subprocess.Popen(['sleep', '1000']); None", 1)
    await execution.answer
    inside = beside(sandbox.program_pid)
    assert len(inside) >= 2
    assert await sandbox.freeze()
    await sandbox.close()
    _, alive = psutil.wait_procs(inside, timeout=5)
    assert not alive


async def test_abstract_sockets_of_one_session_are_not_anothers(offer, sessions):
    listen = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0meet'); s.listen(); 'listening'"
    connect = "import socket; c = socket.socket(socket.AF_UNIX); c.connect('\\0meet')"
    one, other = [ToolContext(await sessions.create()) for _ in range(2)]
    assert (await offer.registry.call("python", {"code": listen}, one)).text == "'listening'"
    assert not (await offer.registry.call("python", {"code": connect}, one)).is_error
    assert "ConnectionRefusedError" in (await offer.registry.call("python", {"code": connect}, other)).text


async def test_links_in_the_workspace_lead_the_host_nowhere(backend: Backend, session):
    sandbox = await backend.create(session.sandbox)
    code = """
import os
for name, target in {"sysctl": "/proc/sys/kernel/core_pattern", "up": "../../../etc/passwd", "self": "/proc/self/root",
                     "own": "/workspace/real", "dev": "/dev/null"}.items():
    os.symlink(target, name)
open("real", "w").write("mine")"""
    await (await sandbox.exec_code(code, 1)).answer
    for name in ("sysctl", "up", "self", "self/etc/passwd", "dev", "/etc/passwd", "../workspace/real"):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREAT):
            with pytest.raises(OSError, match="Errno"):
                os.close(sandbox.open(name, flags))
    os.close(sandbox.open("real", os.O_RDWR))
    await sandbox.close()


def test_a_sandbox_does_not_outlive_a_server_that_is_killed():
    """A server of its own, in a process that is killed while code runs in its session."""
    script = """
import asyncio, os, signal, sys
from agenthost.tools import Sessions, ToolContext, default_tools
async def main():
    async with Sessions() as sessions:
        session = await sessions.create()
        print(session.workspace.parent.parent, flush=True)
        code = "import time; open('begun', 'w').close(); time.sleep(1000)"
        call = asyncio.create_task(default_tools().registry.call("python", {"code": code}, ToolContext(session)))
        while not (session.workspace / "begun").exists(): await asyncio.sleep(0.01)
        print("begun", flush=True)
        await call
asyncio.run(main())
"""
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    root = server.stdout.readline().strip()
    assert server.stdout.readline() == "begun\n"
    inside = psutil.Process(server.pid).children(recursive=True)
    assert inside
    server.kill()
    server.wait()
    gone, alive = psutil.wait_procs(inside, timeout=10)
    assert gone
    assert not alive
    server.stdout.close()
    shutil.rmtree(root)


def test_missing_bubblewrap_is_explained(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    verdict = probe(names=["bubblewrap"])
    assert verdict.backend is None
    assert "apt install bubblewrap" in (verdict.problem or "")
    with pytest.raises(SandboxUnavailable, match="bubblewrap is missing"):
        verdict.require()

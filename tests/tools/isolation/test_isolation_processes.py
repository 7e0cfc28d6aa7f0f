"""What hostile code can do to processes and to the kernel, and that it ends when it should."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from agenthost.tools import Sessions, ToolContext, Verdict
from agenthost.tools.code.interpreter import Interpreter
from agenthost.tools.errors import SandboxUnavailable
from agenthost.tools.sandbox import launch
from agenthost.tools.sandbox.backend import Backend, Sandbox
from agenthost.tools.sandbox.local import LocalSandbox
from agenthost.tools.sandbox.probe import BACKENDS
from agenthost.tools.sandbox.spec import SandboxSpec

pytestmark = pytest.mark.anyio


async def test_probe_says_what_holds(verdict: Verdict):
    assert verdict.problem is None
    assert {"backend", "python", "code runs as", "limits", "start"} <= set(verdict.facts)


async def test_a_sandbox_never_starts_as_root(backend: Backend, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "server_is_root", lambda: True)
    with pytest.raises(SandboxUnavailable, match="uid 0"):
        await backend.create(SandboxSpec(tmp_path, None))


async def test_processes_of_others_are_out_of_reach(run, offer, sessions):
    other = await sessions.create()
    await offer.registry.call("python", {"code": "1"}, ToolContext(other))
    sandbox = other.keep(Interpreter, lambda: pytest.fail("there is one"))._sandbox
    assert isinstance(sandbox, LocalSandbox)
    assert (
        await run(f"""
import os, resource, signal
through = []
try: through += [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) >= 20]
except PermissionError: pass  # of a /proc that is not its own
for pid in ({os.getpid()}, {sandbox.program_pid}):
    for call in (
        lambda: os.kill(pid, 0), lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0),
        lambda: os.sched_setaffinity(pid, {{0}}), lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (9, 9)),
        lambda: os.setpriority(os.PRIO_PROCESS, pid, 19), lambda: open(f"/proc/{{pid}}/mem"),
    ):
        try: call(); through.append((pid, call.__code__.co_firstlineno))
        except OSError: pass
through""")
        == "[]"
    )
    await run("import os, signal; os.kill(-1, signal.SIGKILL)")
    assert (await offer.registry.call("python", {"code": "6 * 7"}, ToolContext(other))).text == "42"


async def test_the_code_is_nobody_on_the_host(verdict, session, interpreter_pid):
    process = psutil.Process(interpreter_pid)
    assert process.uids().real == (session.sandbox.user.uid if session.sandbox.user else os.geteuid())
    assert process.uids().real != 0
    status = status_of(interpreter_pid)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    bounding = () if verdict.require().lacks else ("CapBnd",)  # without namespaces no_new_privs stands for it
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb", *bounding):
        assert int(status[kind], 16) == 0
    assert status["Groups"].split() == [] or os.geteuid() != 0


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


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


def inside(sandbox: Sandbox | None) -> list[psutil.Process]:
    """Everything that runs in a sandbox: of its pid namespace, or what descends from its keeper."""

    def namespace(pid: int) -> str | None:
        try:
            return os.readlink(f"/proc/{pid}/ns/pid")
        except OSError:
            return None

    assert isinstance(sandbox, LocalSandbox)
    wanted = namespace(sandbox.program_pid)
    if wanted != namespace(os.getpid()):
        return [process for process in psutil.process_iter() if namespace(process.pid) == wanted]
    keeper = psutil.Process(sandbox.program_pid).parent()
    assert keeper
    return [keeper, *keeper.children(recursive=True)]


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
        processes = inside(interpreter._sandbox)
        assert len(processes) >= 3
        begun = time.monotonic()
        await interpreter.close()
        assert time.monotonic() - begun < 2
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


async def test_descriptors_may_have_large_numbers(backend: Backend, session):
    """select(2) takes none above 1,023, and a hundred sessions have more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        sandbox = await backend.create(session.sandbox)
        assert await (await sandbox.exec_code("6 * 7", 1)).answer
        assert (await sandbox.stats()).processes
        assert await sandbox.freeze()
        await sandbox.close()
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_frozen_sandbox_ends_when_it_is_closed(backend: Backend, session):
    """On cgroup v1 what was killed while it was frozen is there until it is thawed."""
    sandbox = await backend.create(session.sandbox)
    execution = await sandbox.exec_code("import subprocess; subprocess.Popen(['sleep', '1000']); None", 1)
    await execution.answer
    processes = inside(sandbox)
    assert len(processes) >= 2
    assert await sandbox.freeze()
    await sandbox.close()
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive


@pytest.mark.parametrize("backend_name", BACKENDS)
def test_a_sandbox_does_not_outlive_a_server_that_is_killed(backend_name, open_folder):
    """A server of its own, in a process that is killed while code runs in its session."""
    script = """
import asyncio, os, signal, sys
from agenthost.tools import Sessions, ToolContext, default_tools, probe
async def main():
    async with Sessions() as sessions:
        session = await sessions.create()
        code = "import time; open('begun', 'w').close(); time.sleep(1000)"
        offer = default_tools(probe(names=sys.argv[1:]))
        call = asyncio.create_task(offer.registry.call("python", {"code": code}, ToolContext(session)))
        while not (session.workspace / "begun").exists(): await asyncio.sleep(0.01)
        print("begun", flush=True)
        await call
asyncio.run(main())
"""
    server = subprocess.Popen(
        [sys.executable, "-c", script, backend_name], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(open_folder)},
    )  # fmt: skip
    assert server.stdout
    assert server.stdout.readline() == "begun\n"
    processes = psutil.Process(server.pid).children(recursive=True)
    assert processes
    server.kill()
    server.wait()
    gone, alive = psutil.wait_procs(processes, timeout=10)
    assert gone
    assert not alive
    server.stdout.close()

"""The isolation checks: one real sandbox, looked at from inside before any foreign code has run in it."""

from __future__ import annotations

import ast
import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import SandboxUnavailable
from .backend import Backend
from .identity import IDENTITIES, Identity, server_is_root
from .spec import Limits, SandboxSpec

_SECONDS = 20.0

# A cell whose value says what can be seen of the walls. True: this wall holds.
_LOOK = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
def refused(call, *arguments):
    try: call(*arguments)
    except OSError: return True
    return False
sets = (ctypes.c_uint32 * 6)(*[1] * 6)  # effective, permitted and inheritable capabilities, each in two words
libc.capget(ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)), sets)
own = os.getpid() < 10 and not refused(os.kill, 1, 0) and max(map(int, filter(str.isdigit, os.listdir("/proc")))) < 20
try: child = os.fork()
except OSError: raise OSError("code can start no process: its user, or the machine, has as many as it may have")
child or os._exit(0)
os.waitpid(child, 0)
open("probe", "w").close()
os.unlink("probe")
{
    "python": sys.version_info[:3],
    "seccomp": libc.prctl(21, 0, 0, 0, 0) == 2,
    "no_new_privs": libc.prctl(39, 0, 0, 0, 0) == 1,
    "no_capabilities": not any(sets),
    "no_network": all(refused(socket.socket, family) for family in (socket.AF_INET, socket.AF_INET6, 16, 17, 38, 40)),
    "no_signals_to_others": own or all(refused(os.kill, pid, 0) for pid in (1, os.getppid())),
    "no_other_processes": own or refused(os.listdir, "/proc"),
    "no_host_files": all(refused(os.listdir, "/" + name) for name in ("home", "root", "var", "sys", "run", "mnt")),
    "read_only_system": all(refused(open, folder + "/probe", "w") for folder in ("", "/usr", "/etc", "/dev", "/proc")),
    "sysctl_closed": not os.access("/proc/sys/kernel/core_pattern", os.W_OK),
}
"""


def check(backend: Backend, limits: Limits) -> dict[str, Any]:
    """What a sandbox of ``backend`` shows: every wall holds. Blocks for as long as a start takes.

    Raises:
        SandboxUnavailable: it does not start, or a wall is missing.
    """
    seen = look(backend, limits)
    missing = [name.replace("_", " ") for name, holds in seen.items() if holds is False]
    if missing:
        raise SandboxUnavailable(f"the sandbox starts but does not hold here: {', '.join(missing)}.")
    return seen


def look(backend: Backend, limits: Limits) -> dict[str, Any]:
    """The same, whether the walls hold or not.

    Raises:
        SandboxUnavailable: it does not start.
    """
    with ThreadPoolExecutor(1) as executor:  # where an event loop of our own may run, whatever the caller's thread does
        return executor.submit(asyncio.run, _look(backend, limits)).result()


@contextmanager
def _workspace(user: Identity | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="agenthost-probe-") as folder:
        home = Path(folder)
        home.chmod(0o711 if user else 0o700)
        workspace = home / secrets.token_hex(8)
        workspace.mkdir(mode=0o700)
        if user:
            os.chown(workspace, user.uid, user.gid)
        yield workspace


async def _look(backend: Backend, limits: Limits) -> dict[str, Any]:
    user = IDENTITIES.reserve() if server_is_root() else None
    try:
        with _workspace(user) as workspace:
            sandbox = await backend.create(SandboxSpec(workspace, user, limits=limits, shared_user=user is None))
            try:
                execution = await sandbox.exec_code(_LOOK, 1)
                events = {execution.answer, sandbox.ended}
                await asyncio.wait(events, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await sandbox.close()
    finally:
        if user:
            IDENTITIES.give_back(user)
    if not execution.answer.done():
        raise SandboxUnavailable("the sandbox starts but does not answer.")
    answer = execution.answer.result()
    try:
        return ast.literal_eval(answer.value or "")
    except (SyntaxError, ValueError):
        raise SandboxUnavailable(f"the sandbox starts but cannot be looked at: {answer.traceback}") from None

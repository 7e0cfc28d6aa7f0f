"""Finds out whether code can be isolated here: starts a real sandbox once and looks at it from inside."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SandboxUnavailable
from .bubblewrap import Bubblewrap
from .cgroups import Cgroups
from .identity import IdentityPool, server_is_root
from .seccomp import ARCHITECTURES
from .spec import Backend, Limits, Sandbox, SandboxSpec

_SECONDS = 20.0

# Runs inside: what can be seen of the walls. Uses nothing that the host should believe beyond this one start, when no
# foreign code has run yet.
_LOOK = """
import json, os, socket, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def refused(family):
    try: socket.socket(family, socket.SOCK_STREAM).close()
    except OSError: return True
    return False
open("/workspace/probe", "w").close()
os.unlink("/workspace/probe")
print(json.dumps({
    "python": list(sys.version_info[:3]),
    "seccomp": status["Seccomp"] == "2",
    "no_new_privs": status["NoNewPrivs"] == "1",
    "no_capabilities": int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0,
    "no_network": refused(socket.AF_INET) and refused(40),
    "own_processes": os.getpid() < 10,
    "no_host_files": sorted(set(os.listdir("/")) & {"home", "root", "var", "sys", "run", "mnt"}) == [],
    "sysctl_closed": not os.access("/proc/sys/kernel/core_pattern", os.W_OK),
}))
"""


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Args:
        backend: ready for use, or None when nothing isolates well enough here.
        problem: why there is no backend, and what to do about it.
        facts: what a report can show, by name: versions, limits in force, seconds a start takes.
    """

    backend: Backend | None
    problem: str | None = None
    facts: dict[str, str] = field(default_factory=dict)

    def require(self) -> Backend:
        """The backend.

        Raises:
            SandboxUnavailable: there is none; the message is :attr:`problem`.
        """
        if self.backend is None:
            raise SandboxUnavailable(self.problem or "no sandbox works here.")
        return self.backend


def probe(limits: Limits | None = None) -> Verdict:
    """Look for a backend that holds. Takes some 100 ms and blocks; call it once at start-up."""
    try:
        return _probe(limits or Limits())
    except SandboxUnavailable as error:
        return Verdict(None, str(error))


def _probe(limits: Limits) -> Verdict:
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        raise SandboxUnavailable(
            f"code is isolated on Linux (x86-64, arm64) only, and this is {sys.platform} on {platform.machine()}. "
            "Run agenthost in a Linux machine or VM to have the python tool."
        )
    bwrap = shutil.which("bwrap", path=os.environ.get("PATH", os.defpath) + ":/usr/bin:/usr/local/bin")
    if bwrap is None:
        raise SandboxUnavailable(
            "bubblewrap is missing, which isolates code. Install it: `apt install bubblewrap` (Debian, Ubuntu), "
            "`dnf install bubblewrap` (Fedora), `apk add bubblewrap` (Alpine)."
        )
    options = _options(bwrap)
    if "--size" not in options:
        raise SandboxUnavailable(f"{bwrap} is too old to limit temporary files. Install bubblewrap 0.7 or newer.")
    cgroups = Cgroups.find()
    problems: list[str] = []
    for python in _pythons():
        backend = Bubblewrap(bwrap, python, options, cgroups)
        began = time.monotonic()
        try:
            seen = _look_inside(backend, limits)
        except SandboxUnavailable as error:
            problems.append(str(error))
            continue
        facts = {
            "backend": f"{_first_line([bwrap, '--version'])} ({bwrap})",
            "python": ".".join(map(str, seen["python"])) + f" ({python})",
            "code runs as": "a uid of each session" if server_is_root() else f"this user (uid {os.getuid()})",
            "limits": "rlimits" + (" and cgroups: " + ", ".join(cgroups.controllers) if cgroups else " (no cgroup)"),
            "start": f"{1000 * (time.monotonic() - began):.0f} ms",
        }
        return Verdict(backend, None, facts)
    raise SandboxUnavailable(problems[0] if problems else "no Python was found that a sandbox could use.")


def _pythons() -> list[str]:
    """Interpreters to try: the system's first, because a virtual environment's may be in a private home."""
    candidates = ["/usr/bin/python3", "/usr/local/bin/python3", getattr(sys, "_base_executable", sys.executable)]
    found = [os.path.realpath(path) for path in candidates if path and os.access(path, os.X_OK)]
    return list(dict.fromkeys(found))


def _options(bwrap: str) -> frozenset[str]:
    return frozenset(re.findall(r"--[a-z0-9-]+", _output([bwrap, "--help"])))


def _first_line(command: list[str]) -> str:
    return _output(command).partition("\n")[0]


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env={})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"{command[0]} does not run: {error}. Install bubblewrap again.") from error
    return done.stdout


def _look_inside(backend: Bubblewrap, limits: Limits) -> dict[str, Any]:
    """Start a sandbox as a session would, and check its walls.

    Raises:
        SandboxUnavailable: it does not start, or a wall is missing.
    """
    pool = IdentityPool()
    user = pool.take() if server_is_root() else None
    with tempfile.TemporaryDirectory(prefix="agenthost-probe-") as folder:
        home = Path(folder)
        home.chmod(0o711 if user else 0o700)
        workspace = home / secrets.token_hex(8)
        workspace.mkdir(mode=0o700)
        if user:
            os.chown(workspace, user.uid, user.gid)
        sandbox = backend.start(SandboxSpec(workspace, user, limits=limits), _LOOK)
        try:
            output, complaint = _collect(sandbox)
        finally:
            sandbox.close()
    try:
        seen = json.loads(output)
    except ValueError:
        raise SandboxUnavailable(_advice(complaint)) from None
    missing = [name.replace("_", " ") for name, holds in seen.items() if holds is False]
    if missing:
        raise SandboxUnavailable(f"the sandbox starts but does not hold here: {', '.join(missing)}.")
    return seen


def _collect(sandbox: Sandbox) -> tuple[str, str]:
    """What the sandbox prints on both streams until it ends."""
    parts: dict[int, bytearray] = {sandbox.stdout: bytearray(), sandbox.stderr: bytearray()}
    open_streams = set(parts)
    deadline = time.monotonic() + _SECONDS
    while open_streams and (left := deadline - time.monotonic()) > 0:
        for fd in select.select(list(open_streams), [], [], left)[0]:
            data = os.read(fd, 65536)
            parts[fd] += data
            if not data:
                open_streams.discard(fd)
    return parts[sandbox.stdout].decode(errors="replace"), parts[sandbox.stderr].decode(errors="replace").strip()


_USERNS_OFF = re.compile("uid map|new namespace|user namespace|RTM_NEWADDR|Operation not permitted")


def _advice(complaint: str) -> str:
    """What bwrap said, and what usually helps."""
    said = f"the sandbox does not start ({complaint[-300:] or 'it said nothing'})."
    if _USERNS_OFF.search(complaint):
        return (
            f"{said} Unprivileged user namespaces seem to be off. On Ubuntu 24.04 or newer allow them to bwrap by an "
            "AppArmor profile, or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; on older Debian "
            "`sysctl kernel.unprivileged_userns_clone=1`; in Docker add `--security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined`."
        )
    if "mount proc" in complaint:
        return f"{said} The container masks parts of /proc: in Docker add `--security-opt systempaths=unconfined`."
    if "execvp" in complaint:
        return f"{said} The sandbox's users cannot read that Python: install the system's python3."
    return f"{said} See `bwrap --help` and the kernel's log."

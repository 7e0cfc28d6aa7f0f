"""Finds out how code can be isolated here: starts a real sandbox once and looks at it from inside."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import SandboxUnavailable
from .backend import Backend
from .bubblewrap import Bubblewrap
from .cgroups import Cgroups
from .checks import check
from .identity import server_is_root
from .packages import own_interpreter
from .seccomp import ARCHITECTURES, assemble
from .spec import Limits
from .zygote import Zygote

BACKENDS = ("zygote", "bubblewrap")  # the strongest first


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


def probe(limits: Limits | None = None, names: Sequence[str] = BACKENDS) -> Verdict:
    """Look for the first of these backends that holds. Takes some 100 ms and blocks; call it once at start-up.

    The caller closes the backend when it is used no more.
    """
    try:
        return _probe(limits or Limits(), names)
    except SandboxUnavailable as error:
        return Verdict(None, str(error))


def _probe(limits: Limits, names: Sequence[str]) -> Verdict:
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        raise SandboxUnavailable(
            f"code is isolated on Linux (x86-64, arm64) only, and this is {sys.platform} on {platform.machine()}. "
            "Run agenthost in a Linux machine or VM to have the python tool."
        )
    cgroups = Cgroups.find()
    problems: list[str] = []
    attempts = {"zygote": _zygote, "bubblewrap": _bubblewrap}
    for name in names:
        try:
            return attempts[name](limits, cgroups)
        except SandboxUnavailable as error:
            problems.append(str(error))
    raise SandboxUnavailable(problems[-1])  # the last one's, bubblewrap's: it is what can be installed


def _zygote(limits: Limits, cgroups: Cgroups | None) -> Verdict:
    """Try one that has loaded nothing, which is quick; the real one differs in that only."""
    interpreter = own_interpreter()
    trial = Zygote(interpreter, cgroups, assemble(), ready=0, preload=())
    began = time.monotonic()
    try:
        seen = check(trial, limits)
    finally:
        trial.close()
    facts = _facts(seen, cgroups, began, f"zygote ({', '.join(interpreter.names) or 'standard library only'})", trial)
    return Verdict(Zygote(interpreter, cgroups, assemble()), None, facts)


def _bubblewrap(limits: Limits, cgroups: Cgroups | None) -> Verdict:
    bwrap = shutil.which("bwrap", path=os.environ.get("PATH", os.defpath) + ":/usr/bin:/usr/local/bin")
    if bwrap is None:
        raise SandboxUnavailable(
            "bubblewrap is missing, which isolates code. Install it: `apt install bubblewrap` (Debian, Ubuntu), "
            "`dnf install bubblewrap` (Fedora), `apk add bubblewrap` (Alpine)."
        )
    options = _options(bwrap)
    if "--size" not in options:
        raise SandboxUnavailable(f"{bwrap} is too old to limit temporary files. Install bubblewrap 0.7 or newer.")
    problems: list[str] = []
    for python in _pythons():
        backend = Bubblewrap(bwrap, python, options, cgroups)
        began = time.monotonic()
        try:
            seen = check(backend, limits)
        except SandboxUnavailable as error:
            problems.append(_advice(str(error)))
            continue
        facts = _facts(seen, cgroups, began, f"{_first_line([bwrap, '--version'])} ({bwrap})", backend)
        return Verdict(backend, None, facts)
    raise SandboxUnavailable(problems[0] if problems else "no Python was found that a sandbox could use.")


def _facts(seen: dict[str, Any], cgroups: Cgroups | None, began: float, what: str, backend: Backend) -> dict[str, str]:
    return {
        "backend": what,
        "python": ".".join(map(str, seen["python"])) + f" ({backend.python})",
        "code runs as": "a uid of each session" if server_is_root() else f"this user (uid {os.getuid()})",
        "limits": "rlimits" + (" and cgroups: " + ", ".join(cgroups.controllers) if cgroups else " (no cgroup)"),
        "start": f"{1000 * (time.monotonic() - began):.0f} ms",
    }


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


_USERNS_OFF = re.compile("uid map|new namespace|user namespace|RTM_NEWADDR|Operation not permitted")


def _advice(said: str) -> str:
    """What went wrong, and what usually helps."""
    if _USERNS_OFF.search(said):
        return (
            f"{said} Unprivileged user namespaces seem to be off. On Ubuntu 24.04 or newer allow them to bwrap by an "
            "AppArmor profile, or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`; on older Debian "
            "`sysctl kernel.unprivileged_userns_clone=1`; in Docker add `--security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined`."
        )
    if "mount proc" in said:
        return f"{said} The container masks parts of /proc: in Docker add `--security-opt systempaths=unconfined`."
    if "execvp" in said:
        return f"{said} The sandbox's users cannot read that Python: install the system's python3."
    return said

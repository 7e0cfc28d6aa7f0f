"""Finds out how code can be isolated here: starts a real sandbox once and looks at it from inside."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import SandboxUnavailable
from .backend import Backend
from .bubblewrap import Bubblewrap
from .cgroups import Cgroups
from .checks import check, look
from .identity import server_is_root
from .inside import landlock
from .landlock import Landlock
from .packages import own_interpreter
from .seccomp import ARCHITECTURES
from .spec import Limits
from .unconfined import Unconfined
from .zygote import Zygote

BACKENDS = ("zygote", "bubblewrap", "landlock")  # the strongest first


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Args:
        backend: ready for use, or None when nothing isolates well enough here.
        problem: why there is no backend, and what to do about it.
        facts: what a report can show, by name: versions, limits in force, seconds a start takes.
        warning: what an operator must know who has allowed code to run without isolation.
    """

    backend: Backend | None
    problem: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    warning: str | None = None

    def require(self) -> Backend:
        """The backend.

        Raises:
            SandboxUnavailable: there is none; the message is :attr:`problem`.
        """
        if self.backend is None:
            raise SandboxUnavailable(self.problem or "no sandbox works here.")
        return self.backend


def probe(limits: Limits | None = None, names: Sequence[str] | None = None, *, allow_unsafe: bool = False) -> Verdict:
    """Look for the first backend that holds. Takes some 100 ms and blocks; call it once at start-up.

    The caller closes the backend when it is used no more.

    Args:
        names: of the backends to try, `BACKENDS` by default.
        allow_unsafe: when none holds, run code without isolation. Only for who trusts what a model writes.
    """
    limits = limits or Limits()
    try:
        return _probe(limits, BACKENDS if names is None else names)
    except SandboxUnavailable as error:
        return _unconfined(limits, str(error)) if allow_unsafe else Verdict(None, str(error))


def _probe(limits: Limits, names: Sequence[str]) -> Verdict:
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        raise SandboxUnavailable(
            f"code is isolated on Linux (x86-64, arm64) only, and this is {sys.platform} on {platform.machine()}. "
            "Run agenthost in a Linux machine or VM to have the python tool."
        )
    cgroups = Cgroups.find()
    problems: dict[str, str] = {}
    attempts = {"zygote": _zygote, "bubblewrap": _bubblewrap, "landlock": _landlock}
    for name in names:
        try:
            return attempts[name](limits, cgroups)
        except SandboxUnavailable as error:
            problems[name] = str(error)
    # Bubblewrap's says what can be installed or allowed, and Landlock's what would do without it.
    raise SandboxUnavailable(" ".join([problems[name] for name in names if name != "zygote"] or problems.values()))


def _zygote(limits: Limits, cgroups: Cgroups | None) -> Verdict:
    """Try one that has loaded nothing, which is quick; the real one differs in that only."""
    interpreter = own_interpreter()
    trial = Zygote(interpreter, cgroups, ready=0, preload=())
    began = time.monotonic()
    try:
        seen = check(trial, limits)
    finally:
        trial.close()
    facts = _facts(seen, cgroups, began, f"zygote ({', '.join(interpreter.names) or 'standard library only'})", trial)
    return Verdict(Zygote(interpreter, cgroups), None, facts)


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
    what = f"{_first_line([bwrap, '--version'])} ({bwrap})"
    try:
        return _first_python(lambda python: Bubblewrap(bwrap, python, options, cgroups), check, limits, cgroups, what)
    except SandboxUnavailable as error:
        raise SandboxUnavailable(_advice(str(error))) from error


def _landlock(limits: Limits, cgroups: Cgroups | None) -> Verdict:
    found = landlock.version()
    if found < landlock.WANTED:
        has = f"has version {found} of it" if found else "has none, or it is off (boot with `lsm=landlock,...`)"
        raise SandboxUnavailable(
            f"Isolation without namespaces needs Landlock {landlock.WANTED} (Linux 6.12), and this kernel {has}."
        )
    return _first_python(
        lambda python: Landlock(python, cgroups), check, limits, cgroups, f"Landlock {found} and seccomp"
    )


def _unconfined(limits: Limits, problem: str) -> Verdict:
    """No isolation, because of ``problem``."""
    if sys.platform != "linux":
        return Verdict(None, problem)
    cgroups = Cgroups.find()
    try:
        found = _first_python(lambda python: Unconfined(python, cgroups), look, limits, cgroups, "none")
    except SandboxUnavailable as error:
        return Verdict(None, str(error))
    whose = "a user of each session" if server_is_root() else f"this user (uid {os.getuid()})"
    warning = (
        f"CODE RUNS WITHOUT A SANDBOX (--allow-unsafe-code): whatever a model writes runs as {whose}, with the network "
        f"and the files of this machine. Nothing isolates here: {problem}"
    )
    return replace(found, warning=warning)


def _first_python(
    make: Callable[[str], Backend],
    test: Callable[[Backend, Limits], dict[str, Any]],
    limits: Limits,
    cgroups: Cgroups | None,
    what: str,
) -> Verdict:
    """A backend with the first Python that passes the test in it."""
    problems: list[str] = []
    for python in _pythons():
        backend = make(python)
        began = time.monotonic()
        try:
            seen = test(backend, limits)
        except SandboxUnavailable as error:
            problems.append(str(error))
            continue
        return Verdict(backend, None, _facts(seen, cgroups, began, what, backend))
    raise SandboxUnavailable(problems[0] if problems else "no Python was found that a sandbox could use.")


def _facts(seen: dict[str, Any], cgroups: Cgroups | None, began: float, what: str, backend: Backend) -> dict[str, str]:
    facts = {
        "backend": what,
        "python": ".".join(map(str, seen["python"])) + f" ({backend.python})",
        "code runs as": "a uid of each session" if server_is_root() else f"this user (uid {os.getuid()})",
        "limits": "rlimits" + (" and cgroups: " + ", ".join(cgroups.controllers) if cgroups else " (no cgroup)"),
        "start": f"{1000 * (time.monotonic() - began):.0f} ms",
    }
    return {**facts, "lacks": backend.lacks} if backend.lacks else facts


def _pythons() -> list[str]:
    """Interpreters to try. Our own, with its packages, comes first where it is the system's; one of a virtual
    environment or a home comes last, because it may be private.
    """
    own = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    system = ["/usr/bin/python3", "/usr/local/bin/python3"]
    candidates = [own, *system] if own.startswith("/usr/") else [*system, own]
    found = [os.path.realpath(path) for path in candidates if os.access(path, os.X_OK)]
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

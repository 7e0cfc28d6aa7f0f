"""How Chromium is started: never as root, with an empty environment, its own sandbox on.

Where bubblewrap works it gets a network namespace of its own, whose only way out are the doors of the egress proxy.
What all its processes use together is limited where control groups are writable, each one's memory in any case.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ...errors import BrowserUnavailable
from ...sandbox.cgroups import Cgroups, SessionCgroup
from ...sandbox.identity import IDENTITIES, Identity, server_is_root
from ...sandbox.spec import MIB, Limits
from . import inside

PORT = 3128  # of the bridge inside
_PROGRAMS = ("chromium-headless-shell", "chromium")
_LARGEST_FILE = 256 * MIB
_SHARED_MEMORY = 512 * MIB
_LARGEST_PROCESS = 1024 * MIB  # what it writes to, not its address space; a page runs out of memory before it is killed
# Of all sessions' pages; ten take some 350 MB. A page has some fifteen threads.
_LIMITS = Limits(memory=max(2048 * MIB, psutil.virtual_memory().total // 4), processes=4096)
_FLAGS = (
    "--disable-gpu",
    "--disable-software-rasterizer",  # no WebGL, whose software renderer compiles what pages send
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--no-first-run",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)
_SYSTEM_FILES = ("/etc/fonts", "/etc/ssl", "/etc/chromium.d", "/etc/alternatives", "/etc/ld.so.cache")
_SYSTEM_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True)
class Installation:
    """What there is to start.

    Args:
        bwrap, python: for the network namespace; both None if it cannot be had.
        cgroups: for limits of all processes together; None where this process may set none.
    """

    program: str
    bwrap: str | None
    python: str | None
    cgroups: Cgroups | None = field(default_factory=Cgroups.find)

    @property
    def isolated(self) -> bool:
        return self.bwrap is not None and self.python is not None


def find() -> Installation:
    """Look for Chromium and what drives it.

    Raises:
        BrowserUnavailable: something is missing; the message says what to install.
    """
    path = os.environ.get("PATH", os.defpath) + ":/usr/bin"
    program = next((found for name in _PROGRAMS if (found := shutil.which(name, path=path))), None)
    if program is None:
        raise BrowserUnavailable(
            "Chromium is missing. Install it: `apt install chromium-headless-shell` (Debian), or `chromium`."
        )
    if importlib.util.find_spec("playwright") is None:
        raise BrowserUnavailable("playwright is missing, which drives Chromium: `pip install 'agenthost[browser]'`.")
    python = "/usr/bin/python3"
    bwrap = shutil.which("bwrap", path=path)
    if bwrap is None or not os.access(python, os.X_OK):
        return Installation(program, None, None)
    return Installation(program, bwrap, python)


@dataclass
class Place:
    """The folder that a browser and the server share: doors to the proxy, the launcher, downloads.

    Attributes:
        user: who the browser runs as; None for the server's own user.
    """

    installation: Installation
    user: Identity | None = field(default_factory=lambda: IDENTITIES.reserve() if server_is_root() else None)
    _folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="agenthost-chromium-")
    )
    _group: SessionCgroup | None = None

    def __post_init__(self) -> None:
        if self.installation.cgroups:
            self._group = self.installation.cgroups.make(_LIMITS, ("memory", "pids"))
        self.root.chmod(0o711)  # its user passes through
        for folder in (self.doors, self.downloads):
            folder.mkdir(mode=0o711)
        if self.user:
            os.chown(self.downloads, self.user.uid, self.user.gid)
        self.downloads.chmod(0o700)
        (self.root / "inside.py").write_text(Path(inside.__file__).read_text(encoding="utf-8"), encoding="utf-8")
        (self.root / "inside.py").chmod(0o644)
        groups = [str(place) for place in self._group.places] if self._group else []
        self.launcher.write_text(
            _LAUNCHER.format(python=sys.executable, groups=groups, user=self._ids(), command=self._command())
        )
        self.launcher.chmod(0o700)

    @property
    def root(self) -> Path:
        return Path(self._folder.name)

    @property
    def doors(self) -> Path:
        return self.root / "doors"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def launcher(self) -> Path:
        """What playwright starts."""
        return self.root / "launch"

    def close(self) -> None:
        """When the browser has ended. Blocks for a moment."""
        self._folder.cleanup()
        if self._group:
            self._group.close()
        if self.user:
            IDENTITIES.give_back(self.user)

    def _ids(self) -> tuple[int, int] | None:
        return (self.user.uid, self.user.gid) if self.user else None

    def _command(self) -> list[str]:
        place = self.installation
        if place.bwrap is None or place.python is None:
            return ["/usr/bin/env", "-i", "HOME=/tmp", "PATH=/usr/bin:/bin", place.program]
        bridge = [place.python, "-I", "-S", "/run/inside.py", "/run/doors", str(PORT), place.program]
        return [place.bwrap, *self._walls(), "--", *bridge]

    def _walls(self) -> list[str]:
        walls = ["--unshare-user", "--unshare-net", "--unshare-ipc", "--unshare-pid", "--unshare-uts"]
        walls += ["--uid", "1000", "--gid", "1000", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "browser"]
        walls += ["--ro-bind", "/usr", "/usr"]
        for path in map(Path, _SYSTEM_LINKS):
            if path.is_symlink():
                walls += ["--symlink", os.readlink(path), str(path)]
            elif path.is_dir():
                walls += ["--ro-bind", str(path), str(path)]
        for file in _SYSTEM_FILES:
            walls += ["--ro-bind-try", file, file]
        # Not --disable-userns: Chromium's own sandbox is made of them.
        walls += ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
        for folder in ("/tmp", "/dev/shm"):
            walls += ["--size", str(_SHARED_MEMORY), "--tmpfs", folder]
        walls += ["--tmpfs", "/run", "--ro-bind", str(self.doors), "/run/doors"]
        walls += ["--ro-bind", str(self.root / "inside.py"), "/run/inside.py"]
        walls += ["--bind", str(self.downloads), str(self.downloads), "--chdir", "/tmp", "--clearenv"]
        for name, value in {"HOME": "/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}.items():
            walls += ["--setenv", name, value]
        return walls


def arguments(installation: Installation) -> list[str]:
    """Chromium's flags."""
    # Inside, /dev/shm is of a size that we set; outside it may be tiny, as in containers.
    return [*_FLAGS] if installation.isolated else [*_FLAGS, "--disable-dev-shm-usage"]


# A program of its own, because what playwright starts has playwright's rights and environment.
_LAUNCHER = """#!{python} -IS
import os, resource, sys
for group in {groups}:
    with open(group + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("900")
os.nice(5)
user = {user}
if user:
    os.setgroups([])
    os.setresgid(*[user[1]] * 3)
    os.setresuid(*[user[0]] * 3)
for limit, value in (("CORE", 0), ("FSIZE", LARGEST_FILE), ("DATA", LARGEST_PROCESS)):
    limit = getattr(resource, "RLIMIT_" + limit)
    resource.setrlimit(limit, (value, value))
command = {command}
os.execve(command[0], command + sys.argv[1:], {{}})
""".replace("LARGEST_FILE", str(_LARGEST_FILE)).replace("LARGEST_PROCESS", str(_LARGEST_PROCESS))

"""Memory and process limits for a whole session, by cgroup v2 or v1, each controller where this process may write.

Without a writable cgroup the per-process limits (rlimits) are all there is; :attr:`Cgroups.controllers` says what is
in force.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .spec import Limits

_GROUP = re.compile(r"agenthost-(\d+)-\d+")
_WANTED = ("memory", "pids")


def _settings(controller: str, version: int, limits: Limits) -> list[tuple[str, int]]:
    """Files to write, in order. The ones for swap are missing where the kernel does not count it."""
    if controller == "pids":
        return [("pids.max", limits.processes)]
    if version == 2:
        return [("memory.max", limits.memory), ("memory.swap.max", 0)]
    return [("memory.limit_in_bytes", limits.memory), ("memory.memsw.limit_in_bytes", limits.memory)]


@dataclass(frozen=True)
class Controller:
    name: str
    version: int
    parent: Path  # this process's own group: sessions become children of it


@dataclass(frozen=True)
class SessionCgroup:
    """One session's groups, one directory for each hierarchy."""

    folders: tuple[Path, ...]

    def add(self, pid: int) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed something of this session for memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    if re.search(r"^oom_kill [1-9]", (folder / name).read_text(), re.MULTILINE):
                        return True
        return False

    def close(self) -> None:
        """Remove the groups; everything in them must have ended."""
        for folder in self.folders:
            _remove(folder)


class Cgroups:
    """Makes a group for each session below this process's own groups."""

    def __init__(self, controllers: tuple[Controller, ...]) -> None:
        self._controllers = controllers
        self._made = 0

    @property
    def controllers(self) -> tuple[str, ...]:
        """Which limits are in force, such as ``("memory", "pids")``."""
        return tuple(controller.name for controller in self._controllers)

    def make(self, limits: Limits) -> SessionCgroup:
        self._made += 1
        folders: list[Path] = []
        for controller in self._controllers:
            folder = controller.parent / f"agenthost-{os.getpid()}-{self._made}"
            if folder not in folders:
                folder.mkdir()
                folders.append(folder)
            for name, value in _settings(controller.name, controller.version, limits):
                with suppress(FileNotFoundError, PermissionError):
                    (folder / name).write_text(str(value))
        return SessionCgroup(tuple(folders))

    @classmethod
    def find(cls) -> Cgroups | None:
        """What this process may use, tried for real; None when nothing. Removes what dead servers left behind."""
        usable = [controller for controller in _mounted() if _works(controller)]
        for controller in usable:
            _sweep(controller.parent)
        return cls(tuple(usable)) if usable else None


def _mounted() -> list[Controller]:
    """The hierarchies of the wanted controllers and this process's place in them (cgroups(7), proc(5))."""
    places: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, place = line.split(":", 2)
            places.update(dict.fromkeys(names.split(","), place))
    found: dict[str, Controller] = {}
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, after = line.split(" - ", 1)
            root, mount_point = before.split()[3:5]
            kind, _, options = after.split()[:3]
            if kind == "cgroup":
                names = [name for name in _WANTED if name in options.split(",") and name in places]
            elif kind == "cgroup2" and "" in places:
                names = [name for name in _WANTED if name not in found]
            else:
                continue
            for name in names:
                place = places[name] if kind == "cgroup" else places[""]
                inside = os.path.relpath(place, root)
                if not inside.startswith(".."):
                    version = 1 if kind == "cgroup" else 2
                    found[name] = Controller(name, version, Path(mount_point) / inside)
    return list(found.values())


def _works(controller: Controller) -> bool:
    """Make a group, set a limit, remove it. On v2 the parent must hand the controller down first."""
    trial = controller.parent / f"agenthost-{os.getpid()}-0"
    try:
        if controller.version == 2:
            handed_down = controller.parent / "cgroup.subtree_control"
            if controller.name not in handed_down.read_text().split():
                handed_down.write_text(f"+{controller.name}")
        trial.mkdir()
    except OSError:
        return False
    try:
        name, value = _settings(controller.name, controller.version, Limits())[0]
        (trial / name).write_text(str(value))
    except OSError:
        return False
    else:
        return True
    finally:
        _remove(trial)


def _sweep(parent: Path) -> None:
    for folder in parent.glob("agenthost-*"):
        match = _GROUP.fullmatch(folder.name)
        if match and not Path("/proc", match[1]).exists():
            _remove(folder)


def _remove(folder: Path) -> None:
    with suppress(OSError):  # busy when a process outlived its server: the next start tries again
        folder.rmdir()

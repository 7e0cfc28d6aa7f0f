"""Limits and accounts for a whole session, by cgroup v2 or v1, each controller where this process may write.

Memory and processes are limited, processor time is counted, and all processes can be frozen together. Without a
writable cgroup the per-process limits (rlimits) are all there is; :attr:`Cgroups.controllers` says what is in force.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .backend import Stats
from .spec import Limits

_GROUP = re.compile(r"agenthost-(\d+)-\d+")
_NUMBERS = itertools.count(1)  # of this process: its name and one of these make a group's
_LIMITING = ("memory", "pids")
CONTROLLERS = (*_LIMITING, "freezer", "cpuacct")  # the last two come with every group of v2
_PATIENCE = 1.0  # seconds for the last processes of a group to end
_FREEZING = 1.0  # seconds until a session that does not freeze is let go again


def _settings(controller: str, version: int, limits: Limits) -> list[tuple[str, int]]:
    """Files to write, in order. The ones for swap are missing where the kernel does not count it."""
    if controller == "pids":
        return [("pids.max", limits.processes)]
    if controller != "memory":
        return []
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
    """One session's groups: a directory for each controller, the same one for several on v2."""

    folders: dict[str, Path]

    @property
    def places(self) -> list[Path]:
        return list(dict.fromkeys(self.folders.values()))

    def limit(self, limits: Limits) -> None:
        """Set or change the limits. The ones for swap are missing where the kernel does not count it."""
        for controller, folder in self.folders.items():
            version = 2 if (folder / "cgroup.events").exists() else 1
            for name, value in _settings(controller, version, limits):
                with suppress(FileNotFoundError, PermissionError):
                    (folder / name).write_text(str(value))

    def add(self, pid: int) -> None:
        for folder in self.places:
            (folder / "cgroup.procs").write_text(str(pid))

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed something of this session for memory."""
        folder = self.folders.get("memory")
        for name in ("memory.events", "memory.oom_control") if folder else ():
            with suppress(OSError):
                if folder and re.search(r"^oom_kill [1-9]", (folder / name).read_text(), re.MULTILINE):
                    return True
        return False

    def freeze(self) -> bool:
        """Stop every process of the session; false where that is not possible."""
        folder = self.folders.get("freezer")
        if folder is None:
            return False
        try:
            if (folder / "freezer.state").exists():
                (folder / "freezer.state").write_text("FROZEN")
                frozen = self._until(folder / "freezer.state", "FROZEN")
            else:
                (folder / "cgroup.freeze").write_text("1")
                frozen = self._until(folder / "cgroup.events", "frozen 1")
        except OSError:
            return False
        if not frozen:
            self.thaw()
        return frozen

    def thaw(self) -> None:
        _thaw(self.folders.get("freezer"))

    def stats(self) -> Stats:
        memory = _number(self.folders.get("memory"), "memory.current", "memory.usage_in_bytes")
        processes = _number(self.folders.get("pids"), "pids.current")
        nanoseconds = _number(self.folders.get("cpuacct"), "cpuacct.usage")
        microseconds = _number(self.folders.get("cpuacct"), "cpu.stat")
        seconds = None
        if nanoseconds is not None:
            seconds = nanoseconds / 1e9
        elif microseconds is not None:
            seconds = microseconds / 1e6
        return Stats(memory, processes, seconds)

    def close(self) -> None:
        """Remove the groups; everything in them must have ended, or be about to."""
        for folder in self.places:
            _remove(folder, _PATIENCE)

    @staticmethod
    def _until(file: Path, sign: str) -> bool:
        deadline = time.monotonic() + _FREEZING
        while sign not in file.read_text():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True


class Cgroups:
    """Makes a group for each session below this process's own groups."""

    def __init__(self, controllers: tuple[Controller, ...]) -> None:
        self._controllers = controllers

    @property
    def controllers(self) -> tuple[str, ...]:
        """Which limits are in force, such as ``("memory", "pids")``."""
        return tuple(controller.name for controller in self._controllers)

    def make(self, limits: Limits, names: tuple[str, ...] = CONTROLLERS) -> SessionCgroup:
        """A new group with these of the controllers, as far as they can be used."""
        number = next(_NUMBERS)
        folders: dict[str, Path] = {}
        for controller in self._controllers:
            if controller.name not in names:
                continue
            folder = controller.parent / f"agenthost-{os.getpid()}-{number}"
            if folder not in folders.values():
                folder.mkdir()
            folders[controller.name] = folder
        group = SessionCgroup(folders)
        group.limit(limits)
        return group

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
                names = [name for name in CONTROLLERS if name in options.split(",") and name in places]
            elif kind == "cgroup2" and "" in places:
                names = [name for name in CONTROLLERS if name not in found]
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
        if controller.version == 2 and controller.name in _LIMITING:
            handed_down = controller.parent / "cgroup.subtree_control"
            if controller.name not in handed_down.read_text().split():
                handed_down.write_text(f"+{controller.name}")
        trial.mkdir()
    except OSError:
        return False
    try:
        for name, value in _settings(controller.name, controller.version, Limits())[:1]:
            (trial / name).write_text(str(value))
    except OSError:
        return False
    else:
        return True
    finally:
        _remove(trial)


def _sweep(parent: Path) -> None:
    """Remove what dead servers left, also what they had frozen."""
    for folder in parent.glob("agenthost-*"):
        match = _GROUP.fullmatch(folder.name)
        if match and not Path("/proc", match[1]).exists():
            _thaw(folder)
            _remove(folder)


def _thaw(folder: Path | None) -> None:
    for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if folder and (folder / name).exists():
            with suppress(OSError):
                (folder / name).write_text(word)


def _number(folder: Path | None, *names: str) -> int | None:
    """The first number in the first of these files that is there."""
    for name in names if folder else ():
        with suppress(OSError):
            found = re.search(r"\d+", (folder / name).read_text()) if folder else None
            if found:
                return int(found[0])
    return None


def _remove(folder: Path, patience: float = 0.0) -> None:
    """A process that outlives its server keeps its group busy: then the next start tries again."""
    deadline = time.monotonic() + patience
    while True:
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno == errno.EBUSY and time.monotonic() < deadline:
                time.sleep(0.002)
                continue
        return

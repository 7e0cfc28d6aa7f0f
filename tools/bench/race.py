"""The race that file tools lose who check a path first and open it afterwards.

Another process, as code in the same workspace can, swaps a directory and a link that leads out of it, as fast as the
kernel lets it. Whoever uses the path meanwhile sees now the one and now the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ToolError
from ..files.beneath import Root
from ..files.directory import Directory
from ..files.read import read_text
from ..files.usage import Quota
from ..files.write import write_text

PATH = "swap/file"  # what is raced for: in the workspace, or beside it through the link
INSIDE, OUTSIDE = "inside", "outside"
_FREE = Quota(bytes=None, entries=None, reserve=0)

_RACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
os.chdir(sys.argv[1])
print("racing", flush=True)
while True:
    libc.renameat2(-100, b"swap", -100, b"link", 2)
"""

Ending = Literal["worked", "refused", "escaped"]


@dataclass(frozen=True)
class Arena:
    """A workspace in which a race is on.

    Args:
        folder: the workspace.
        root: the same for the file tools.
        outside: a file beside the workspace that nothing in it should reach.
    """

    folder: Path
    root: Root
    outside: Path


@dataclass(frozen=True)
class Outcome:
    """How many attempts ended how, and how long they took together."""

    worked: int
    refused: int
    escaped: int
    seconds: float

    @property
    def attempts(self) -> int:
        return self.worked + self.refused + self.escaped


@contextmanager
def arena(parent: Path | None = None) -> Iterator[Arena]:
    """Make a workspace below ``parent`` (None: the temporary directory) and start the race."""
    with tempfile.TemporaryDirectory(prefix="agenthost-race-", dir=parent) as home:
        folder, outside = Path(home, "workspace"), Path(home, "file")
        (folder / "swap").mkdir(parents=True)
        (folder / PATH).write_text(INSIDE)
        (folder / "link").symlink_to("..")
        outside.write_text(OUTSIDE)
        directory = Directory(folder)
        command = [sys.executable, "-I", "-S", "-c", _RACER, str(folder)]
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE) as racer:
                assert racer.stdout
                try:
                    racer.stdout.readline()
                    yield Arena(folder, Root(directory), outside)
                finally:
                    racer.kill()
        finally:
            directory.close()


def repeat(attempt: Callable[[Arena], Ending], place: Arena, times: int) -> Outcome:
    ends: dict[Ending, int] = {"worked": 0, "refused": 0, "escaped": 0}
    begun = time.monotonic()
    for _ in range(times):
        ends[attempt(place)] += 1
    return Outcome(**ends, seconds=time.monotonic() - begun)


def read_beneath(place: Arena) -> Ending:
    """As the file tools read."""
    try:
        return _seen(read_text(place.root, PATH))
    except ToolError:
        return "refused"


def write_beneath(place: Arena) -> Ending:
    """As the file tools write."""
    try:
        write_text(place.root, PATH, INSIDE, _FREE)
    except ToolError:
        return "refused"
    return _outside_after(place)


def read_checked(place: Arena) -> Ending:
    """As many others read: resolve the path, check that the result is inside, open it."""
    path = place.folder / PATH
    try:
        if not os.path.realpath(path).startswith(f"{place.folder}/"):
            return "refused"
        with path.open() as file:
            return _seen(file.read())
    except OSError:
        return "refused"


def write_checked(place: Arena) -> Ending:
    """As many others write."""
    path = place.folder / PATH
    try:
        if not os.path.realpath(path).startswith(f"{place.folder}/"):
            return "refused"
        with path.open("w") as file:
            file.write(INSIDE)
    except OSError:
        return "refused"
    return _outside_after(place)


def _seen(text: str) -> Ending:
    return "escaped" if text == OUTSIDE else "worked"


def _outside_after(place: Arena) -> Ending:
    if place.outside.read_text() == OUTSIDE:
        return "worked"
    place.outside.write_text(OUTSIDE)
    return "escaped"

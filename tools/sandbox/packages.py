"""The Python that sandboxes of the zygote run, and the packages of it that they see: the scientific ones, no others."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from .inside.box import PREFIX

SCIENCE = ("numpy", "pandas", "matplotlib", "scipy")
_STANDARD = (
    "collections", "csv", "datetime", "decimal", "fractions", "functools", "itertools", "json", "math", "pathlib",
    "random", "re", "statistics", "subprocess", "textwrap", "time",
)  # fmt: skip
_LIBRARIES = ("numpy", "numpy.random", "pandas", "matplotlib.pyplot", "scipy")
PRELOADED = (*_STANDARD, *_LIBRARIES)


@dataclass(frozen=True)
class Interpreter:
    """A Python as sandboxes see it.

    Args:
        host: its executable on this machine.
        inside: the same in a sandbox.
        prefix: directory of the installation, shown as /opt/python; None where it is part of /usr.
        packages: (path on this machine, name) of what sandboxes can import beside the standard library.
        names: the distributions that are among them, with their versions, for people.
    """

    host: str
    inside: str
    prefix: str | None
    packages: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


def own_interpreter() -> Interpreter:
    """The Python that this server runs, without its virtual environment."""
    host = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    prefix = os.path.realpath(sys.base_prefix)
    found = list(_with_requirements(SCIENCE))
    packages = tuple(sorted({entry for one in found for entry in _files(one)}))
    names = tuple(f"{one.name} {one.version}" for one in found if one.name in SCIENCE)
    if Path(prefix).is_relative_to("/usr"):
        return Interpreter(host, host, None, packages, names)
    return Interpreter(host, PREFIX + host.removeprefix(prefix), prefix, packages, names)


def _with_requirements(names: tuple[str, ...]) -> Iterator[Distribution]:
    """The installed ones of these distributions, and what they need."""
    waiting, seen = list(names), set(names)
    while waiting:
        try:
            found = distribution(waiting.pop(0))
        except PackageNotFoundError:
            continue
        yield found
        for line in found.requires or ():
            name, _, marker = line.partition(";")
            match = re.match(r"[A-Za-z0-9._-]+", name.strip())
            if match and "extra" not in marker and match[0].lower() not in seen:
                seen.add(match[0].lower())
                waiting.append(match[0])


def _files(found: Distribution) -> Iterator[tuple[str, str]]:
    """Top-level files and directories of a distribution."""
    names = {file.parts[0] for file in found.files or () if file.parts}
    for name in names - {"..", "/", "__pycache__"}:
        path = os.path.realpath(str(found.locate_file(name)))
        if os.path.exists(path):
            yield path, name

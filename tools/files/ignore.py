"""What searches leave out: `.git`, and what the `.gitignore` files of the workspace name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial

from ..errors import ToolError
from .beneath import Root
from .glob import Glob, name_pattern
from .text import read_bytes
from .walk import join

_NAME = ".gitignore"
_BYTES, _RULES = 64 << 10, 200  # of one such file; what is beyond is left out


@dataclass(frozen=True)
class _Rule:
    """One line of a .gitignore: a pattern for a name at any depth, or for a whole path from its directory on."""

    pattern: re.Pattern[str] | Glob
    ignores: bool  # False: the line starts with ! and takes an ignored path back
    directories: bool  # only those

    def fits(self, path: str, name: str) -> bool:
        return self.pattern.matches(path) if isinstance(self.pattern, Glob) else self.pattern.match(name) is not None


class Ignored:
    """Says of a path of a walk whether it is left out. The walk must not go below what is."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._rules: dict[str, list[_Rule]] = {}

    def __call__(self, path: str, entry: os.DirEntry[str]) -> bool:
        if entry.name == ".git":
            return True
        folder = path.rpartition("/")[0]
        while True:
            rules = self._rules.get(folder)
            if rules is None:
                rules = self._rules[folder] = _read_rules(self._root, folder or ".")
            if rules:
                inner = path[len(folder) + 1 :] if folder else path
                is_folder = partial(entry.is_dir, follow_symlinks=False)
                for rule in reversed(rules):
                    if rule.fits(inner, entry.name) and (not rule.directories or is_folder()):
                        return rule.ignores
            if not folder:
                return False
            folder = folder.rpartition("/")[0]


def _read_rules(root: Root, folder: str) -> list[_Rule]:
    try:
        fd = root.open(join(folder, _NAME), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return []
    try:
        text = read_bytes(fd, _BYTES).decode(errors="replace")
    except OSError:  # a directory, or something that cannot be read
        return []
    finally:
        os.close(fd)
    rules = (_rule(line) for line in text.split("\n")[:_RULES])
    return [rule for rule in rules if rule]


def _rule(line: str) -> _Rule | None:
    line = line.rstrip()
    ignores = not line.startswith("!")
    if line.startswith(("!", "\\")):
        line = line[1:]
    elif line.startswith("#"):
        return None
    directories = line.endswith("/")
    line = line.rstrip("/")
    if not line:
        return None
    try:
        pattern = Glob(line.lstrip("/"), whole=True) if "/" in line else name_pattern(line)
    except ToolError:
        return None
    return _Rule(pattern, ignores, directories)

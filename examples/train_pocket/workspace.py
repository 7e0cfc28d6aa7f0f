"""The file tools over a real directory, with the texts of ``agenthost.tools.files``.

The product's own implementation adds what safety needs (openat2, quotas, limits). This one is small and fast enough to
run a thousand times a second, and says the same sentences.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agenthost.tools.files import specs
from agenthost.tools.spec import failure

Arguments = dict[str, Any]


class Refused(Exception):
    """What the model reads after ``Error:``."""


class Workspace:
    """One conversation's files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._text = str(root)
        self._real = root.resolve()

    def call(self, tool: str, arguments: Arguments) -> str:
        """Run a file tool and give the text that the model reads."""
        try:
            return _TOOLS[tool](self, arguments)
        except Refused as refusal:
            return failure(str(refusal)).text
        except (OSError, UnicodeDecodeError, re.error, ValueError) as error:
            return failure(f"{type(error).__name__}: {error}.").text

    def put(self, path: str, text: str) -> None:
        """Place a file before a conversation starts."""
        target = f"{self._text}/{path}"
        if "/" in path:
            os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w") as file:
            file.write(text)

    def text(self, path: str) -> str | None:
        """A file's text, or None if there is no such file."""
        target = self.root / path
        return target.read_text() if target.is_file() else None

    def has(self, path: str) -> bool:
        return os.path.exists(f"{self._text}/{path}")

    def names(self, directory: str = ".") -> list[str]:
        folder = self.root / directory
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def clear(self) -> None:
        for entry in self.root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()

    def inside(self, path: str) -> Path:
        target = (self.root / path).resolve()
        if not target.is_relative_to(self._real):
            raise Refused(specs.outside(path))
        return target

    def existing_file(self, path: str) -> Path:
        target = self.inside(path)
        if target.is_dir():
            raise Refused(specs.not_a_file(path))
        if not target.exists():
            raise Refused(specs.no_such_file(path))
        return target

    def existing_directory(self, path: str) -> Path:
        target = self.inside(path)
        if not target.is_dir():
            raise Refused(specs.no_such_directory(path))
        return target


def _read(workspace: Workspace, arguments: Arguments) -> str:
    text = workspace.existing_file(arguments["path"]).read_text()
    if "head" in arguments:
        text = "".join(text.splitlines(keepends=True)[: arguments["head"]])
    elif "tail" in arguments:
        text = "".join(text.splitlines(keepends=True)[-arguments["tail"] :])
    return text.rstrip("\n") or specs.EMPTY_FILE


def _read_many(workspace: Workspace, arguments: Arguments) -> str:
    parts = []
    for path in arguments["paths"]:
        parts.append(f"{path}:\n{workspace.call('read_text_file', {'path': path})}")
    return "\n---\n".join(parts)


def _write(workspace: Workspace, arguments: Arguments) -> str:
    target = workspace.inside(arguments["path"])
    if target.is_dir():
        raise Refused(specs.not_a_file(arguments["path"]))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(arguments["content"])
    return specs.wrote(arguments["path"])


def _edit(workspace: Workspace, arguments: Arguments) -> str:
    target = workspace.existing_file(arguments["path"])
    before = after = target.read_text()
    for edit in arguments["edits"]:
        count = after.count(edit["oldText"])
        if count != 1:
            path = arguments["path"]
            raise Refused(specs.text_not_found(path) if count == 0 else specs.text_not_unique(path, count))
        after = after.replace(edit["oldText"], edit["newText"])
    if not arguments.get("dryRun"):
        target.write_text(after)
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), arguments["path"], arguments["path"], lineterm="", n=1
    )
    return "\n".join(lines)


def _create_directory(workspace: Workspace, arguments: Arguments) -> str:
    workspace.inside(arguments["path"]).mkdir(parents=True, exist_ok=True)
    return specs.created(arguments["path"])


def _list(workspace: Workspace, arguments: Arguments) -> str:
    folder = workspace.existing_directory(arguments["path"])
    return specs.listing(sorted((entry.name, entry.is_dir()) for entry in folder.iterdir()))


def _list_sizes(workspace: Workspace, arguments: Arguments) -> str:
    folder = workspace.existing_directory(arguments["path"])
    entries = [
        (entry.name, entry.is_dir(), 0 if entry.is_dir() else entry.stat().st_size) for entry in folder.iterdir()
    ]
    entries.sort(key=lambda entry: -entry[2] if arguments.get("sortBy") == "size" else entry[0])
    lines = [f"[DIR] {name}" if is_dir else f"[FILE] {name} {size} B" for name, is_dir, size in entries]
    return "\n".join(lines) or specs.EMPTY_DIRECTORY


def _tree(workspace: Workspace, arguments: Arguments) -> str:
    excluded = arguments.get("excludePatterns", [])

    def below(folder: Path) -> list[Arguments]:
        nodes: list[Arguments] = []
        for entry in sorted(folder.iterdir()):
            if any(fnmatch.fnmatch(entry.name, pattern) for pattern in excluded):
                continue
            if entry.is_dir():
                nodes.append({"name": entry.name, "type": "directory", "children": below(entry)})
            else:
                nodes.append({"name": entry.name, "type": "file"})
        return nodes

    return json.dumps(below(workspace.existing_directory(arguments["path"])), indent=2)


def _move(workspace: Workspace, arguments: Arguments) -> str:
    source, destination = workspace.inside(arguments["source"]), workspace.inside(arguments["destination"])
    if not source.exists():
        raise Refused(specs.no_such_file(arguments["source"]))
    if destination.exists():
        raise Refused(specs.already_exists(arguments["destination"]))
    destination.parent.mkdir(parents=True, exist_ok=True)
    source.rename(destination)
    return specs.moved(arguments["source"], arguments["destination"])


def _search(workspace: Workspace, arguments: Arguments) -> str:
    folder = workspace.existing_directory(arguments["path"])
    root = workspace.root.resolve()
    found = []
    for entry in sorted(folder.rglob("*")):
        relative = entry.relative_to(folder).as_posix()
        pattern = arguments["pattern"]
        if fnmatch.fnmatch(entry.name, pattern) or fnmatch.fnmatch(relative, pattern):
            found.append(entry.relative_to(root).as_posix())
    return "\n".join(found) or specs.NO_MATCHES


def _grep(workspace: Workspace, arguments: Arguments) -> str:
    start = workspace.inside(arguments.get("path", "."))
    if not start.exists():
        raise Refused(specs.no_such_file(arguments["path"]))
    pattern = re.compile(arguments["pattern"])
    root = workspace.root.resolve()
    lines = []
    for file in [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.is_file()):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if pattern.search(line):
                lines.append(f"{file.relative_to(root).as_posix()}:{number}: {line}")
    return "\n".join(lines) or specs.NO_MATCHES


def _info(workspace: Workspace, arguments: Arguments) -> str:
    target = workspace.inside(arguments["path"])
    if not target.exists():
        raise Refused(specs.no_such_file(arguments["path"]))
    status = target.stat()
    kind = "directory" if target.is_dir() else "file"
    return f"size: {status.st_size}\nmodified: 2026-11-24T08:00:00Z\ntype: {kind}\npermissions: {stat.filemode(status.st_mode)}"


def _allowed(workspace: Workspace, arguments: Arguments) -> str:
    return "Allowed directories:\n."


def _media(workspace: Workspace, arguments: Arguments) -> str:
    workspace.existing_file(arguments["path"])
    return "(media)"


_TOOLS: dict[str, Callable[[Workspace, Arguments], str]] = {
    "read_text_file": _read,
    "read_media_file": _media,
    "read_multiple_files": _read_many,
    "write_file": _write,
    "edit_file": _edit,
    "create_directory": _create_directory,
    "list_directory": _list,
    "list_directory_with_sizes": _list_sizes,
    "directory_tree": _tree,
    "move_file": _move,
    "search_files": _search,
    "grep": _grep,
    "get_file_info": _info,
    "list_allowed_directories": _allowed,
}

"""`list_directory` and `list_directory_with_sizes` by pages, and `directory_tree`."""

from __future__ import annotations

import json
import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .folders import COUNTED, LISTED, is_folder, scanned
from .full_specs import DIRECTORY_TREE, LIST_DIRECTORY, LIST_DIRECTORY_WITH_SIZES
from .glob import Glob
from .result import content, in_thread, page_note, printable
from .specs import listing, no_such_directory
from .walk import DEEPEST, OPEN_DIRECTORY, join

_TREE = 1000  # entries that one tree shows


class ListDirectoryPages(Tool):
    spec = LIST_DIRECTORY

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        offset, limit = arguments.get("offset", 0), arguments.get("limit", LISTED)
        return content(await in_thread(context, list_page, arguments["path"], offset, limit))


class ListDirectoryWithSizes(Tool):
    spec = LIST_DIRECTORY_WITH_SIZES

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        offset, limit = arguments.get("offset", 0), arguments.get("limit", LISTED)
        by_size = arguments.get("sortBy") == "size"
        return content(await in_thread(context, list_sizes, arguments["path"], offset, limit, by_size=by_size))


class DirectoryTree(Tool):
    spec = DIRECTORY_TREE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        excludes, levels = arguments.get("excludePatterns", []), arguments.get("maxDepth", DEEPEST)
        return content(await in_thread(context, tree, arguments["path"], excludes, levels))


def list_page(root: Root, path: str, offset: int, limit: int) -> str:
    """Entries sorted by name. Raises ToolError: no such directory."""
    inner = clean(path)
    with told(path, missing=no_such_directory(path)), scanned(root, inner) as entries:
        names = sorted(entries)
        shown = names[offset : offset + limit]
        text = listing([(printable(name), is_folder(root, inner, entries[name])) for name in shown])
    return text + page_note("entries", offset, len(shown), len(names))


def list_sizes(root: Root, path: str, offset: int, limit: int, *, by_size: bool) -> str:
    """Entries with the sizes of files in bytes. Raises ToolError: no such directory."""
    inner = clean(path)
    sizes: dict[str, int] = {}
    with told(path, missing=no_such_directory(path)), scanned(root, inner) as entries:
        for name, entry in entries.items():
            with suppress(OSError):  # gone meanwhile
                sizes[name] = entry.stat(follow_symlinks=False).st_size
        folders = {name for name in sizes if is_folder(root, inner, entries[name])}
    # Directories have no size that means anything: they come last by size.
    names = sorted(sizes, key=lambda name: (name in folders, -sizes[name], name) if by_size else name)
    shown = names[offset : offset + limit]
    lines = [
        f"[DIR] {printable(name)}" if name in folders else f"[FILE] {printable(name)} {sizes[name]} B" for name in shown
    ]
    return ("\n".join(lines) or listing([])) + page_note("entries", offset, len(shown), len(names))


@dataclass
class _Folder:
    """A directory of the tree whose children are still to be listed."""

    path: str
    level: int
    node: JsonObject


def tree(root: Root, path: str, excludes: list[str], levels: int) -> str:
    """The directory as JSON, level by level until _TREE entries are shown. Links are files here and never followed.

    Raises:
        ToolError: no such directory, or a bad pattern.
    """
    start = clean(path)
    with told(path, missing=no_such_directory(path)):
        os.close(root.open(start, OPEN_DIRECTORY))
    unwanted = [Glob(exclude) for exclude in excludes[:50]]
    prefix = 0 if start == "." else len(start) + 1
    top: JsonObject = {}
    folders = deque([_Folder(start, 1, top)])
    room, looked = _TREE, 0
    while folders:
        folder = folders.popleft()
        if folder.level > min(levels, DEEPEST) or room == 0 or looked > COUNTED:
            folder.node["unlisted"] = True
            continue
        try:
            with scanned(root, folder.path) as entries:
                kinds = {name: entry.is_dir(follow_symlinks=False) for name, entry in entries.items()}
        except OSError:  # not ours to read, or gone meanwhile
            folder.node["unlisted"] = True
            continue
        looked += len(kinds)
        names = sorted(n for n in kinds if not any(g.matches(join(folder.path, n)[prefix:]) for g in unwanted))
        children: list[JsonObject] = []
        for name in names[:room]:
            children.append({"name": printable(name), "type": "directory" if kinds[name] else "file"})
            if kinds[name]:
                folders.append(_Folder(join(folder.path, name), folder.level + 1, children[-1]))
        if left := len(names) - len(children):
            children.append({"name": f"[{left} more: list_directory shows them by pages]", "type": "more"})
        folder.node["children"] = children
        room = max(0, room - len(names))
    return json.dumps(top.get("children", []), indent=1, ensure_ascii=False)

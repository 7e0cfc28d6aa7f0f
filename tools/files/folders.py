"""`list_directory` and `create_directory`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .result import content, in_thread, printable
from .specs import CREATE_DIRECTORY, LIST_DIRECTORY, created, listing, no_such_directory
from .usage import Quota
from .walk import OPEN_DIRECTORY, join

LISTED = 1000  # entries that one result shows
COUNTED = 200_000  # entries that are looked at
_DEEPEST = 100  # levels that one call may create


class ListDirectory(Tool):
    spec = LIST_DIRECTORY

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        return content(await in_thread(context, list_folder, arguments["path"]))


class CreateDirectory(Tool):
    spec = CREATE_DIRECTORY

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        path = arguments["path"]
        await in_thread(context, make_folders, path, context.session.quota)
        return content(created(path))


def list_folder(root: Root, path: str) -> str:
    """The entries of a directory, sorted by name; the first ones and a note when there are very many.

    Raises:
        ToolError: no such directory.
    """
    inner = clean(path)
    with told(path, missing=no_such_directory(path)), scanned(root, inner) as entries:
        names = sorted(entries)
        shown = [(printable(name), is_folder(root, inner, entries[name])) for name in names[:LISTED]]
    text = listing(shown)
    if len(names) > LISTED:
        left = f"{len(names) - LISTED}{'' if len(names) < COUNTED else ' or more'}"
        text += f"\n[... {left} more entries. Use search_files with a pattern to find one.]"
    return text


def make_folders(root: Root, path: str, quota: Quota | None = None) -> list[str]:
    """Create a directory and the missing ones above it. That it exists already is fine. Returns those it made.

    Args:
        quota: asked before the first is made; None when that has been done.

    Raises:
        ToolError: something that is not a directory is in the way, or the workspace is full.
    """
    parts = clean(path).split("/")
    if len(parts) > _DEEPEST:
        raise ToolError(f"the path has more than {_DEEPEST} levels. Use a shorter one.")
    made: list[str] = []
    for depth in range(len(parts)):
        folder = "/".join(parts[: depth + 1])
        with told(path, missing=no_such_directory(folder)):
            try:
                os.close(root.open(folder, OPEN_DIRECTORY))
                continue
            except FileNotFoundError:
                if quota and not made and (excess := quota.excess(root)):
                    raise ToolError(excess) from None
            with root.parent(folder) as (parent, name):
                try:
                    with root.acting():
                        os.mkdir(name, 0o777, dir_fd=parent)
                    made.append(folder)
                except FileExistsError:  # made meanwhile, or a link to nowhere
                    os.close(root.open(folder, OPEN_DIRECTORY))
    return made


@contextmanager
def scanned(root: Root, inner: str) -> Iterator[dict[str, os.DirEntry[str]]]:
    """The entries of an open directory by name, COUNTED of them at most. Stat them before leaving.

    Raises:
        OSError: it does not open.
    """
    fd = root.open(inner, OPEN_DIRECTORY)
    try:
        with os.scandir(fd) as found:
            yield {entry.name: entry for entry in islice(found, COUNTED)}
    finally:
        os.close(fd)


def is_folder(root: Root, folder: str, entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a directory, or a link to one that can be reached."""
    if not entry.is_symlink():
        return entry.is_dir(follow_symlinks=False)
    try:
        os.close(root.open(join(folder, entry.name), OPEN_DIRECTORY))
    except OSError:
        return False
    return True

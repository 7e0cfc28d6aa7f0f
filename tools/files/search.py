"""`search_files`: names by glob pattern, over a walk that never leaves the workspace."""

from __future__ import annotations

import time

from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .glob import Glob
from .result import content, in_thread, printable
from .specs import NO_MATCHES, SEARCH_FILES, no_such_directory
from .walk import walk

FOUND = 1000  # paths that one result shows
_WALKED = 200_000  # entries that one search looks at
_SECONDS = 20.0


class SearchFiles(Tool):
    spec = SEARCH_FILES

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        excludes = arguments.get("excludePatterns", [])
        return content(await in_thread(context, search, arguments["path"], arguments["pattern"], excludes))


def search(root: Root, path: str, pattern: str, excludes: list[str]) -> str:
    """Paths relative to the workspace, sorted, one a line; a note when the search was cut short.

    Raises:
        ToolError: no such directory, or a bad pattern.
    """
    start = clean(path)
    wanted, unwanted = Glob(pattern), [Glob(exclude) for exclude in excludes[:50]]
    prefix = 0 if start == "." else len(start) + 1
    deadline = time.monotonic() + _SECONDS

    def skip(found: str, _: object) -> bool:
        return any(glob.matches(found[prefix:]) for glob in unwanted)

    paths: list[str] = []
    cut = False
    with told(path, missing=no_such_directory(path)):
        for walked, (found, _) in enumerate(walk(root, start, skip=skip)):
            if walked == _WALKED or time.monotonic() > deadline:
                cut = True
                break
            if wanted.matches(found[prefix:]):
                paths.append(found)
    paths.sort(key=lambda found: found.split("/"))
    text = "\n".join(printable(found) for found in paths[:FOUND]) or NO_MATCHES
    if len(paths) > FOUND:
        text += f"\n[... {len(paths) - FOUND} more. Use a narrower pattern.]"
    if cut:
        text += "\n[The search was cut short: there are too many files. Start from a directory further down.]"
    return text

"""`search_files`: names by glob pattern, over a walk that never leaves the workspace."""

from __future__ import annotations

from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root
from .result import content, in_thread, printable
from .searching import Search
from .specs import NO_MATCHES, SEARCH_FILES

FOUND = 1000  # paths that one result shows
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
    found = Search(root, path, pattern, tuple(excludes), ignored=True, seconds=_SECONDS)
    paths = [path for path, _ in found.entries()]
    paths.sort(key=lambda path: path.split("/"))
    text = "\n".join(printable(path) for path in paths[:FOUND]) or NO_MATCHES
    if len(paths) > FOUND:
        text += f"\n[... {len(paths) - FOUND} more. Use a narrower pattern.]"
    return text + found.note

"""`glob`: files by name pattern, the newest first."""

from __future__ import annotations

from contextlib import suppress

from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root
from .full_specs import GLOB
from .result import content, in_thread, page_note, printable
from .searching import Search
from .specs import NO_MATCHES

_SHOWN = 100


class GlobFiles(Tool):
    spec = GLOB

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        search = Search(
            context.session.files,
            arguments.get("path", "."),
            arguments["pattern"],
            tuple(arguments.get("excludePatterns", [])),
            arguments.get("includeIgnored", False),
        )
        offset, limit = arguments.get("offset", 0), arguments.get("limit", _SHOWN)
        return content(await in_thread(context, newest, search, offset, limit))


def newest(root: Root, search: Search, offset: int, limit: int) -> str:
    """Paths relative to the workspace, one a line, those written last first."""
    found: list[tuple[int, str]] = []
    for path, entry in search.files():
        with suppress(OSError):  # gone meanwhile
            found.append((-entry.stat(follow_symlinks=False).st_mtime_ns, path))
    found.sort()
    shown = found[offset : offset + limit]
    text = "\n".join(printable(path) for _, path in shown)
    if not found:
        return NO_MATCHES + search.note
    return text + page_note("files", offset, len(shown), len(found)) + search.note

"""`read_multiple_files`."""

from __future__ import annotations

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult, failure
from .beneath import Root, clean
from .full_specs import READ_MULTIPLE_FILES
from .lines import read_lines
from .result import content, in_thread, printable, versions
from .specs import EMPTY_FILE
from .text import SHOWN
from .versions import Versions

_MOST = 100  # files of one call


class ReadMultipleFiles(Tool):
    spec = READ_MULTIPLE_FILES

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        return content(await in_thread(context, read_many, versions(context), arguments["paths"]))


def read_many(root: Root, known: Versions, paths: list[str]) -> str:
    """Every path with its text, or with why it could not be read; as many as one result shows.

    Raises:
        ToolError: more than _MOST paths.
    """
    if len(paths) > _MOST:
        raise ToolError(f"{len(paths)} paths are too many. Give at most {_MOST}.")
    parts: list[str] = []
    size = 0
    for number, path in enumerate(paths):
        try:
            text, status = read_lines(root, path, 1)
            text = text.rstrip("\n") or EMPTY_FILE
        except ToolError as error:
            text, status = failure(str(error)).text, None
        part = f"{printable(path)}:\n{text}"
        size += len(part)
        if size > SHOWN and parts:
            left = ", ".join(map(printable, paths[number:]))
            parts.append(f"[... not shown, since the result would be too long: {left}. Read them with another call.]")
            break
        parts.append(part)
        if status:
            known.saw(clean(path), status)
    return "\n---\n".join(parts)

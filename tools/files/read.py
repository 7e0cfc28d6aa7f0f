"""`read_text_file`."""

from __future__ import annotations

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root
from .result import content, in_thread
from .specs import EMPTY_FILE, READ_TEXT_FILE
from .text import SHOWN, Content, read_end, read_start


class ReadTextFile(Tool):
    spec = READ_TEXT_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        text = await in_thread(context, read_text, arguments["path"], arguments.get("head"), arguments.get("tail"))
        return content(text.rstrip("\n") or EMPTY_FILE, text)


def read_text(root: Root, path: str, head: int | None = None, tail: int | None = None) -> str:
    """A file's text or some of its lines; where it is too long for one result, its start and a note."""
    if head and tail:
        raise ToolError("head and tail cannot be used together. Give one of them.")
    if tail:
        return shown_end(read_end(root, path, tail))
    found = read_start(root, path)
    if head:
        lines = found.text.splitlines(keepends=True)
        found = Content("".join(lines[:head]), found.complete or len(lines) > head, found.status)
    return _shown_start(found)


def _shown_start(found: Content) -> str:
    if len(found.text) <= SHOWN and found.complete:
        return found.text
    note = f"[... cut here: the first {SHOWN} characters are shown, the file has {found.size} bytes. "
    return f"{found.text[:SHOWN]}\n{note}Use python to read the rest.]"


def shown_end(found: Content) -> str:
    """Its text, or as much of the end as one result shows."""
    if len(found.text) <= SHOWN:
        return found.text
    note = f"[... cut here: the last {SHOWN} characters are shown, the file has {found.size} bytes. "
    return f"{note}Use python to read the rest.]\n{found.text[-SHOWN:]}"

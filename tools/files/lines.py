"""`read_text_file` with line ranges: what is cut says from which line to go on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import count

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, opened
from .full_specs import READ_TEXT_FILE
from .read import shown_end
from .result import content, in_thread, versions
from .specs import EMPTY_FILE
from .text import SHOWN, decode, read_end
from .versions import version

_SCANNED = 256 << 20  # bytes that are looked through for a line
_BLOCK = 1 << 18


class ReadTextLines(Tool):
    spec = READ_TEXT_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        path, head, tail = arguments["path"], arguments.get("head"), arguments.get("tail")
        first, last = arguments.get("startLine"), arguments.get("endLine")
        numbered = arguments.get("lineNumbers", False)
        if tail:
            if head or first or last or numbered:
                raise ToolError("tail cannot be used with head or line numbers. Give one or the other.")
            found = await in_thread(context, read_end, path, tail)
            text, status = shown_end(found), found.status
        elif head and (first or last):
            raise ToolError("head cannot be used with startLine or endLine. Give one or the other.")
        else:
            text, status = await in_thread(context, read_lines, path, first or 1, last or head, numbered=numbered)
        versions(context).saw(clean(path), status)
        return content(text.rstrip("\n") or EMPTY_FILE, text, version=version(status))


def read_lines(
    root: Root, path: str, first: int, last: int | None = None, *, numbered: bool = False
) -> tuple[str, os.stat_result]:
    """Lines ``first`` to ``last`` (from 1, inclusive; None: to the end) as far as one result shows, with a note if cut,
    and the stat of the file.

    A line ends at a line feed, as in editors and compilers, at no other character.

    Raises:
        ToolError: no such file or no such line, or it is not text.
    """
    if last is not None and last < first:
        raise ToolError(f"endLine {last} is before startLine {first}. Give a larger one.")
    with opened(root, path) as (fd, status):
        found = _scan(fd, first, last, path)
    return _shown(found, path, first, status.st_size, numbered=numbered), status


def _shown(found: _Found, path: str, first: int, size: int, *, numbered: bool) -> str:
    text = decode(found.data, path, found.whole)
    if not text and first > 1:
        raise ToolError(f"{path} has {found.lines} lines, no line {first}. Give a smaller startLine.")
    lines = text.split("\n")
    if lines[-1] == "" and len(lines) > 1:
        lines.pop()
    if not found.whole and len(lines) > 1:
        lines.pop()  # shown in full by the next call
    shown = [f"{number:>6}\t{line}" for number, line in zip(count(first), lines, strict=False)] if numbered else lines
    kept = _fitting(shown)
    end = first + kept - 1
    text = "\n".join(shown[:kept])
    if kept == 0:
        return f"{shown[0][:SHOWN]}\n[... line {first} is longer than can be shown. Use read_binary_file for the rest.]"
    if kept == len(shown) and found.whole:
        return text + "\n" if text else text
    return (
        f"{text}\n[... lines {first} to {end} are shown, the file has {size} bytes. Continue with startLine {end + 1}.]"
    )


@dataclass
class _Found:
    """``data`` from the first wanted line on; ``whole``: nothing wanted is missing; ``lines`` of the file so far."""

    data: bytes
    whole: bool
    lines: int


def _scan(fd: int, first: int, last: int | None, path: str) -> _Found:
    """Read through the file, keeping what is wanted, up to what can be shown."""
    most = 4 * SHOWN + 4
    passed = scanned = 0  # line feeds before what is kept; bytes read
    kept = b""
    ended = True
    while block := os.read(fd, _BLOCK):
        scanned += len(block)
        if scanned > _SCANNED:
            raise ToolError(f"line {first} of {path} is too far into a very large file. Use python to read it.")
        ended = block.endswith(b"\n")
        missing = first - 1 - passed
        if missing > 0:
            feeds = block.count(b"\n")
            if feeds < missing:
                passed += feeds
                continue
            passed += missing
            block = block.split(b"\n", missing)[missing]
        kept += block
        if last is not None and kept.count(b"\n") > last - first:
            lines = kept.split(b"\n", last - first + 1)
            kept = b"\n".join(lines[:-1]) + b"\n"
            return _Found(kept[:most], len(kept) <= most, last)
        if len(kept) > most:
            return _Found(kept[:most], False, passed)
    return _Found(kept, True, passed + kept.count(b"\n") + (not ended))


def _fitting(lines: list[str]) -> int:
    """How many of the lines fit one result."""
    size = 0
    for number, line in enumerate(lines):
        size += len(line) + 1
        if size > SHOWN + 1:
            return number
    return len(lines)

"""`grep`: lines by regular expression, in time linear in what is searched."""

from __future__ import annotations

import errno
import os
import resource
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, regular, told
from .full_specs import GREP
from .result import content, in_thread, printable
from .ripgrep import Line, run
from .searching import Search
from .specs import NO_MATCHES
from .text import SHOWN

_BATCH = 256  # files that are open at once, where this process may open so many
_LARGEST = 32 << 20  # bytes of a file that is searched
_SNIFFED = 1024
_SECONDS = 15.0
_LONGEST_PATTERN = 2000


@dataclass(frozen=True)
class Query:
    """What is looked for, and which part of the results is shown."""

    pattern: str
    mode: str = "lines"
    literal: bool = False
    ignore_case: bool = False
    multiline: bool = False
    context: int = 0
    offset: int = 0
    limit: int = 200

    def flags(self) -> list[str]:
        flags = {"files": ["--count", "--max-count=1"], "count": ["--count"]}.get(self.mode, [])
        if self.literal:
            flags.append("--fixed-strings")
        if self.ignore_case:
            flags.append("--ignore-case")
        if self.multiline:
            flags += ["--multiline", "--multiline-dotall"]
        if self.context and self.mode == "lines":
            flags.append(f"--context={self.context}")
        return flags


class Grep(Tool):
    spec = GREP

    def __init__(self, program: str) -> None:
        self._program = program

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        query = Query(
            arguments["pattern"],
            arguments.get("outputMode", "lines"),
            arguments.get("literal", False),
            arguments.get("ignoreCase", False),
            arguments.get("multiline", False),
            arguments.get("context", 0),
            arguments.get("offset", 0),
            arguments.get("limit", 200),
        )
        search = Search(
            context.session.files,
            arguments.get("path", "."),
            arguments.get("glob"),
            tuple(arguments.get("excludePatterns", [])),
            arguments.get("includeIgnored", False),
        )
        return content(await in_thread(context, grep, self._program, query, search))


def grep(root: Root, program: str, query: Query, search: Search) -> str:
    """Results of ``query`` in the files of ``search``, or in the one file that its path names.

    Raises:
        ToolError: no such file or directory, or the pattern cannot be used.
    """
    if len(query.pattern) > _LONGEST_PATTERN or "\0" in query.pattern or not query.pattern:
        raise ToolError(f"the pattern must have 1 to {_LONGEST_PATTERN} characters. Use a shorter one.")
    try:
        query.pattern.encode()
    except UnicodeEncodeError:
        raise ToolError("the pattern is not valid Unicode text. Use another one.") from None
    if "\n" in query.pattern and not query.multiline:
        raise ToolError("the pattern has a line feed. Set multiline to find text over several lines.")
    found = _Found(query)
    skipped = _Skipped()
    deadline = time.monotonic() + _SECONDS
    try:
        with closing(_batches(root, search, skipped)) as batches:
            for batch in batches:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                fds = [file.fd for file in batch]
                with closing(run(program, query.flags(), query.pattern, fds, root.identity, left)) as lines:
                    if not found.take([file.path for file in batch], lines):
                        break
    except TimeoutError:
        search.cut = True
    return found.text() + skipped.note + search.note


@dataclass(frozen=True)
class _File:
    path: str
    fd: int


@dataclass
class _Skipped:
    large: int = 0
    binary: int = 0
    unreadable: int = 0

    @property
    def note(self) -> str:
        kinds = {f"larger than {_LARGEST >> 20} MB": self.large, "binary": self.binary, "not readable": self.unreadable}
        told = " and ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        return f"\n[not searched: {told}]" if told else ""


def _batches(root: Root, search: Search, skipped: _Skipped) -> Generator[list[_File]]:
    """The files to search, in order, each batch open until the next; one at least, so that the pattern is looked at."""
    batch: list[_File] = []
    most = max(1, min(_BATCH, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 16))  # others search meanwhile
    try:
        for path in _paths(root, search):
            fd = _opened(root, path, skipped)
            if fd is not None:
                batch.append(_File(path, fd))
            if len(batch) == most:
                yield batch
                _close(batch)
        yield batch
    finally:
        _close(batch)


def _close(batch: list[_File]) -> None:
    while batch:
        os.close(batch.pop().fd)


def _paths(root: Root, search: Search) -> list[str]:
    start = clean(search.path)
    with told(search.path):
        status = root.status(start)
    if not stat.S_ISDIR(status.st_mode):
        return [start]
    return sorted((path for path, _ in search.files()), key=lambda path: path.split("/"))


def _opened(root: Root, path: str, skipped: _Skipped) -> int | None:
    """A descriptor of a file that is searched."""
    try:
        fd = root.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            with told(path):
                raise
        skipped.unreadable += error.errno == errno.EACCES  # else gone meanwhile, or not a file any more
        return None
    try:
        if regular(fd, path).st_size > _LARGEST:
            skipped.large += 1
        elif b"\0" in os.pread(fd, _SNIFFED, 0):
            skipped.binary += 1
        else:
            return fd
    except (ToolError, OSError):
        pass
    os.close(fd)
    return None


class _Found:
    """Results so far: those of the page, and whether there are more."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._passed = self._shown = self._size = 0
        self._more = False
        self._lines: list[str] = []

    def take(self, paths: list[str], lines: Iterator[Line | None]) -> bool:
        """False when no more are wanted."""
        query = self._query
        for line in lines:
            if line is None:
                if self._lines and self._lines[-1] != "--":
                    self._lines.append("--")
                continue
            if line.matches:
                if self._passed < query.offset:
                    self._passed += 1
                    continue
                if self._shown == query.limit or self._size > SHOWN:
                    self._more = True
                    return False
                self._shown += 1
            elif self._passed < query.offset:
                continue
            text = self._format(printable(paths[line.file]), line)
            self._size += len(text) + 1
            self._lines.append(text)
        return True

    def _format(self, path: str, line: Line) -> str:
        match self._query.mode:
            case "files":
                return path
            case "count":
                return f"{path}: {line.text}"
            case _:
                mark = ":" if line.matches else "-"
                return f"{path}{mark}{line.number}{mark} {line.text}"

    def text(self) -> str:
        if self._lines and self._lines[-1] == "--":
            self._lines.pop()
        if not self._lines:
            return NO_MATCHES if self._passed == 0 else f"(no results from offset {self._query.offset})"
        text = "\n".join(self._lines)
        if not self._more:
            return text
        end = self._passed + self._shown
        return f"{text}\n[results {self._passed + 1} to {end}, there are more. Continue with offset {end}.]"

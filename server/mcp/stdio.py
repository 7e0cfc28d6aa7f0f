"""The stdio transport: one client, whose process started ours.

The protocol's stream must carry nothing else: while it is served, descriptor 1 leads to stderr and descriptor 0 to
nothing, so that neither libraries nor child processes disturb it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import anyio
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

_CHUNK = 1 << 16
LONGEST_LINE = 32 * 1024 * 1024  # bytes of one message


class LineTooLong(Exception):
    """The client sent a message that is too long to be read."""


async def serve_stdio(server: Server) -> None:
    """Serve until the client closes its end. Cancelling this ends it too, also while it waits for the client."""
    with _own_streams() as (source, sink):
        async with stdio_server(stdin=cast(Any, Lines(source)), stdout=anyio.wrap_file(sink)) as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())


class Lines:
    """The lines of a descriptor. Unlike a file read in a thread, waiting for one can be cancelled.

    Raises LineTooLong.
    """

    def __init__(self, fd: int, longest: int = LONGEST_LINE) -> None:
        self._fd = fd
        self._longest = longest

    async def __aiter__(self) -> AsyncIterator[str]:
        rest = bytearray()
        while data := await self._read():
            rest += data
            if b"\n" in data:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line.decode("utf-8", "replace")
            if len(rest) > self._longest:
                raise LineTooLong(f"a message is longer than {self._longest} bytes")
        if rest.strip():
            yield rest.decode("utf-8", "replace")

    async def _read(self) -> bytes:
        try:
            await anyio.wait_readable(self._fd)
        except OSError as error:
            if error.errno != errno.EPERM:  # a regular file, which is always readable
                raise
        return os.read(self._fd, _CHUNK)


@contextmanager
def _own_streams() -> Iterator[tuple[int, Any]]:
    """Descriptors of the client's ends of stdin and stdout, which nothing else in this process has."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    try:
        with open(sink, "w", encoding="utf-8", newline="\n") as file:
            yield source, file
    finally:
        os.dup2(source, 0)
        os.close(source)

"""Reads pages in worker processes without rights, each page within a deadline."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from ..errors import ToolError
from ..sandbox.seccomp import assemble
from . import extract
from .extract import HEADER, Text

_SECONDS = 10.0
_LONGEST_ANSWER = 64 << 20
_WORKERS = 2


class PageReader:
    """Turns pages into text. Workers start when they are needed and wait for the next page; `close` ends them."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._room = anyio.Semaphore(_WORKERS)
        self._idle: dict[bool, list[Process]] = {False: [], True: []}  # whether they read PDFs

    async def read(self, page: bytes, url: str, charset: str | None = None, kind: str = "html") -> Text:
        """See :func:`extract.extract`.

        Raises:
            ToolError: the page cannot be read, or not within the deadline.
        """
        async with self._room:
            idle = self._idle[kind == "pdf"]
            worker = idle.pop() if idle else await _start(kind)
            answer = None
            try:
                with anyio.move_on_after(self._seconds):
                    answer = await _ask(worker, page, {"url": url, "charset": charset, "kind": kind})
            finally:
                if answer is None:  # it is in the middle of something, or dead
                    with anyio.CancelScope(shield=True):
                        await _end(worker)
                else:
                    idle.append(worker)
        if answer is None:
            raise ToolError(f"could not read {url}: the page is too complex. Use another page.")
        if "problem" in answer:
            raise ToolError(f"could not read {url}: {answer['problem']}. Use another page.")
        return Text(**answer)

    async def close(self) -> None:
        """End the workers."""
        for idle in self._idle.values():
            while idle:
                await _end(idle.pop())


async def _start(kind: str) -> Process:
    try:
        seccomp = assemble()
    except KeyError as error:
        raise ToolError(f"pages cannot be read on this machine: no system call filter for {error}.") from error
    command = [sys.executable, "-I", str(Path(extract.__file__)), seccomp.hex(), kind]
    return await anyio.open_process(command, stderr=subprocess.DEVNULL, env={}, cwd="/")


async def _ask(worker: Process, page: bytes, arguments: dict[str, str | None]) -> dict | None:
    """The worker's answer; None if it died."""
    assert worker.stdin
    assert worker.stdout
    encoded = json.dumps(arguments).encode()
    try:
        await worker.stdin.send(HEADER.pack(len(encoded), len(page)) + encoded + page)
        received = bytearray()
        size = HEADER.size
        while len(received) < size:
            received += await worker.stdout.receive(1 << 20)
            if size == HEADER.size and len(received) >= size:
                size += HEADER.unpack_from(received)[0]
                if size > _LONGEST_ANSWER:
                    return None
        return json.loads(received[HEADER.size :])
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError):
        return None


async def _end(worker: Process) -> None:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(worker.aclose)
        with suppress(ProcessLookupError):
            worker.kill()

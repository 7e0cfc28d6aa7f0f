"""The front alone: the server around an engine that echoes at once, beside a bare route that streams ready-made chunks.

What is measured: chunks of chat completions for each second of the server's CPU, whole and as a share of what the bare
route manages; what a request waits for its first chunk while other streams are open; the memory of many open streams;
how long the preparation of one long conversation keeps all other streams waiting.

The server is a process of its own with one thread of Python, so its CPU seconds count one core; other processes of the
machine disturb the times, but hardly the rates.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import httpx2

from ...engine.bench.report import Figure, Report, arguments, positive
from ..json_values import JsonObject
from .errors import RequestFailed, ServerFailed

_START = 60.0  # seconds that the server may take
_PAUSE = 0.5  # seconds between two looks at whether it is idle
_ROUNDS = 3  # of each rate
_OPEN_PACE = 50  # milliseconds between the chunks of streams that are only open
_MANY_PACE = 1000
_MANY_CHUNKS = 10
_BETWEEN = 0.02  # seconds between two arrivals
_SILENCE = 120.0  # seconds without a byte after which a stream has failed


def main(words: Sequence[str]) -> int:
    options = parser().parse_args(words)
    with echo_server() as port:
        report = anyio.run(measure, port, options)
    report.emit(options.json)
    return 0


def parser() -> argparse.ArgumentParser:
    parser = arguments("front", __doc__)
    parser.add_argument("--streams", type=positive, default=32, metavar="N", help="at a time")
    parser.add_argument("--chunks", type=positive, default=500, metavar="N", help="of each stream, for the rate")
    parser.add_argument("--arrivals", type=positive, default=100, metavar="N", help="requests whose wait is measured")
    parser.add_argument("--many", type=positive, default=1000, metavar="N", help="streams that are open together")
    parser.add_argument("--tokens", type=positive, default=30_000, metavar="N", help="of the long conversation")
    return parser


@contextmanager
def echo_server() -> Iterator[int]:
    """The server's port. Raises ServerFailed."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        command = [sys.executable, "-m", "agenthost.server.bench.echo", str(listener.fileno())]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.wait()


class Front:
    """The server as its clients see it. Raises RequestFailed for what it does not answer."""

    def __init__(self, port: int) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, limits=limits, timeout=_SILENCE
        )

    async def ready(self) -> None:
        """Wait until it answers."""
        for _ in range(int(_START / 0.05)):
            try:
                if (await self._http.get("/health")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass  # it does not listen yet
            await anyio.sleep(0.05)
        raise ServerFailed("the echoing server did not start")

    async def idle(self) -> None:
        """Wait until it has loaded what it loads in the background after its start: that is work of no stream."""
        used, before = _PAUSE, (await self.itself())["cpu"]
        while used > _PAUSE / 10:
            await anyio.sleep(_PAUSE)
            used, before = (now := (await self.itself())["cpu"]) - before, now

    async def itself(self) -> JsonObject:
        return (await self._http.get("/self")).json()

    async def stream(self, path: str, body: JsonObject, first: Callable[[], object] | None = None) -> int:
        """How many chunks came; ``first`` is called when the first one has."""
        count = 0
        async with self._http.stream("POST", path, json=body) as answer:
            if answer.status_code != 200:
                raise RequestFailed(f"HTTP {answer.status_code}: {(await answer.aread())[:200]!r}")
            async for data in answer.aiter_raw():
                count += data.count(b"data: {")
                if first is not None and b'"content":" word"' in data:
                    first()
                    first = None
        return count

    async def chat(self, chunks: int, pace: int = 0, text: str = "hi", **more: Any) -> int:
        messages = [{"role": "user", "content": text}]
        body = {"model": "echo", "messages": messages, "max_tokens": chunks, "priority": pace, "stream": True}
        return await self.stream("/v1/chat/completions", body, **more)


async def measure(port: int, options: argparse.Namespace) -> Report:
    front = Front(port)
    await front.ready()
    ours, bare = await rates(front, options.streams, options.chunks)
    waits = await first_chunks(front, options.streams, options.arrivals)
    failed, megabytes = await many(front, options.many)
    delay = await longest_delay(front, options.tokens)
    figures = [
        Figure("chunk_rate", ours, "chunks/s", "of one core's CPU, streamed chat completions"),
        Figure("bare_rate", bare, "chunks/s", "the same chunks, ready-made, from a bare route"),
        Figure("rate_ratio", ours / bare, "x", "of these two"),
        Figure("first_chunk_alone", waits[0], "ms", "median wait for the first chunk, nothing else under way"),
        Figure("first_chunk", waits[1], "ms", f"the same with {options.streams} open streams"),
        Figure("many_failed", failed, "", f"of {options.many} streams open together"),
        Figure("many_memory", megabytes, "MB", "resident, with all of them open"),
        Figure("longest_delay", delay, "ms", f"of all else, by a conversation of about {options.tokens} tokens"),
    ]
    names = ("streams", "chunks", "arrivals", "many", "tokens")
    return Report("front", {name: getattr(options, name) for name in names}, figures)


async def rates(front: Front, streams: int, chunks: int) -> tuple[float, float]:
    """Ours and the bare route's, in turn, so that what disturbs the machine meets both; the median of each."""
    ours: list[float] = []
    bare: list[float] = []
    await front.chat(50)  # what is loaded at the first request counts for no rate
    await front.idle()
    for _ in range(_ROUNDS):
        ours.append(await rate(front, streams, lambda: front.chat(chunks)))
        bare.append(await rate(front, streams, lambda: front.stream(f"/bare?chunks={chunks}", {})))
    return statistics.median(ours), statistics.median(bare)


async def rate(front: Front, streams: int, stream: Callable[[], Awaitable[int]]) -> float:
    """Chunks for each second of the server's CPU."""
    counts: list[int] = []

    async def one() -> None:
        counts.append(await stream())

    before = await front.itself()
    async with anyio.create_task_group() as group:
        for _ in range(streams):
            group.start_soon(one)
    return sum(counts) / ((await front.itself())["cpu"] - before["cpu"])


async def first_chunks(front: Front, streams: int, arrivals: int) -> tuple[float, float]:
    """Median milliseconds to the first chunk, without other streams and beside them; arrivals are spread out."""

    async def median() -> float:
        waits: list[float] = []
        for _ in range(arrivals):
            begun = time.perf_counter()
            await front.chat(1, first=lambda begun=begun: waits.append(time.perf_counter() - begun))
            await anyio.sleep(_BETWEEN)
        return 1000 * statistics.median(waits)

    alone, beside = await median(), 0.0
    async with anyio.create_task_group() as group:
        for _ in range(streams):
            group.start_soon(front.chat, 1_000_000 // _OPEN_PACE, _OPEN_PACE)
        await anyio.sleep(1)
        beside = await median()
        group.cancel_scope.cancel()
    return alone, beside


async def many(front: Front, streams: int) -> tuple[int, float]:
    """How many of the streams failed, and the server's megabytes while all were open."""
    failed, megabytes = 0, 0.0
    begun = [anyio.Event() for _ in range(streams)]

    async def one(event: anyio.Event) -> None:
        nonlocal failed
        try:
            await front.chat(_MANY_CHUNKS, _MANY_PACE, first=event.set)
        except (RequestFailed, httpx2.HTTPError):
            failed += 1
        event.set()

    async with anyio.create_task_group() as group:
        for event in begun:
            group.start_soon(one, event)
        for event in begun:
            await event.wait()
        megabytes = (await front.itself())["bytes"] / 1e6
    return failed, megabytes


async def longest_delay(front: Front, tokens: int) -> float:
    """Milliseconds for which the event loop stood still while a long conversation was made ready; median of five."""
    delays: list[float] = []
    for number in range(5):
        await front.itself()  # from here on
        await front.chat(1, text=f"{number} " + "some words of a long talk, " * (tokens // 7))
        delays.append(1000 * (await front.itself())["delay"])
    return statistics.median(delays)

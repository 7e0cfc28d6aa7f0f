"""A server whose engine is an echo, so that only the front is measured: ``python -m agenthost.server.bench.echo FD``.

It listens on the socket that it inherits. Beside the whole application it serves what the front is compared with, and
what its own process knows of itself:

``POST /bare``: the same chunks, ready-made, streamed by a plain Starlette route.
``GET /self``: CPU seconds without those of the echo, resident bytes, and the event loop's longest delay since the last
time that it was asked.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from heapq import heappop, heappush
from types import TracebackType
from typing import Self

import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ...engine import AsyncEngine, EngineConfig, EngineInfo, TokenOutput
from ...engine.garbage import freeze_loaded
from ...engine.protocol import Abort, Outputs, Submit, decode_to_engine, encode
from ..app import create_app
from ..config import ServerConfig

WORD = " word"
CONTEXT = 100_000
_TICK = 0.001  # seconds between two looks at the loop


class EchoEngine(AsyncEngine):
    """Says one word again and again: ``max_tokens`` times, ``priority`` milliseconds apart.

    It reads the messages for an engine process and writes those of one, a message for every step of all requests, so
    that all of the front is at work.
    """

    async def __aenter__(self) -> Self:
        [self._token] = self.tokenizer.encode(WORD)[:1]
        self._left: dict[str, int] = {}  # tokens, by request
        self._due: list[tuple[float, str, float]] = []  # when, whose, and how many seconds before the next: a heap
        self._accepted: list[str] = []
        self._asked = asyncio.Event()
        self.seconds = 0.0  # of CPU, which are no part of the front
        self._playing = asyncio.create_task(self._play())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._playing.cancel()

    @property
    def status(self) -> str:  # type: ignore[override]
        return "ready"

    async def ready(self) -> EngineInfo:
        return EngineInfo(
            model="echo", device="none", dtype="none", vocab_size=self.tokenizer.vocab_size, max_model_len=CONTEXT,
            eos_token_ids=list(self.tokenizer.eos_token_ids), page_size=16, kv_pages=1,
        )  # fmt: skip

    def _send(self, message: bytes) -> None:
        match decode_to_engine(message):
            case Submit(request):
                self._left[request.id] = request.sampling.max_tokens or 1
                heappush(self._due, (time.monotonic(), request.id, request.priority / 1000))
                self._accepted.append(request.id)
                self._asked.set()
            case Abort(request_id):
                self._left.pop(request_id, None)

    async def _play(self) -> None:
        while True:
            wait = self._due[0][0] - time.monotonic() if self._due else None
            if wait is None or wait > 0:
                self._asked.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._asked.wait()
            else:
                await asyncio.sleep(0)
            begun = time.thread_time()
            message = encode(self._step(time.monotonic()))
            self.seconds += time.thread_time() - begun
            await self._handle(message)

    def _step(self, now: float) -> Outputs:
        """One token for every request whose next one is due."""
        accepted, self._accepted = self._accepted, []
        produced: list[tuple[str, TokenOutput]] = []
        again: list[tuple[float, str, float]] = []
        while self._due and self._due[0][0] <= now:
            _, request_id, apart = heappop(self._due)
            left = self._left.pop(request_id, 0) - 1
            if left < 0:  # aborted
                continue
            produced.append(
                (request_id, TokenOutput(token_ids=[self._token], finish_reason=None if left else "length"))
            )
            if left:
                self._left[request_id] = left
                again.append((now + apart, request_id, apart))
        for turn in again:
            heappush(self._due, turn)
        return Outputs(accepted, produced)


class Delay:
    """How long the event loop keeps others waiting."""

    def __init__(self) -> None:
        self._longest = 0.0

    def taken(self) -> float:
        longest, self._longest = self._longest, 0.0
        return longest

    async def watch(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(_TICK)
            self._longest = max(self._longest, time.perf_counter() - begun - _TICK)


def main(descriptor: int) -> None:
    delay, process = Delay(), psutil.Process()
    engine = EchoEngine(EngineConfig())
    served = create_app(ServerConfig(served_model_name=("echo",)), engine)
    chunk = (
        b'data: {"id":"chatcmpl-0123456789abcdef0123456789abcdef","created":1764136800,"model":"echo","choices":'
        b'[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],'
        b'"object":"chat.completion.chunk","system_fingerprint":null}\n\n'
    )

    async def bare(request: HttpRequest) -> Response:
        count = int(request.query_params["chunks"])

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(count):
                yield chunk
                await asyncio.sleep(0)

        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def own(request: HttpRequest) -> Response:
        cpu = time.process_time() - engine.seconds
        return JSONResponse({"cpu": cpu, "bytes": process.memory_info().rss, "delay": delay.taken()})

    beside = Starlette(routes=[Route("/bare", bare, methods=["POST"]), Route("/self", own)])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (beside if scope.get("path") in ("/bare", "/self") else served)(scope, receive, send)

    async def serve() -> None:
        freeze_loaded()  # as agenthost serve does
        watching = asyncio.create_task(delay.watch())
        await uvicorn.Server(uvicorn.Config(app, log_level="error", backlog=4096)).serve([listener])
        watching.cancel()

    listener = socket.socket(fileno=descriptor)
    asyncio.run(serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))

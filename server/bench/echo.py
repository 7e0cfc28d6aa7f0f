"""A server whose engine is an echo, so that only the front is measured: ``python -m agenthost.server.bench.echo FD``.

It listens on the socket that it inherits. Beside the whole application it serves what the front is compared with, and
what its own process knows of itself:

``POST /bare``: the same chunks, ready-made, streamed by a plain Starlette route.
``GET /self``: CPU seconds, resident bytes, and the event loop's longest delay since the last time that it was asked.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ...engine import AsyncEngine, EngineConfig, EngineInfo, Request, TokenOutput, TokenStream
from ...engine.garbage import freeze_loaded
from ..app import create_app
from ..config import ServerConfig

WORD = " word"
CONTEXT = 100_000
_TICK = 0.001  # seconds between two looks at the loop


class EchoEngine(AsyncEngine):
    """Says one word again and again: ``max_tokens`` times, ``priority`` milliseconds apart."""

    async def __aenter__(self) -> Self:
        self._plays: dict[str, asyncio.Task[None]] = {}
        [self._token] = self.tokenizer.encode(WORD)[:1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for play in self._plays.values():
            play.cancel()

    @property
    def status(self) -> str:  # type: ignore[override]
        return "ready"

    async def ready(self) -> EngineInfo:
        return EngineInfo(
            model="echo", device="none", dtype="none", vocab_size=self.tokenizer.vocab_size, max_model_len=CONTEXT,
            eos_token_ids=list(self.tokenizer.eos_token_ids), page_size=16, kv_pages=1,
        )  # fmt: skip

    async def submit(self, request: Request) -> TokenStream:
        stream = TokenStream(self, request)
        self._plays[request.id] = asyncio.create_task(self._play(stream))
        return stream

    def abort(self, request_id: str) -> None:
        play = self._plays.pop(request_id, None)
        if play is not None:
            play.cancel()

    async def _play(self, stream: TokenStream) -> None:
        request = stream.request
        most = request.sampling.max_tokens or 1
        for number in range(1, most + 1):
            last = "length" if number == most else None
            stream.put(TokenOutput(token_ids=[self._token], finish_reason=last))
            await asyncio.sleep(request.priority / 1000)
        self._plays.pop(request.id, None)


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
    served = create_app(ServerConfig(served_model_name=("echo",)), EchoEngine(EngineConfig()))
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
        memory = process.memory_info().rss
        return JSONResponse({"cpu": time.process_time(), "bytes": memory, "delay": delay.taken()})

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

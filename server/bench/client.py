"""One streamed chat completion of any OpenAI-compatible server, with the time of each piece that came."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
import msgspec

from ..http.names import is_loopback
from ..json_values import JsonObject
from .errors import RequestFailed, ServerFailed

_SILENCE = 600.0  # seconds without a byte after which an answer is given up
_SHOWN = 300  # characters of what a server says went wrong


@dataclass(frozen=True)
class Endpoint:
    """A server: ``url`` ends with ``/v1``; ``model`` None is the first one that it lists."""

    url: str
    model: str | None = None
    key: str | None = None


@dataclass
class Answer:
    """A whole answer. Times are those of :func:`time.perf_counter`.

    Attributes:
        begun: when the request was sent, or should have been.
        pieces: when each piece of output came. Pieces are what a server sends at a time, mostly single tokens.
        ended: when the stream was over.
        prompt_tokens, cached_tokens, output_tokens: the server's count.
    """

    begun: float
    pieces: list[float] = field(default_factory=list)
    ended: float = 0.0
    text: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def first_token(self) -> float:
        """Seconds to the first piece of output."""
        return self.pieces[0] - self.begun

    @property
    def gaps(self) -> list[float]:
        """Seconds between one piece and the next."""
        return [later - earlier for earlier, later in pairwise(self.pieces)]

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


class Client:
    """Use it as an async context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.model = endpoint.model
        local = is_loopback(urlsplit(endpoint.url).hostname or "")
        try:
            self._http = httpx2.AsyncClient(
                base_url=endpoint.url,
                headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
                timeout=httpx2.Timeout(_SILENCE, connect=10.0),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
                trust_env=not local,  # a proxy does not reach this machine's own addresses
            )
        except httpx2.InvalidURL as error:
            raise ServerFailed(f"{endpoint.url!r} is no URL: {error}") from error

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        if self.model is None:
            self.model = await self._first_model()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def chat(
        self, messages: list[JsonObject], max_tokens: int, *, ignore_eos: bool = False, begun: float | None = None
    ) -> Answer:
        """Greedy. ``ignore_eos`` makes the output ``max_tokens`` long, where the server knows this extra.

        Raises RequestFailed.
        """
        body = {
            "model": self.model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, **({"ignore_eos": True} if ignore_eos else {}),
        }  # fmt: skip
        answer = Answer(time.perf_counter() if begun is None else begun)
        try:
            async with self._http.stream("POST", "chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise RequestFailed(f"HTTP {response.status_code}: {_shown(await response.aread())}")
                usage = await _read(response, answer)
        except httpx2.HTTPError as error:
            raise RequestFailed(_named(error)) from error
        answer.ended = time.perf_counter()
        if usage is None:
            raise RequestFailed("the stream ended without saying how many tokens it used")
        answer.prompt_tokens, answer.output_tokens = usage.prompt_tokens, usage.completion_tokens
        answer.cached_tokens = usage.prompt_tokens_details.cached_tokens or 0 if usage.prompt_tokens_details else 0
        return answer

    async def _first_model(self) -> str:
        try:
            response = await self._http.get("models")
        except httpx2.HTTPError as error:
            raise ServerFailed(f"cannot reach {self._http.base_url}: {_named(error)}") from error
        if response.status_code != 200:
            raise ServerFailed(f"{response.url} answers HTTP {response.status_code}: {_shown(response.content)}")
        try:
            return msgspec.json.decode(response.content, type=_Models).data[0].id
        except (msgspec.DecodeError, IndexError) as error:
            raise ServerFailed(f"{response.url} lists no model; name one with --model") from error


async def _read(response: httpx2.Response, answer: Answer) -> _Usage | None:
    """Note the times of the output in ``answer``; the usage, if the stream tells it."""
    usage: _Usage | None = None
    finished: float | None = None
    async for event in httpx2.EventSource(response):
        if event.data == "[DONE]":
            continue
        now = time.perf_counter()
        try:
            chunk = _decode(event.data)
        except msgspec.DecodeError as error:
            raise RequestFailed(f"the stream holds what is no chunk: {event.data[:_SHOWN]}") from error
        if chunk.error is not None:
            raise RequestFailed(f"the stream broke off: {chunk.error}"[:_SHOWN])
        usage = chunk.usage or usage
        for choice in chunk.choices:
            answer.text += choice.delta.content or ""
            if choice.delta.is_output:
                answer.pieces.append(now)
            if choice.finish_reason is not None:
                finished = now
    if not answer.pieces and finished is not None:  # tokens that are no text, such as an immediate end
        answer.pieces.append(finished)
    if not answer.pieces:
        raise RequestFailed("the stream ended without any output")
    return usage


def _shown(content: bytes) -> str:
    return content.decode("utf-8", "replace")[:_SHOWN]


def _named(error: Exception) -> str:
    """Many transport errors have no words of their own."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Any] | None = None

    @property
    def is_output(self) -> bool:
        return bool(self.content or self.reasoning or self.reasoning_content or self.tool_calls)


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_decode = msgspec.json.Decoder(_Chunk).decode

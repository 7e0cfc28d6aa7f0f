"""What a request brings, as it reaches its reader in the front: token outputs, then text."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self

from .errors import EngineError
from .request import Request, TokenOutput
from .text import TextAssembler, TextOutput


class Watch(Protocol):
    """Is told of one request while it lives. Called from the event loop for every token, so it must not take long."""

    def produced(self, output: TokenOutput) -> None: ...

    def ended(self) -> None:
        """By its last output, an error, or because it was given up. It may be said twice."""
        ...


class Watcher(Protocol):
    def watch(self, request: Request) -> Watch:
        """A request has been sent."""
        ...


class TokenStream:
    """The outputs of one accepted request, as an async iterator. Closing it early aborts the request."""

    def __init__(self, request: Request, abort: Callable[[str], None], watch: Watch | None = None) -> None:
        self.request = request
        self._abort = abort
        # One reader, and a writer in the same loop: less than asyncio.Queue does, for every token.
        self._items: deque[TokenOutput | EngineError | None] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._ended = False
        self._watch = watch

    def put(self, item: TokenOutput | EngineError | None) -> None:
        """For the engine: the next output, an error that ends the stream, or None for acceptance."""
        self._items.append(item)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        watch = self._watch
        if watch is not None and item is not None:
            if isinstance(item, TokenOutput):
                watch.produced(item)
            if isinstance(item, EngineError) or item.finish_reason is not None:
                watch.ended()

    async def accepted(self) -> None:
        """For the engine: wait for the verdict."""
        if (arrival := self.arrival()) is not None:
            await arrival
        first = self._items.popleft()
        if isinstance(first, EngineError):
            self._ended = True
            raise first

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TokenOutput:
        if (arrival := self.arrival()) is not None:
            await arrival
        return self.take()

    def arrival(self) -> asyncio.Future[None] | None:
        """What the one reader awaits before :meth:`take`; None where that need not wait."""
        if self._items or self._ended:
            return None
        self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def take(self) -> TokenOutput:
        """The next output that has come. Raises StopAsyncIteration behind the last one, and EngineError."""
        if self._ended:
            raise StopAsyncIteration
        item = self._items.popleft()
        if isinstance(item, EngineError):
            self._ended = True
            raise item
        assert item is not None
        self._ended = item.finish_reason is not None
        return item

    async def aclose(self) -> None:
        """Give up what is left. Harmless when the output has ended."""
        self.close()

    def close(self) -> None:
        """The same, at once."""
        if not self._ended:
            self._ended = True
            self._abort(self.request.id)
            if self._watch is not None:
                self._watch.ended()


class TextOutputs:
    """The outputs of one accepted request as text. Closing it early aborts the request."""

    def __init__(self, tokens: TokenStream, text: TextAssembler) -> None:
        self._tokens = tokens
        self._text = text

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextOutput:
        if (arrival := self.arrival()) is not None:
            await arrival
        return self.take()

    def arrival(self) -> asyncio.Future[None] | None:
        """See :meth:`TokenStream.arrival`."""
        return self._tokens.arrival()

    def take(self) -> TextOutput:
        """See :meth:`TokenStream.take`."""
        output = self._text.take(self._tokens.take())
        if output.finish_reason is not None:
            self._tokens.close()  # a stop string may have been found in the middle
        return output

    async def aclose(self) -> None:
        self._tokens.close()

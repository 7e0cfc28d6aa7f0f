"""One assistant turn while it is generated: the engine's text, taken apart into words and tool calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Self

import anyio

from ...engine import AsyncEngine, Request
from ...engine.client import TextOutputs
from ...engine.request import TokenLogprob
from .formats import Delta, StreamParser, TextDelta
from .model import ChatModel

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Piece:
    """The next piece of a turn. ``finish_reason`` is set on the last one."""

    deltas: list[Delta]
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None
    finish_reason: FinishReason | None


@dataclass
class Usage:
    """Tokens of one turn, kept up to date while it runs."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class Generation:
    """An accepted request. Iterate it to its end, or close it: closing aborts what still runs.

    Iterating raises :class:`EngineError` when the engine fails underway.
    """

    _stream: TextOutputs
    _parser: StreamParser | None
    usage: Usage = field(default_factory=Usage)
    token_ids: list[int] = field(default_factory=list)

    @classmethod
    async def start(
        cls,
        engine: AsyncEngine,
        model: ChatModel,
        request: Request,
        *,
        tools: bool,
        stop: tuple[str, ...] = (),
        include_stop: bool = False,
    ) -> Self:
        """Submit ``request`` and wait until it is accepted; ``tools`` says that the turn may hold tool calls.

        Raises :class:`EngineError`: the request is invalid, does not fit, or the engine cannot take it now.
        """
        parser = model.format.parser() if tools and model.format else None
        show_special = parser is not None and model.markup_is_special
        stream = await engine.submit_text(
            request, stop=stop, include_stop=include_stop, skip_special_tokens=not show_special
        )
        usage = Usage(prompt_tokens=len(request.prompt))
        return cls(stream, parser, usage)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        async for output in self._stream:
            self.token_ids += output.token_ids
            self.usage.prompt_tokens = output.prompt_tokens
            self.usage.cached_tokens = output.cached_tokens
            self.usage.completion_tokens = len(self.token_ids)
            reason = output.finish_reason
            deltas = self._deltas(output.text)
            if reason is not None and self._parser is not None:
                deltas += self._parser.finish()
            yield Piece(deltas, output.token_ids, output.logprobs, reason)

    async def aclose(self) -> None:
        """Stop generating. Nothing happens when the turn is over."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()

    def _deltas(self, text: str) -> list[Delta]:
        if self._parser is not None:
            return self._parser.feed(text)
        return [TextDelta(text)] if text else []

"""One assistant turn while it is generated: the engine's text, taken apart into thoughts, words and tool calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

import anyio
import msgspec

from ...engine import AsyncEngine, Request
from ...engine.request import TokenLogprob
from ...engine.streams import TextOutputs
from ...engine.tokenizer import StopScanner
from .formats import Delta, FunctionTool, ReasoningDelta, StreamParser, TextDelta
from .model import ChatModel

FinishReason = Literal["stop", "length"]


class Piece(msgspec.Struct, frozen=True, gc=False):
    """The next piece of a turn. ``finish_reason`` is set on the last one.

    ``stop_reason`` is then the stop string or the stop id that ended the turn, None for the model's own end.
    """

    deltas: list[Delta]
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None = None


@dataclass
class Usage:
    """Tokens of one turn, kept up to date while it runs.

    ``reasoning_tokens`` are those among ``completion_tokens`` that were thoughts and the marks around them.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass
class Generation:
    """An accepted request. Iterate it to its end, or close it: closing aborts what still runs.

    Iterating raises :class:`EngineError` when the engine fails underway.
    """

    _stream: TextOutputs
    _parser: StreamParser | None
    _stops: StopScanner
    _ends: Sequence[int] = ()
    usage: Usage = field(default_factory=Usage)
    token_ids: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def turn_ids(self) -> list[int] | None:
        """The turn as it is found again when it comes back: all ids but the one that ended it.

        None while it runs, and when a stop has cut off what the ids say.
        """
        if self.finish_reason == "length":
            return self.token_ids
        ended = self.finish_reason is not None and self.token_ids and self.token_ids[-1] in self._ends
        return self.token_ids[:-1] if ended else None

    @classmethod
    async def start(
        cls,
        engine: AsyncEngine,
        model: ChatModel,
        request: Request,
        *,
        tools: Sequence[FunctionTool] = (),
        stop: tuple[str, ...] = (),
        include_stop: bool = False,
        raw: bool = False,
        skip_special_tokens: bool = True,
    ) -> Self:
        """Submit ``request`` and wait until it is accepted.

        Args:
            tools: what the turn may call; without any, calls are text.
            stop: texts that end the turn where the model says them; thoughts and calls may hold them.
            raw: all of the turn is text, thoughts and calls too.

        Raises :class:`EngineError`: the request is invalid, does not fit, or the engine cannot take it now.
        """
        parser = None if raw else model.parser(request.prompt, tools)
        stream = await engine.submit_text(
            request,
            # Where the turn is taken apart, stop strings are looked for in its words alone.
            stop=() if parser else stop,
            include_stop=include_stop,
            skip_special_tokens=skip_special_tokens and not (parser is not None and model.markup_is_special),
        )
        usage = Usage(prompt_tokens=len(request.prompt))
        ends = model.tokenizer.eos_token_ids
        return cls(stream, parser, StopScanner(stop, include_stop=include_stop), ends, usage)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if self.finish_reason is not None:
            raise StopAsyncIteration
        if (arrival := self._stream.arrival()) is not None:
            await arrival
        output = self._stream.take()
        tokens, usage = output.token_ids, self.usage
        self.token_ids += tokens
        usage.cached_tokens = output.cached_tokens
        usage.completion_tokens += len(tokens)
        reason, stop_reason = output.finish_reason, output.stop_reason
        if self._parser is None:
            deltas: list[Delta] = [TextDelta(output.text)] if output.text else []
        else:
            deltas = self._parsed(self._parser, output.text, len(tokens), ended=reason is not None)
            if self._stops.found is not None:
                reason, stop_reason = "stop", self._stops.found
                await self._stream.aclose()
        self.finish_reason = reason
        return Piece(deltas, tokens, output.logprobs, reason, stop_reason)

    async def aclose(self) -> None:
        """Stop generating. Nothing happens when the turn is over."""
        with anyio.CancelScope(shield=True):
            await self._stream.aclose()

    def _parsed(self, parser: StreamParser, text: str, tokens: int, *, ended: bool) -> list[Delta]:
        thinking = parser.thinking
        deltas = parser.feed(text)
        if thinking or parser.thinking or ReasoningDelta in map(type, deltas):
            self.usage.reasoning_tokens += tokens
        if ended:
            deltas += parser.finish()
        return self._stopped(deltas, ended=ended) if self._stops.strings else deltas

    def _stopped(self, deltas: list[Delta], *, ended: bool) -> list[Delta]:
        """The deltas up to the stop string, if there is one, without text that may yet become one."""
        kept: list[Delta] = []
        for delta in deltas:
            text = self._stops.scan(delta.text) if isinstance(delta, TextDelta) else self._stops.flush()
            if text:
                kept.append(TextDelta(text))
            if self._stops.found is not None:
                return kept
            if not isinstance(delta, TextDelta):
                kept.append(delta)
        if ended and (text := self._stops.flush()):
            kept.append(TextDelta(text))
        return kept

"""The answer as a stream of chunks: for every choice a role, deltas and a reason; then the usage; then ``[DONE]``."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio
import msgspec

from ...engine.errors import EngineError
from ..chat.formats import CallArguments, CallStart, Delta, TextDelta
from ..chat.generate import Generation, Piece
from ..http.events import DONE, Write, event
from . import wire
from .answer import Answer, usage
from .errors import ApiError, from_engine
from .written import Written

log = logging.getLogger(__name__)


class ChunkWriter:
    """Writes one answer's events. Choices run side by side; a failure of one ends the stream with an error event."""

    def __init__(self, answer: Answer, generations: Sequence[Generation], *, include_usage: bool) -> None:
        self._answer = answer
        self._generations = generations
        self._include_usage = include_usage

    async def produce(self, write: Write) -> None:
        try:
            await self._choices(write)
        except EngineError as error:
            await write(event(msgspec.json.encode(from_engine(error).body())))
        except Exception:
            log.exception("a stream failed")
            problem = ApiError("The server failed on this request.", status=500, code="server_error")
            await write(event(msgspec.json.encode(problem.body())))
        else:
            if self._include_usage:
                await write(self._chunk([], usage(self._generations)))
        await write(DONE)

    async def _choices(self, write: Write) -> None:
        errors: list[Exception] = []
        async with anyio.create_task_group() as group:

            async def run(index: int, generation: Generation) -> None:
                try:
                    await self._choice(index, generation, write)
                except Exception as error:
                    errors.append(error)
                    group.cancel_scope.cancel()
                finally:
                    await generation.aclose()

            for index, generation in enumerate(self._generations):
                group.start_soon(run, index, generation)
        if errors:
            raise errors[0]

    async def _choice(self, index: int, generation: Generation, write: Write) -> None:
        await write(self._chunk([wire.ChunkChoice(index, wire.Delta(role="assistant", content="", refusal=None))]))
        written = Written()
        async for piece in generation:
            choices = self._of_piece(index, piece, written)
            if piece.finish_reason is not None:
                self._answer.remember(written, generation, piece.finish_reason)
                reason = self._answer.finish_reason(piece.finish_reason, len(written.calls))
                choices.append(wire.ChunkChoice(index, wire.Delta(), finish_reason=reason))
            if choices:
                await write(b"".join(self._chunk([choice]) for choice in choices))

    def _of_piece(self, index: int, piece: Piece, written: Written) -> list[wire.ChunkChoice]:
        choices = []
        for delta in piece.deltas:
            written.take(delta)
            choices.append(wire.ChunkChoice(index, _delta(delta, written)))
        logprobs = self._answer.logprobs(piece)
        if logprobs is not None and logprobs.content:
            if not choices:
                choices.append(wire.ChunkChoice(index, wire.Delta(content="")))
            choices[0].logprobs = logprobs
        return choices

    def _chunk(self, choices: list[wire.ChunkChoice], usage: wire.Usage | None = None) -> bytes:
        answer = self._answer
        chunk = wire.Chunk(id=answer.id, created=answer.created, model=answer.model, choices=choices)
        if self._include_usage:
            chunk.usage = usage
        return event(msgspec.json.encode(chunk))


def _delta(delta: Delta, written: Written) -> wire.Delta:
    match delta:
        case TextDelta():
            return wire.Delta(content=delta.text)
        case CallStart():
            call = wire.ToolCallDelta(
                index=delta.index, id=written.calls[-1].id, type="function", function=wire.FunctionDelta(delta.name, "")
            )
        case CallArguments():
            call = wire.ToolCallDelta(index=delta.index, function=wire.FunctionDelta(arguments=delta.text))
    return wire.Delta(tool_calls=[call])

"""The answer as a stream of chunks: for every choice a role, deltas and a reason; then the usage; then ``[DONE]``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..chat.formats import CallArguments, CallStart, Delta, ReasoningDelta, TextDelta
from ..chat.generate import FinishReason, Generation, Piece
from ..http.events import DONE, HOLE, Frame, Write, event
from . import wire
from .answer import Answer, every, usage
from .failed import failed
from .written import Written, WrittenCall, custom_input


class ChunkWriter:
    """Writes one answer's events. Choices run side by side; a failure of one ends the stream with an error event.

    Args:
        include_usage: the last chunk holds the usage, and all others say that they do not.
        running_usage: every chunk holds the usage so far.

    Attributes:
        framed: chunks of the same kind differ by their text alone.
    """

    def __init__(
        self, answer: Answer, generations: Sequence[Generation], *, include_usage: bool, running_usage: bool = False
    ) -> None:
        self._answer = answer
        self._generations = generations
        self._include_usage = include_usage
        self._running_usage = running_usage
        self._prompt_shown = not answer.token_ids
        self.framed = not running_usage and not answer.token_ids

    async def produce(self, write: Write) -> None:
        try:
            await every(self._generations, lambda index, generation: self._choice(index, generation, write))
        except Exception as error:
            await write(failed(error))
        else:
            if self._include_usage:
                await write(self.chunk([], usage(self._generations)))
        await write(DONE)

    async def _choice(self, index: int, generation: Generation, write: Write) -> None:
        choice = _Choice(self, self._answer, index, generation)
        await write(choice.begun())
        async for piece in generation:
            chunks = choice.take(piece)
            if chunks:
                await write(chunks)

    def chunk(self, choices: list[wire.ChunkChoice], whole_usage: wire.Usage | None = None) -> bytes:
        answer = self._answer
        chunk = wire.Chunk(id=answer.id, created=answer.created, model=answer.model, choices=choices)
        if self._running_usage:
            chunk.usage = whole_usage or usage(self._generations)
        elif self._include_usage:
            chunk.usage = whole_usage
        if not self._prompt_shown:
            self._prompt_shown = True
            chunk.prompt_token_ids = answer.prepared.prompt
        return event(msgspec.json.encode(chunk))


class _Choice:
    """The chunks of one choice."""

    def __init__(self, writer: ChunkWriter, answer: Answer, index: int, generation: Generation) -> None:
        self._writer = writer
        self._answer = answer
        self._index = index
        self._generation = generation
        self._written = Written()
        self._frames: dict[object, Frame] = {}

    def begun(self) -> bytes:
        return self._chunk(wire.Delta(role="assistant", content="", refusal=None))

    def take(self, piece: Piece) -> bytes:
        """The chunks of the next piece; none where all of it is held back."""
        if piece.finish_reason is None and piece.logprobs is None and self._writer.framed:
            deltas = piece.deltas
            return self._framed(deltas[0]) if len(deltas) == 1 else b"".join(map(self._framed, deltas))
        choices = self._of_piece(piece)
        if piece.finish_reason is not None:
            choices += self._ended(piece.finish_reason, piece.stop_reason)
        if choices and self._answer.token_ids:
            choices[0].token_ids = piece.token_ids
        return b"".join([self._writer.chunk([choice]) for choice in choices])

    def _framed(self, delta: Delta) -> bytes:
        """What :meth:`_of_piece` makes of this delta."""
        match delta:
            case TextDelta() | ReasoningDelta():
                kind = type(delta)
            case CallArguments():
                kind = delta.index
            case CallStart():
                return b"".join(map(self._chunk, self._deltas(delta)))
        self._written.take(delta)
        frame = self._frames.get(kind)
        if frame is None:
            shown = self._delta(msgspec.structs.replace(delta, text=HOLE))
            frame = self._frames[kind] = Frame(b"" if shown is None else self._chunk(shown))
        return frame.around(delta.text)

    def _chunk(self, delta: wire.Delta) -> bytes:
        return self._writer.chunk([wire.ChunkChoice(self._index, delta)])

    def _of_piece(self, piece: Piece) -> list[wire.ChunkChoice]:
        choices = [wire.ChunkChoice(self._index, shown) for delta in piece.deltas for shown in self._deltas(delta)]
        logprobs = self._answer.logprobs(piece)
        shows_tokens = self._answer.token_ids and piece.token_ids
        if (shows_tokens or (logprobs is not None and logprobs.content)) and not choices:
            choices.append(wire.ChunkChoice(self._index, wire.Delta(content="")))
        if logprobs is not None and logprobs.content:
            choices[0].logprobs = logprobs
        return choices

    def _ended(self, reason: FinishReason, stop: str | int | None) -> list[wire.ChunkChoice]:
        self._answer.remember(self._written, self._generation)
        last = wire.ChunkChoice(
            self._index, wire.Delta(), finish_reason=self._answer.finish_reason(reason, len(self._written.calls))
        )
        if stop is not None:
            last.stop_reason = stop
        return [*(wire.ChunkChoice(self._index, delta) for delta in self._custom()), last]

    def _deltas(self, delta: Delta) -> list[wire.Delta]:
        """What is shown of a delta, and what became certain by it."""
        before = self._custom() if isinstance(delta, CallStart) else []
        self._written.take(delta)
        shown = self._delta(delta)
        return before if shown is None else [*before, shown]

    def _delta(self, delta: Delta) -> wire.Delta | None:
        match delta:
            case TextDelta():
                return wire.Delta(content=delta.text)
            case ReasoningDelta():
                if not self._answer.reasoning:
                    return None
                return wire.Delta(reasoning=delta.text, reasoning_content=delta.text)
            case CallStart():
                return self._started(delta.index, self._written.calls[-1])
        call = self._written.calls[delta.index]
        if self._answer.is_custom(call):
            return None
        function = wire.FunctionDelta(arguments=delta.text)
        if self._answer.prepared.tools.legacy:
            return wire.Delta(function_call=function)
        return wire.Delta(tool_calls=[wire.ToolCallDelta(index=delta.index, function=function)])

    def _started(self, index: int, call: WrittenCall) -> wire.Delta:
        if self._answer.is_custom(call):
            custom = wire.CustomCall(call.name, "")
            return wire.Delta(tool_calls=[wire.ToolCallDelta(index=index, id=call.id, type="custom", custom=custom)])
        function = wire.FunctionDelta(call.name, "")
        if self._answer.prepared.tools.legacy:
            return wire.Delta(function_call=function)
        return wire.Delta(tool_calls=[wire.ToolCallDelta(index=index, id=call.id, type="function", function=function)])

    def _custom(self) -> list[wire.Delta]:
        """The input of the custom call that has just ended: it is known only then, being a JSON string until there."""
        calls = self._written.calls
        if not calls or not self._answer.is_custom(calls[-1]):
            return []
        custom = wire.CustomCall(msgspec.UNSET, custom_input(calls[-1].arguments))
        return [wire.Delta(tool_calls=[wire.ToolCallDelta(index=len(calls) - 1, custom=custom)])]

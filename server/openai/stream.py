"""The answer as a stream of chunks: for every choice a role, deltas and a reason; then the usage; then ``[DONE]``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..chat.formats import CallStart, Delta, ReasoningDelta, TextDelta
from ..chat.generate import Generation, Piece
from ..http.events import DONE, Write, event
from . import wire
from .answer import Answer, every, usage
from .errors import from_exception
from .written import Written, WrittenCall, custom_input


class ChunkWriter:
    """Writes one answer's events. Choices run side by side; a failure of one ends the stream with an error event.

    Args:
        include_usage: the last chunk holds the usage, and all others say that they do not.
        running_usage: every chunk holds the usage so far.
    """

    def __init__(
        self, answer: Answer, generations: Sequence[Generation], *, include_usage: bool, running_usage: bool = False
    ) -> None:
        self._answer = answer
        self._generations = generations
        self._include_usage = include_usage
        self._running_usage = running_usage
        self._prompt_shown = not answer.token_ids

    async def produce(self, write: Write) -> None:
        try:
            await every(self._generations, lambda index, generation: self._choice(index, generation, write))
        except Exception as error:
            await write(event(msgspec.json.encode(from_exception(error).body())))
        else:
            if self._include_usage:
                await write(self._chunk([], usage(self._generations)))
        await write(DONE)

    async def _choice(self, index: int, generation: Generation, write: Write) -> None:
        await write(self._chunk([wire.ChunkChoice(index, wire.Delta(role="assistant", content="", refusal=None))]))
        written = Written()
        async for piece in generation:
            choices = self._of_piece(index, piece, written)
            if piece.finish_reason is not None:
                self._answer.remember(written, generation)
                choices += [wire.ChunkChoice(index, delta) for delta in self._custom(written)]
                reason = self._answer.finish_reason(piece.finish_reason, len(written.calls))
                choices.append(wire.ChunkChoice(index, wire.Delta(), finish_reason=reason))
                if piece.stop_reason is not None:
                    choices[-1].stop_reason = piece.stop_reason
            if choices and self._answer.token_ids:
                choices[0].token_ids = piece.token_ids
            if choices:
                await write(b"".join(self._chunk([choice]) for choice in choices))

    def _of_piece(self, index: int, piece: Piece, written: Written) -> list[wire.ChunkChoice]:
        choices = []
        for delta in self._answer.shown(piece.deltas):
            if isinstance(delta, CallStart):
                choices += [wire.ChunkChoice(index, done) for done in self._custom(written)]
            written.take(delta)
            shown = self._delta(delta, written)
            if shown is not None:
                choices.append(wire.ChunkChoice(index, shown))
        written.reasoning += "".join(
            delta.text for delta in piece.deltas if isinstance(delta, ReasoningDelta) and not self._answer.reasoning
        )
        logprobs = self._answer.logprobs(piece)
        shows_tokens = self._answer.token_ids and piece.token_ids
        if (shows_tokens or (logprobs is not None and logprobs.content)) and not choices:
            choices.append(wire.ChunkChoice(index, wire.Delta(content="")))
        if logprobs is not None and logprobs.content:
            choices[0].logprobs = logprobs
        return choices

    def _delta(self, delta: Delta, written: Written) -> wire.Delta | None:
        match delta:
            case TextDelta():
                return wire.Delta(content=delta.text)
            case ReasoningDelta():
                return wire.Delta(reasoning=delta.text, reasoning_content=delta.text)
            case CallStart():
                return self._started(delta.index, written.calls[-1])
        call = written.calls[delta.index]
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

    def _custom(self, written: Written) -> list[wire.Delta]:
        """The input of the custom call that has just ended: it is known only then, being a JSON string until there."""
        if not written.calls or not self._answer.is_custom(written.calls[-1]):
            return []
        custom = wire.CustomCall(msgspec.UNSET, custom_input(written.calls[-1].arguments))
        return [wire.Delta(tool_calls=[wire.ToolCallDelta(index=len(written.calls) - 1, custom=custom)])]

    def _chunk(self, choices: list[wire.ChunkChoice], whole_usage: wire.Usage | None = None) -> bytes:
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

"""An answer as Anthropic's content blocks, whole or as events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

import msgspec

from ...engine import Tokenizer
from ..chat.formats import CallArguments, CallStart, Delta, ReasoningDelta, TextDelta
from ..chat.generate import Generation, Piece
from ..http.drain import stopping
from ..http.events import Write
from ..json_values import JsonObject, loads_object
from ..openai.errors import from_exception
from ..openai.prepare import Prepared
from ..openai.written import Written
from .errors import error_body


class AnthropicUsage(TypedDict):
    """Tokens from the cache are not among ``input_tokens``."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class ContentBlock(TypedDict):
    """A thinking, text or tool_use block, with its further keys."""

    type: Literal["thinking", "text", "tool_use"]


class AnthropicMessage(TypedDict):
    """A whole answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[ContentBlock]
    stop_reason: Literal["max_tokens", "stop_sequence", "tool_use", "end_turn"]
    stop_sequence: str | None
    usage: AnthropicUsage


@dataclass
class Answer:
    """One answer while it is generated."""

    id: str
    model: str
    prepared: Prepared
    generation: Generation
    tokenizer: Tokenizer

    async def whole(self) -> bytes:
        """The encoded message. Raises EngineError."""
        written, last = Written(), None
        try:
            async for piece in self.generation:
                for delta in piece.deltas:
                    written.take(delta)
                last = piece
        finally:
            await self.generation.aclose()
        self._ended(written)
        return msgspec.json.encode(
            {**self._head(), "content": _blocks(written), **self._end(written, last), "usage": self._usage()}
        )

    async def stream(self, write: Write) -> None:
        """Write every event; a failure is the last one."""
        try:
            await self._stream(write)
        except Exception as error:
            await write(_failed(error))
        finally:
            await self.generation.aclose()

    async def _stream(self, write: Write) -> None:
        written, blocks, last = Written(), _BlockWriter(), None
        async for piece in self.generation:
            if last is None:  # what was found in the cache is known now
                message = {**self._head(), "content": [], "stop_reason": None, "stop_sequence": None}
                begun = {**message, "usage": {**self._usage(), "output_tokens": 0}}
                await write(_event("message_start", {"type": "message_start", "message": begun}))
            last = piece
            events = b""
            for delta in piece.deltas:
                written.take(delta)
                events += blocks.take(delta, written)
            if events:
                await write(events)
        self._ended(written)
        end = {"type": "message_delta", "delta": self._end(written, last), "usage": self._usage()}
        await write(blocks.close() + _event("message_delta", end) + _event("message_stop", {"type": "message_stop"}))

    def _ended(self, written: Written) -> None:
        if self.prepared.replayable:
            written.remember(self.prepared.conversation, self.generation)

    def _head(self) -> JsonObject:
        return {"id": self.id, "type": "message", "role": "assistant", "model": self.model}

    def _end(self, written: Written, last: Piece | None) -> JsonObject:
        reason = last.finish_reason if last is not None else "stop"
        stop = last.stop_reason if last is not None and isinstance(last.stop_reason, str) else None
        if reason == "length":
            kind = "max_tokens"
        elif stop is not None:
            kind = "stop_sequence"
        else:
            kind = "tool_use" if written.calls else "end_turn"
        return {"stop_reason": kind, "stop_sequence": stop if kind == "stop_sequence" else None}

    def _usage(self) -> AnthropicUsage:
        usage = self.generation.usage
        return {
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
        }


def _blocks(written: Written) -> list[JsonObject]:
    blocks: list[JsonObject] = []
    if written.reasoning:
        blocks.append({"type": "thinking", "thinking": written.reasoning, "signature": _signature(written.reasoning)})
    if written.text:
        blocks.append({"type": "text", "text": written.text})
    for call in written.calls:  # arguments that were cut off are no object; the stop reason tells of that
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": loads_object(call.arguments)})
    return blocks


def _signature(thinking: str) -> str:
    """Clients insist on one and send it back; nothing here depends on it."""
    return hashlib.blake2b(thinking.encode(), digest_size=24).hexdigest()


class _BlockWriter:
    """Opens a block when its first delta comes, and closes it when another kind follows."""

    def __init__(self) -> None:
        self._index = -1
        self._kind: str | None = None
        self._thoughts = ""

    def take(self, delta: Delta, written: Written) -> bytes:
        match delta:
            case TextDelta():
                opened = self._open("text", {"type": "text", "text": ""})
                return opened + self._delta({"type": "text_delta", "text": delta.text})
            case ReasoningDelta():
                self._thoughts += delta.text
                opened = self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                return opened + self._delta({"type": "thinking_delta", "thinking": delta.text})
            case CallStart():
                call = written.calls[delta.index]
                block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
                return self._open(f"call {delta.index}", block)
            case CallArguments():
                return self._delta({"type": "input_json_delta", "partial_json": delta.text})

    def close(self) -> bytes:
        if self._kind is None:
            return b""
        signed = b""
        if self._kind == "thinking":
            signed = self._delta({"type": "signature_delta", "signature": _signature(self._thoughts)})
        self._kind = None
        return signed + _event("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _open(self, kind: str, block: JsonObject) -> bytes:
        if kind == self._kind:
            return b""
        closed = self.close()
        self._index += 1
        self._kind = kind
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return closed + _event("content_block_start", start)

    def _delta(self, delta: JsonObject) -> bytes:
        return _event("content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta})


def _event(name: str, data: Mapping[str, object]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


def _failed(error: Exception) -> bytes:
    problem = from_exception(error)
    return _event("error", error_body(problem.status, problem.message, problem.code))


STOPPED = _failed(stopping())
"""The end of a stream where the server stops."""

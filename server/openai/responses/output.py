"""A response's output while it grows: the loop's events become items and stream events.

Every event gets the next sequence number. An item is added, grows by deltas, and is done; of those that are cut off the
last state says ``incomplete``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from ....engine import Tokenizer
from ...agent.events import (
    CallBegun,
    CallFinished,
    CallStarted,
    CallWriting,
    CallWritten,
    Event,
    Reasoning,
    StepFinished,
    StepStarted,
    Text,
)
from ...json_values import JsonObject
from .. import logprobs
from .call_item import CallItem
from .calls import CallItems
from .items import item_id, public
from .sealed import seal

Sink = Callable[[JsonObject], Awaitable[None]]

OUTPUTS = "code_interpreter_call.outputs"
ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"


@dataclass
class _Words:
    """The open item of words or thoughts: its index in the output, and what has been said in it."""

    index: int
    text: str = ""
    logprobs: list[JsonObject] = field(default_factory=list)


class Output:
    """
    Args:
        sink: takes every stream event.
        calls: makes the items of calls.
        include: what clients want to see beyond the usual.
        tokenizer: spells tokens with their log-probabilities.

    Attributes:
        items: all items, with their private keys.
    """

    def __init__(self, sink: Sink, calls: CallItems, include: Collection[str], tokenizer: Tokenizer) -> None:
        self.items: list[JsonObject] = []
        self._sink = sink
        self._make = calls
        self._include = include
        self._tokenizer = tokenizer
        self._sequence = 0
        self._turn = ""
        self._places = 0
        self._words: _Words | None = None
        self._calls: dict[str, tuple[int, CallItem]] = {}
        self._open: set[int] = set()
        self._seen: set[int] = set()  # calls that the client knows of

    async def emit(self, event: JsonObject, index: int | None = None) -> None:
        """Send an event, with its sequence number and the output index."""
        await self._sink(self.numbered(event, index))

    def numbered(self, event: JsonObject, index: int | None = None) -> JsonObject:
        """What :meth:`emit` would send."""
        if "item" in event:
            event = {**event, "item": self.shown(event["item"])}
        place = {} if index is None else {"output_index": index}
        numbered = {**event, **place, "sequence_number": self._sequence}
        self._sequence += 1
        return numbered

    def shown(self, item: JsonObject) -> JsonObject:
        """An item as this client sees it."""
        item = dict(public(item))
        if item["type"] == "code_interpreter_call" and OUTPUTS not in self._include:
            item["outputs"] = None
        return item

    async def whole(self, item: JsonObject, *between: JsonObject) -> None:
        """An item that is complete at once, with the events between its beginning and its end."""
        index = self._append(item)
        await self.emit({"type": "response.output_item.added", "item": item}, index)
        for event in between:
            await self.emit({**event, "item_id": item["id"]}, index)
        await self.emit({"type": "response.output_item.done", "item": item}, index)

    async def take(self, event: Event) -> None:
        match event:
            case StepStarted():
                self._turn, self._places = event.turn, 0
            case Reasoning():
                await self._say(event.text, thinking=True)
            case Text():
                tokens = msgspec.to_builtins(logprobs.shown(self._tokenizer, event.tokens))
                await self._say(event.text, tokens, thinking=False)
            case CallBegun():
                await self._close()
                place = int(event.id[-2:], 16) if event.id.startswith(f"call_{self._turn}") else len(self._calls)
                item = self._make.make(event.id, event.tool, self._turn, place)
                self._calls[event.id] = (self._append(item.item), item)
                await self._all(event.id, item.begun())
            case CallWriting():
                await self._all(event.id, self._calls[event.id][1].writing(event.text))
            case CallWritten():
                await self._all(event.id, self._calls[event.id][1].written(event.arguments, event.complete))
            case CallStarted():
                await self._all(event.id, self._calls[event.id][1].started())
            case CallFinished():
                await self._all(event.id, self._calls[event.id][1].finished(event))
            case StepFinished():
                await self._close()

    async def end(self) -> None:
        """No more events come: items that are not done are incomplete."""
        await self._close(status="incomplete")
        unseen = {index for index, _ in self._calls.values() if index not in self._seen}
        for index in sorted(self._open | unseen):
            item = self.items[index]
            if index in unseen:
                await self.emit({"type": "response.output_item.added", "item": item}, index)
            if "status" in item:
                item["status"] = "incomplete"
            if item["type"] == "web_search_call":
                item.setdefault("action", {"type": "search", "query": "", "queries": []})
            await self.emit({"type": "response.output_item.done", "item": item}, index)
        self._open.clear()

    def _append(self, item: JsonObject) -> int:
        self.items.append(item)
        return len(self.items) - 1

    async def _all(self, call_id: str, events: list[JsonObject]) -> None:
        index, _ = self._calls[call_id]
        for event in events:
            match event["type"]:
                case "response.output_item.added":
                    self._open.add(index)
                    self._seen.add(index)
                case "response.output_item.done":
                    self._open.discard(index)
            await self.emit(event, index)

    async def _say(self, text: str, tokens: Sequence[JsonObject] = (), *, thinking: bool) -> None:
        kind = "reasoning" if thinking else "message"
        if self._words is None or self.items[self._words.index]["type"] != kind:
            await self._close()
            await self._begin(thinking=thinking)
        assert self._words is not None
        index = self._words.index
        self._words.text += text
        self._words.logprobs += tokens
        delta: JsonObject = {"item_id": self.items[index]["id"], "content_index": 0, "delta": text}
        if thinking:
            await self.emit({"type": "response.reasoning_text.delta", **delta}, index)
        else:
            await self.emit({"type": "response.output_text.delta", **delta, "logprobs": list(tokens)}, index)

    async def _begin(self, *, thinking: bool) -> None:
        # Words and thoughts take their places from the end, since calls number theirs from 0.
        self._places += 1
        place = 256 - self._places
        if thinking:
            item: JsonObject = {
                "id": item_id("rs", self._turn, place), "type": "reasoning", "summary": [], "content": [],
                "encrypted_content": None, "status": "in_progress",
            }  # fmt: skip
        else:
            item = {
                "id": item_id("msg", self._turn, place), "type": "message", "role": "assistant",
                "status": "in_progress", "content": [],
            }  # fmt: skip
        index = self._append(item)
        self._words = _Words(index)
        await self.emit({"type": "response.output_item.added", "item": item}, index)
        await self.emit({"type": "response.content_part.added", **self._part(item, self._words)}, index)

    async def _close(self, status: str = "completed") -> None:
        if self._words is None:
            return
        words, self._words = self._words, None
        index, item = words.index, self.items[words.index]
        thinking = item["type"] == "reasoning"
        part = self._part(item, words)
        about = {"item_id": item["id"], "content_index": 0, "text": words.text}
        if thinking:
            await self.emit({"type": "response.reasoning_text.done", **about}, index)
            if ENCRYPTED in self._include:
                item["encrypted_content"] = seal(words.text)
        else:
            await self.emit({"type": "response.output_text.done", **about, "logprobs": words.logprobs}, index)
        await self.emit({"type": "response.content_part.done", **part}, index)
        item.update(content=[part["part"]], status=status)
        await self.emit({"type": "response.output_item.done", "item": item}, index)

    @staticmethod
    def _part(item: JsonObject, words: _Words) -> JsonObject:
        if item["type"] == "reasoning":
            part: JsonObject = {"type": "reasoning_text", "text": words.text}
        else:
            part = {"type": "output_text", "text": words.text, "annotations": [], "logprobs": list(words.logprobs)}
        return {"item_id": item["id"], "content_index": 0, "part": part}

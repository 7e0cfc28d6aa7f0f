"""Remembers the exact token ids of every assistant turn, by what had been said up to it.

A client that replays its history sends text; tokenising that again gives other ids than the model has read and written,
so the prefix cache would miss from there on. Here each turn is found again by a chain of digests over the messages,
whatever the spacing or key order of their JSON, and its ids are taken as they were.

Turns share their past: each holds the ids since the turn before it, so a long conversation costs its length once.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from ..json_values import JsonObject

Digest = bytes

# Why a past turn was rendered again. unknown: it was never generated here, is forgotten, or what led to it was changed.
# reasoning: the client changed its reasoning. template: the template does not simply append to it.
Mismatch = Literal["unknown", "reasoning", "template"]

_IDS = "I"  # array type: 32 bits unsigned


class Hidden(msgspec.Struct, frozen=True):
    """What stands behind a turn that a client sees in a shorter form: steps that were taken for it.

    Attributes:
        before: messages between the client's last one and the turn.
        turn: the turn itself, with the calls that the client does not see.
        pending: results of those calls, which come before whatever the client sends next.
    """

    before: list[JsonObject]
    turn: JsonObject
    pending: list[JsonObject] = []


@dataclass(frozen=True)
class Turn:
    """One assistant turn.

    Attributes:
        parent: the turn whose ids come before these, None when these begin the conversation.
        ids: from the parent's end to this turn's end, as 32-bit integers. The token that ended it is not among them:
            the template writes what stands between turns.
        reasoning: what the model thought, which clients may leave out.
    """

    parent: Digest | None
    ids: array[int]
    reasoning: str = ""
    hidden: Hidden | None = None


@dataclass(frozen=True)
class Found:
    """The longest known beginning of a conversation.

    Attributes:
        digest: of its last turn. ids: all of it.
        length: how many of the messages it covers.
        messages: the same as they were really said, with hidden steps and all reasoning. pending: see :class:`Hidden`.
    """

    digest: Digest
    ids: list[int]
    length: int
    messages: list[JsonObject]
    pending: list[JsonObject]


class TurnStore(Protocol):
    """Where turns are kept beyond this process."""

    async def find_turns(self, digests: Sequence[Digest]) -> dict[Digest, Turn]:
        """Those that are kept among ``digests``, and all that they continue."""
        ...

    async def keep_turn(self, digest: Digest, turn: Turn, group: str) -> bool:
        """Keep ``turn``, which goes when ``group`` is deleted. False when it was kept before."""
        ...


@dataclass
class Counts:
    """What came of replayed turns, for the metrics."""

    spliced: int = 0
    saved_tokens: int = 0
    mismatched: Counter[Mismatch] = field(default_factory=Counter)


class Transcript:
    """All conversations of one server.

    Args:
        max_tokens: how many ids are kept in memory (4 bytes each); the turns used longest ago go first.

    Attributes:
        store: where turns of stored conversations are kept as well.
    """

    def __init__(self, max_tokens: int = 64_000_000) -> None:
        self.counts = Counts()
        self.store: TurnStore | None = None
        self._max_tokens = max_tokens
        self._tokens = 0
        self._turns: OrderedDict[Digest, Turn] = OrderedDict()

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def tokens(self) -> int:
        """Ids in memory."""
        return self._tokens

    async def find(self, digests: Sequence[Digest], messages: Sequence[JsonObject], *, stored: bool) -> Found | None:
        """What is known of a conversation: ``digests[i]`` stands for it up to and including ``messages[i]``.

        Args:
            stored: look in the store too.
        """
        ends = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        if not ends:
            return None
        if stored and self.store is not None and digests[ends[-1]] not in self._turns:
            for digest, turn in (await self.store.find_turns([digests[end] for end in ends])).items():
                self.put(digest, turn)
        known = [end for end in ends if digests[end] in self._turns]
        for end in reversed(known):
            found = self._found(digests, messages, end, known)
            if found is not None:
                self.counts.mismatched["unknown"] += sum(other > end for other in ends)
                return found
        self.counts.mismatched["unknown"] += len(ends)
        return None

    def put(self, digest: Digest, turn: Turn) -> None:
        """Remember ``turn``, and forget those used longest ago if there are too many."""
        old = self._turns.pop(digest, None)
        self._turns[digest] = turn
        self._tokens += len(turn.ids) - (len(old.ids) if old else 0)
        while self._tokens > self._max_tokens:
            _, forgotten = self._turns.popitem(last=False)
            self._tokens -= len(forgotten.ids)

    async def keep(self, digest: Digest, group: str) -> None:
        """Write a turn, and those that it continues, to the store."""
        link: Digest | None = digest
        while self.store is not None and link is not None and (turn := self._turns.get(link)) is not None:
            if not await self.store.keep_turn(link, turn, group):
                return  # and so was all before it
            link = turn.parent

    def _found(
        self, digests: Sequence[Digest], messages: Sequence[JsonObject], end: int, known: Sequence[int]
    ) -> Found | None:
        chain: list[Turn] = []
        link: Digest | None = digests[end]
        while link is not None:
            turn = self._turns.get(link)
            if turn is None:
                return None  # a part of its past is forgotten
            self._turns.move_to_end(link)
            chain.append(turn)
            link = turn.parent
        said = messages[end].get("reasoning_content")
        if said and said.strip() != chain[0].reasoning.strip():
            self.counts.mismatched["reasoning"] += 1
            return None
        ids = array(_IDS)
        for turn in reversed(chain):
            ids.extend(turn.ids)
        messages = self._with_reasoning(digests, messages, known)
        real: list[JsonObject] = []
        pending: list[JsonObject] = []
        shown = 0
        for place in known:
            hidden = self._turns[digests[place]].hidden
            if place > end or hidden is None:
                continue
            real += [*pending, *messages[shown:place], *hidden.before, hidden.turn]
            pending, shown = hidden.pending, place + 1
        if shown <= end:
            real += [*pending, *messages[shown : end + 1]]
            pending = []
        self.counts.spliced += 1
        self.counts.saved_tokens += len(ids)
        return Found(digests[end], ids.tolist(), end + 1, real, list(pending))

    def _with_reasoning(
        self, digests: Sequence[Digest], messages: Sequence[JsonObject], known: Sequence[int]
    ) -> list[JsonObject]:
        """The messages with what the model thought, which many clients leave out."""
        whole = list(messages)
        for place in known:
            reasoning = self._turns[digests[place]].reasoning
            if reasoning:
                whole[place] = {**whole[place], "reasoning_content": reasoning}
        return whole


def ids_of(tokens: Sequence[int]) -> array[int]:
    """Token ids in the form in which turns hold them."""
    return array(_IDS, tokens)


def beginning(*parts: object) -> Digest:
    """The digest of an empty conversation with all that stands at its front: whose it is, its tools."""
    return _digest(b"", list(parts))


def digests_after(last: Digest, messages: Sequence[JsonObject]) -> list[Digest]:
    """The digests after each of ``messages``."""
    digests = []
    for message in messages:
        last = _digest(last, _said(message))
        digests.append(last)
    return digests


def _said(message: JsonObject) -> list[object]:
    """What counts of a message. Calls hold arguments as values by now, so their JSON's spelling does not matter."""
    calls = [
        (call.get("id"), call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ]
    return [message["role"], message["content"], message.get("tool_call_id"), calls]


def _digest(last: Digest, value: object) -> Digest:
    encoded = msgspec.json.encode(value, order="deterministic")
    return hashlib.blake2b(last + encoded, digest_size=20).digest()

"""One response while it is made: the task behind it, its stream of events, its end, and its way into the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from ....engine import Tokenizer
from ...agent.events import Answer, Event, Failed, StepFinished
from ...agent.running import running
from ...json_values import JsonObject
from ...store.containers import StoredContainer
from ...store.responses import UNFINISHED, StoredResponse
from ..errors import ApiError, from_exception
from ..hosted import failure
from ..hosted_task import HostedTask
from .body import count, new_usage, terminal
from .calls import CallItems
from .output import Output, Sink
from .tools import Face

log = logging.getLogger(__name__)


_LAST_WORDS = 10.0  # seconds for telling a client of the end


@dataclass
class Run:
    """
    Args:
        body: the response object, which grows.
        task: what works.
        faces: as what the calls of tools appear, by what the model calls these.
        tokenizer: the model's.
        container: the id of the container that hosted tools work in.
        owner: whose it is. input: the request's items. include: what the client wants to see beyond the usual.
        keep: stores the run and the events of its log; None when it is not to be stored.
        fresh: the container, if it was made for this response.
        listings: items about servers whose tools the conversation has not been told of.
    """

    body: JsonObject
    task: HostedTask
    faces: Mapping[str, Face]
    tokenizer: Tokenizer
    container: str
    owner: str
    input: list[JsonObject]
    include: Sequence[str] = ()
    keep: Callable[[Run, list[JsonObject]], Awaitable[None]] | None = None
    listings: Sequence[JsonObject] = ()
    fresh: StoredContainer | None = None
    output: Output = field(init=False)
    log: list[JsonObject] | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    grown: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.sink: Sink | None = None
        self.error: ApiError | None = None
        self.output = Output(self._record, CallItems(self.faces, self.container), self.include, self.tokenizer)

    @property
    def id(self) -> str:
        return self.body["id"]

    def stored(self) -> StoredResponse:
        """The response as it is now."""
        items = self.output.items
        return StoredResponse(
            self.id, self.owner, self.body, self.input, items, self.body["previous_response_id"],
            created=float(self.body["created_at"]),
        )  # fmt: skip

    async def work(self, sink: Sink | None = None) -> None:
        """Make the response; ``sink`` takes its events, of which the last one is terminal. It does not raise.

        Cancelling it stops model and tools; what there is then is stored.
        """
        self.sink = sink
        finished = False
        try:
            with self.scope:
                await self._work()
                finished = True
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await self._end(finished)
                finally:
                    self.ended.set()
                    self.grown.set()

    async def cancel(self) -> None:
        """Stop and wait until it has."""
        self.scope.cancel()
        await self.ended.wait()

    def fail(self, error: ApiError) -> None:
        """Stop because of ``error``, which the client is told. Others wait for ``ended``."""
        if self.body["status"] in ("queued", "in_progress"):
            self._fail(error)
        self.scope.cancel()

    async def follow(self, sink: Sink, after: int = -1) -> None:
        """Give ``sink`` the events whose sequence numbers are above ``after``, the last of which is terminal."""
        assert self.log is not None
        place = max(0, after + 1)
        while True:
            grown = self.grown
            while place < len(self.log):
                await sink(self.log[place])
                place += 1
            if self.ended.is_set() and place >= len(self.log):
                return
            await grown.wait()

    async def _record(self, event: JsonObject) -> None:
        """Log and tell an event. If it cannot be told, the response has failed; those after it are told if they can."""
        if self.log is not None:
            self.log.append(event)
            self.grown.set()
            self.grown = anyio.Event()
        if self.sink is not None:
            try:
                await self.sink(event)
            except Exception as error:
                self._fail(from_exception(error))
                self.scope.cancel()

    async def _work(self) -> None:
        try:
            await self._snapshot("response.created")
            if self.body["status"] == "queued":
                await self._snapshot("response.queued")
                self.body["status"] = "in_progress"
            await self._snapshot("response.in_progress")
            for item in self.listings:
                await self._list(item)
            self.body["usage"] = new_usage()
            async with self.task, running(self.task.run) as events:
                async for event in events:
                    self._note(event)
                    await self.output.take(event)
        except Exception as error:
            self._fail(from_exception(error))

    def _note(self, event: Event) -> None:
        match event:
            case StepFinished():
                count(self.body["usage"], event.usage)
            case Answer(_, "length") | Failed("length" | "max_steps"):
                self.body["status"] = "incomplete"
                self.body["incomplete_details"] = {"reason": "max_output_tokens"}
            case Failed():
                raise failure(event)

    def _fail(self, error: ApiError) -> None:
        self.error = error
        self.body["status"] = "failed"
        self.body["error"] = {"code": error.code or "server_error", "message": error.message}

    async def _end(self, finished: bool) -> None:
        body = self.body
        with anyio.move_on_after(_LAST_WORDS):  # a client that has stopped reading must not hold the end up
            await self.output.end()
        if body["status"] in UNFINISHED:
            body["status"] = "completed" if finished else "cancelled"
        body["output"] = [self.output.shown(item) for item in self.output.items]
        if body["status"] == "completed":
            body["completed_at"] = int(time.time())
        last = self.output.numbered({"type": terminal(body["status"]), "response": dict(body)})
        # First stored, then told: a client that has read the last event finds the response.
        if self.keep is not None:
            try:
                await self.keep(self, [*(self.log or ()), last])
            except Exception:
                log.exception("the response %s could not be stored", self.id)
        with anyio.move_on_after(_LAST_WORDS):
            await self._record(last)

    async def _snapshot(self, kind: str) -> None:
        await self.output.emit({"type": kind, "response": dict(self.body)})

    async def _list(self, item: JsonObject) -> None:
        end = "completed" if item["error"] is None else "failed"
        kinds = (f"response.mcp_list_tools.{kind}" for kind in ("in_progress", end))
        await self.output.whole(item, *({"type": kind} for kind in kinds))

"""Makes responses of requests, and keeps track of those that run."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup
from pydantic import ValidationError

from ....tools import Session
from ....tools.remote.search import deferred
from ...external.external import External
from ...hands import Hands
from ...http.caller import Caller
from ...http.drain import Drain, stopping
from ...http.keys import Limits
from ...http.limits import Limiter
from ...json_values import JsonObject
from ...served import ServedModel
from ...state import State
from ...store.containers import StoredContainer
from ...store.responses import StoredResponse
from ..containers import ContainerService
from ..errors import ApiError, from_validation, rate_limited
from ..hosted_task import Lent, begin
from ..network import hosts_of
from ..prepare import count_tokens, served_name
from ..privileges import check_priority
from ..schemas import ChatRequest
from .body import new_body
from .compaction import Compaction, compact
from .history import History, read_history
from .items import ItemError, Read, read_items
from .mcp.lending import lend
from .mcp.listing import own_listings
from .output import LOGPROBS
from .run import Run
from .schemas import EXTRAS, InputRequest, ResponseRequest
from .tools import NewContainer, RequestTools, chat_choice, read_tools

_MOST_REMEMBERED = 4096  # hosted calls whose results are kept for clients that send items back


class ResponseService:
    """Use it as an async context manager: responses in the background run inside it.

    Args:
        drain: says how long they may go on when it is left.
    """

    def __init__(
        self,
        served: ServedModel,
        hands: Hands,
        external: External,
        state: State,
        containers: ContainerService,
        *,
        drain: Drain,
    ) -> None:
        self._drain = drain
        self._served = served
        self._hands = hands
        self._external = external
        self._state = state
        self._containers = containers
        self._group: TaskGroup | None = None
        self._running: dict[str, Run] = {}
        self._background = Limiter()
        self._results: OrderedDict[tuple[str, str], Mapping[str, Any]] = OrderedDict()

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        with anyio.CancelScope(deadline=self._drain.begin()):
            for run in list(self._running.values()):
                await run.ended.wait()
        await self.stop()
        return await self._group.__aexit__(kind, error, trace)

    async def stop(self) -> None:
        """Fail what still runs, since the server stops."""
        running = list(self._running.values())
        for run in running:
            run.fail(stopping())
        for run in running:
            await run.ended.wait()

    async def prepare(self, request: ResponseRequest, caller: Caller) -> Run:
        """A checked request, ready to work. Raises :class:`ApiError` or EngineError."""
        _refuse(request)
        name = served_name(self._served, request.model)
        model, _ = self._served.now()
        history = await read_history(request, self._state, caller.name)
        offer = await self._hands.offer_for(self._served)
        tools = read_tools(request.tools or (), offer, self._served.config.model, self._external.labels)
        listings = own_listings(tools.labels, offer.registry, history.items)
        read = await self._read(history, tools, caller)
        lent, listed = await self._lend(tools, history, read, caller)
        chat, body_id = self._chat(request, read.messages, tools), f"resp_{secrets.token_hex(24)}"
        check_priority(chat, caller)
        container, fresh = "", None
        if tools.hosted:
            container, session, fresh = await self._container(tools, history, caller)
            chat = chat.model_copy(update={"hosted_tools": tools.hosted, "session_id": session.id})
        try:
            task = await begin(
                chat, self._served, self._hands, self._external, caller, stored=_continues(request), lent=lent
            )
        except BaseException:
            if fresh is not None:
                with anyio.CancelScope(shield=True):
                    await self._containers.remove(fresh)
            raise
        body = new_body(request, body_id, name, defaults=model.defaults)
        kept = request.store is not False
        return Run(
            body=body, task=task, faces=tools.faces, tokenizer=model.tokenizer, container=container,
            owner=caller.name, input=history.own,
            include=tuple(request.include or ()), keep=self._keep if kept else None,
            fresh=fresh, listings=[*listings, *listed],
        )  # fmt: skip

    async def count(self, request: InputRequest, caller: Caller) -> int:
        """Tokens of the input. Raises :class:`ApiError` or EngineError."""
        chat, _ = await self._asked(request, caller)
        return await count_tokens(chat, self._served, caller.name, stored=_continues(request))

    async def compact(self, request: InputRequest, caller: Caller) -> Compaction:
        """See :mod:`compaction`. Open Responses demands a model here. Raises :class:`ApiError` or EngineError."""
        if request.model is None:
            raise ApiError("Missing required parameter: 'model'.", code="missing_required_parameter", param="model")
        chat, history = await self._asked(request, caller)
        return await compact(chat, history.items, self._served, caller.name, stored=_continues(request))

    async def _asked(self, request: InputRequest, caller: Caller) -> tuple[ChatRequest, History]:
        """The input as chat completions have it, hosted tools among the others, and the items that it is made of."""
        served_name(self._served, request.model)
        history = await read_history(request, self._state, caller.name)
        offer = await self._hands.offer_for(self._served)
        tools = read_tools(request.tools or (), offer, self._served.config.model, self._external.labels)
        read = await self._read(history, tools, caller)
        lent, _ = await self._lend(tools, history, read, caller)
        own = [tool for name, tool in offer.registry.tools.items() if name in tools.hosted]
        hosted = [tool.spec.function() for tool in (*own, *lent.shown)]
        return self._chat(request, read.messages, tools, [*hosted, *tools.definitions]), history

    async def start(self, run: Run, caller: Caller) -> None:
        """Run in the background. Its events are logged for whoever follows; a restart finds it in the store.

        Those who may have so many requests at a time may have as many of these, counted apart so that they can still
        be asked for and cancelled. Raises :class:`ApiError` when there are as many already.
        """
        assert self._group is not None
        run.log = []
        run.body["status"] = "queued"
        try:
            wait = self._background.enter(caller.name, Limits(concurrent=caller.limits.concurrent))
            if wait is not None:
                raise rate_limited("This key has reached its limit of responses in the background.", wait)
            try:
                await self._state.responses.put(run.stored())
            except BaseException:
                self._background.leave(caller.name)
                raise
        except BaseException:
            await self.abandon(run)
            raise
        self._running[run.id] = run
        self._group.start_soon(self._work_behind, run)

    async def _work_behind(self, run: Run) -> None:
        try:
            await self.work(run)
        finally:
            self._background.leave(run.owner)

    async def work(self, run: Run, sink: Any = None) -> None:
        """Run to the end, here; see :meth:`Run.work`."""
        self._running[run.id] = run
        try:
            await run.work(sink)
        finally:
            del self._running[run.id]
            self._remember(run)
            if not run.task.used:
                await self.abandon(run)

    async def abandon(self, run: Run) -> None:
        """End the container that was made for a run, which has not used it and will not."""
        if run.fresh is not None:
            with anyio.CancelScope(shield=True):
                await self._containers.remove(run.fresh)

    def running(self, response_id: str, owner: str) -> Run | None:
        run = self._running.get(response_id)
        return run if run is not None and run.owner == owner else None

    async def find(self, response_id: str, owner: str) -> StoredResponse | None:
        """As it is now, if it is stored."""
        run = self.running(response_id, owner)
        if run is not None and run.keep is not None:
            return run.stored()
        return await self._state.responses.get(response_id, owner)

    async def cancel(self, response_id: str, owner: str) -> None:
        """Stop one that runs in the background."""
        run = self.running(response_id, owner)
        if run is not None:
            await run.cancel()

    async def delete(self, response_id: str, owner: str) -> bool:
        """Stop it if it runs, and forget it. False when there is no such response."""
        await self.cancel(response_id, owner)
        return await self._state.responses.delete(response_id, owner)

    async def _keep(self, run: Run, events: list[JsonObject]) -> None:
        stored = run.stored()
        if run.log is not None:
            stored = replace(stored, events="\n".join(map(json.dumps, events)))
        conversation = run.body["conversation"]
        if conversation is not None and run.body["status"] in ("completed", "incomplete"):
            await self._state.conversations.append(conversation["id"], [*stored.input, *stored.output])
        await self._state.responses.put(stored)
        turn = run.task.conversation.turn
        if turn is not None:
            await self._served.transcript.keep(turn, conversation["id"] if conversation else run.id)

    def _remember(self, run: Run) -> None:
        """What hosted tools gave back, for clients that keep their own history and send its items again."""
        for item in run.output.items:
            private = {key: value for key, value in item.items() if key.startswith("_")}
            if private:
                self._results[run.owner, item["id"]] = private
        while len(self._results) > _MOST_REMEMBERED:
            self._results.popitem(last=False)

    async def _read(self, history: History, tools: RequestTools, caller: Caller) -> Read:
        def private(item_id: str) -> Mapping[str, Any] | None:
            return self._results.get((caller.name, item_id))

        def read() -> Read:
            return read_items(items, private, tools.named, old=len(history.before))

        items = history.items
        sealed = any(item.get("encrypted_content") for item in items)
        try:  # what is sealed may be long, and is unpacked beside the event loop
            return await asyncio.to_thread(read) if sealed else read()
        except ItemError as error:
            place = f"input[{error.index - len(history.before)}]"
            raise ApiError(f"{place}: {error}", code="invalid_value", param=place) from error

    async def _lend(
        self, tools: RequestTools, history: History, read: Read, caller: Caller
    ) -> tuple[Lent, list[JsonObject]]:
        """The tools of external servers, and items about those listed now; from here on ``tools`` knows them."""
        lending = await lend(tools.servers, history.items, self._external, caller.name)
        tools.faces = {**lending.faces, **tools.faces}
        tools.labels |= lending.labels
        _, info = self._served.now()
        shown = deferred(lending.tools, info.max_model_len, lambda tool: tool.spec.name in lending.deferred)
        tools.hidden = frozenset(tool.spec.name for tool in lending.tools) - {tool.spec.name for tool in shown}
        approved = [tools.approved(call) for call in read.approved]
        return Lent(lending.tools, shown, tools.held, approved), lending.listings

    @staticmethod
    def _chat(
        request: InputRequest,
        messages: list[JsonObject],
        tools: RequestTools,
        definitions: list[JsonObject] | None = None,
    ) -> ChatRequest:
        """The request as chat completions have it."""
        if request.instructions:
            messages.insert(0, {"role": "system", "content": request.instructions})
        if not messages:
            raise ApiError("There is no input.", code="missing_required_parameter", param="input")
        fields: JsonObject = {
            "messages": messages,
            "tools": tools.definitions if definitions is None else definitions,
            "tool_choice": chat_choice(request.tool_choice, tools),
            "parallel_tool_calls": request.parallel_tool_calls,
            "reasoning_effort": request.reasoning.effort if request.reasoning else None,
            "response_format": _format(request),
            "truncation": request.truncation,
        }
        if isinstance(request, ResponseRequest):
            fields |= {
                "max_completion_tokens": request.max_output_tokens, "max_tool_calls": request.max_tool_calls,
                "temperature": request.temperature, "top_p": request.top_p, "user": request.user,
                "logprobs": bool(request.top_logprobs) or LOGPROBS in (request.include or ()),
                "top_logprobs": request.top_logprobs,
            }  # fmt: skip
            extra = request.model_extra or {}
            fields |= {name: extra[name] for name in EXTRAS if name in extra}
        try:
            return ChatRequest.model_validate(fields)
        except ValidationError as error:
            raise from_validation(error) from error

    async def _container(
        self, tools: RequestTools, history: History, caller: Caller
    ) -> tuple[str, Session, StoredContainer | None]:
        """The container that the request names, else the last one of the conversation that is alive, else a new one.

        A request that says what code may reach does not go on in a container where it may reach other hosts. Gives its
        id, its session, and the container itself if it is new.
        """
        wanted = tools.container or NewContainer()
        if isinstance(wanted, str):
            container, session = await self._containers.open(wanted, caller.name)
            return container.id, session, None
        hosts = hosts_of(wanted.network, self._hands, wanted.param)
        for item in reversed(history.before):
            used = item.get("container_id") or item.get("_container")
            if used:
                try:
                    container, session = await self._containers.open(used, caller.name)
                except ApiError:
                    break
                if hosts is not None and set(hosts) != set(self._hands.hosts(session)):
                    break
                return container.id, session, None
        container, session = await self._containers.create(caller.name, file_ids=wanted.files, hosts=hosts)
        return container.id, session, container


def _refuse(request: ResponseRequest) -> None:
    if request.prompt is not None:
        raise ApiError("Stored prompts are not supported here.", code="unsupported_value", param="prompt")
    if request.background and request.store is False:
        raise ApiError("background needs store to be true.", code="invalid_value", param="background")


def _continues(request: InputRequest) -> bool:
    return bool(request.previous_response_id or request.conversation_id)


def _format(request: InputRequest) -> JsonObject | None:
    if request.text is None or request.text.format is None:
        return None
    format = request.text.format
    if format.type != "json_schema":
        return {"type": format.type}
    return {"type": "json_schema", "json_schema": format.model_extra}

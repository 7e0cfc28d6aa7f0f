"""A request whose tools run here, checked and ready: the loop, its conversation and the session it works in."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Self

import anyio

from ...tools import Registry, Session, Tool, ToolContext, UnknownSession, WorkspaceError
from ...tools.remote.names import label_of
from ...tools.remote.search import deferred
from ..agent.dispatch import Emit, dispatch
from ..agent.events import Call, CallBegun, CallFinished, CallStarted, CallWritten, Event, StepStarted
from ..agent.hosted_tools import GROUPS, NotOffered, select
from ..agent.loop import USED_UP, Loop
from ..agent.plan import Limits, Plan
from ..chat.conversation import Conversation
from ..external.external import External
from ..external.offered import Listed, split, unattended
from ..hands import Hands
from ..http.caller import Caller
from ..json_values import JsonObject
from ..observe.calls import UNKNOWN, ToolCall
from ..served import ServedModel
from .errors import ApiError, no_workspace
from .prepare import Prepared, prepare
from .schemas import ChatRequest, FunctionDefinition, ToolDefinition


@dataclass(frozen=True)
class Lent:
    """External tools of one request, and what must be approved.

    Args:
        tools: those of external servers.
        shown: what the model is told of: the same, or what searches and calls those that it is not told of.
        held: whether a call must be approved before it runs; it then ends the turn.
        approved: calls of an earlier turn that may run now. In the chat's messages they have results that are empty.
    """

    tools: Sequence[Tool] = ()
    shown: Sequence[Tool] = ()
    held: Callable[[Call], bool] = lambda call: False
    approved: Sequence[Call] = ()


@dataclass
class HostedTask:
    """Use it as an async context manager around :meth:`run`.

    Args:
        loop: what works on ``conversation`` with ``tools``.
        lent: external tools. limits: of all calls, those that were approved among them.
        new_session: nobody has named the session before. passing: nobody will name it again.
        resume: makes the loop that works on when calls that were approved are done, of their results by the calls' ids.

    Attributes:
        used: one of our tools was called.
    """

    loop: Loop
    conversation: Conversation
    tools: Registry
    session: Session | None
    hands: Hands
    new_session: bool
    passing: bool
    lent: Lent
    limits: Limits
    resume: Callable[[Mapping[str, str]], Awaitable[tuple[Loop, Conversation]]]
    used: bool = field(default=False, init=False)

    async def run(self, emit: Emit) -> None:
        """Work until the answer; see :class:`Loop`."""

        async def watched(event: Event) -> None:
            if isinstance(event, CallStarted):
                self.used = True
            elif isinstance(event, CallFinished) and self.session is not None:
                self._note(event, self.session)
            await emit(event)

        if self.lent.approved:
            outputs = await self._approved(watched)
            self.loop, self.conversation = await self.resume(outputs)
        await self.loop.run([], watched)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """A session that was made for this task goes again if no call has used it, or only external ones could."""
        if self.session is not None and self.new_session and (self.passing or not self.used):
            with anyio.CancelScope(shield=True), suppress(UnknownSession):
                await self.hands.sessions.close(self.session.id, self.session.owner)

    def _note(self, event: CallFinished, session: Session) -> None:
        if self.hands.on_call is None:
            return
        external = any(tool.spec.name == event.tool for tool in self.lent.tools)
        name = event.tool if external or event.tool in self.tools.tools else UNKNOWN
        call = ToolCall(
            "api", session.owner, session.id, name, event.id, "error" if event.is_error else "ok",
            len(event.arguments), len(event.output), event.seconds, external,
        )  # fmt: skip
        self.hands.on_call(call)

    async def _approved(self, emit: Emit) -> dict[str, str]:
        """The outputs of the calls that were approved, by their ids. They belong to no turn of this task."""
        await emit(StepStarted(0, secrets.token_hex(11)))
        most = self.limits.max_tool_calls
        calls, refused = self.lent.approved[:most], self.lent.approved[most:]
        for call in calls:
            await emit(CallBegun(call.id, call.name))
            await emit(CallWritten(call.id, call.name, call.arguments))
        assert self.session is not None
        tools = Registry({**Registry.of(self.lent.tools).tools, **self.tools.tools})
        outputs = await dispatch(calls, tools, ToolContext(self.session), max_output=self.loop.readable, emit=emit)
        made = {call.id: output for call, output in zip(calls, outputs, strict=True)}
        return {**made, **{call.id: USED_UP for call in refused}}


async def begin(
    chat: ChatRequest,
    served: ServedModel,
    hands: Hands,
    external: External,
    caller: Caller,
    *,
    stored: bool = False,
    lent: Lent | None = None,
) -> HostedTask:
    """Check ``chat`` and make it ready. Raises :class:`ApiError` or EngineError.

    Args:
        stored: its conversation is in the store.
        lent: external tools; None for those that ``hosted_tools`` names and that may be called without asking.
    """
    model, info = served.now()
    session = await _session(chat.session_id, hands, caller) if chat.session_id is not None else None
    own, lent, listed = await _chosen(chat, served, hands, external, session, lent)
    tools = Registry.of([*own.tools.values(), *lent.shown])
    defined = [tool.custom or tool.function for tool in chat.tools or ()]
    foreign = frozenset(definition.name for definition in defined if definition is not None)
    for name in foreign.intersection(tools.tools):
        raise ApiError(f"tools has {name!r}, and so have hosted_tools.", code="invalid_value", param="tools")
    both = chat.model_copy(update={"tools": [*_definitions(tools), *(chat.tools or ())], "session_id": None})
    prepared = await prepare(both, served, caller.name, stored=stored)
    if tools.tools and session is None:
        session = await _session(None, hands, caller)
    if session is not None:
        session.keep(Listed, lambda: listed)
    context = ToolContext(session) if session is not None else None

    limits = _limits(chat)

    def work(prepared: Prepared, made: int = 0) -> Loop:
        left = replace(limits, max_tool_calls=max(0, limits.max_tool_calls - made))
        return Loop(
            served.engine, model, info, prepared.conversation, _plan(both, prepared), tools, context,
            limits=left, foreign=foreign, held=lent.held,
        )  # fmt: skip

    async def resume(outputs: Mapping[str, str]) -> tuple[Loop, Conversation]:
        messages = [_with_output(message, outputs) for message in both.messages]
        again = await prepare(both.model_copy(update={"messages": messages}), served, caller.name, stored=stored)
        return work(again, len(outputs)), again.conversation

    return HostedTask(
        work(prepared), prepared.conversation, tools, session, hands, chat.session_id is None,
        not chat.hosted_tools, lent, limits, resume,
    )  # fmt: skip


async def _chosen(
    chat: ChatRequest,
    served: ServedModel,
    hands: Hands,
    external: External,
    session: Session | None,
    lent: Lent | None,
) -> tuple[Registry, Lent, Listed]:
    """The tools of this server, and the external ones, that the request may use."""
    listed = session.keep(Listed, Listed) if session is not None else Listed()
    wanted = chat.hosted_tools or ()
    if not wanted:
        return Registry(), lent or Lent(), listed
    offer = await hands.offer_for(served)
    try:
        own, others = split(wanted, {*GROUPS, "all", *offer.registry.tools}, external)
        chosen = select(own, offer, served.config.model)
        if lent is None and others:
            there = await unattended(others, external, listed)
            _, info = served.now()
            lent = Lent(
                there, deferred(there, info.max_model_len, lambda tool: label_of(tool.spec.name) in external.deferred)
            )
    except NotOffered as error:
        raise ApiError(str(error), code="invalid_value", param="hosted_tools") from error
    return chosen, lent or Lent(), listed


def _definitions(tools: Registry) -> list[ToolDefinition]:
    return [
        ToolDefinition(
            function=FunctionDefinition(name=spec.name, description=spec.description, parameters=spec.parameters)
        )
        for spec in tools.specs()
    ]


def _limits(chat: ChatRequest) -> Limits:
    return Limits(
        max_turn_tokens=None,
        max_tokens=chat.max_tokens if chat.max_completion_tokens is None else chat.max_completion_tokens,
        max_tool_calls=Limits.max_tool_calls if chat.max_tool_calls is None else chat.max_tool_calls,
        insist=True,
    )


def _plan(chat: ChatRequest, prepared: Prepared) -> Plan:
    """A forced call is forced once; afterwards the model chooses."""
    choice = prepared.tools.choice
    program = {"program": chat.program} if chat.program else {}
    return Plan(
        prepared.sampling, prepared.tools.functions, choice, replace(choice, mode="auto", name=None),
        replace(choice, mode="none", name=None), prepared.text, chat.thinking_token_budget,
        prepared.stop, bool(chat.include_stop_str_in_output),
        priority=chat.priority or 0, cache_salt=prepared.cache_salt, **program,
    )  # fmt: skip


def _with_output(message: JsonObject, outputs: Mapping[str, str]) -> JsonObject:
    output = outputs.get(message.get("tool_call_id", ""))
    return message if output is None else {**message, "content": output}


async def _session(session_id: str | None, hands: Hands, caller: Caller) -> Session:
    try:
        if session_id is None:
            return await hands.sessions.create(caller.name)
        return hands.sessions.get(session_id, caller.name)
    except UnknownSession as error:
        message = "There is no such session: it may have expired. Leave session_id out to start a new one."
        raise ApiError(message, status=404, code="session_not_found", param="session_id") from error
    except WorkspaceError as error:
        raise no_workspace(error) from error

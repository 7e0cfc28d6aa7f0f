"""A request whose tools run here, checked and ready: the loop, its conversation and the session it works in."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Self

import anyio

from ...tools import Registry, Session, ToolContext, UnknownSession, WorkspaceError
from ..agent.dispatch import Emit
from ..agent.events import CallFinished, CallStarted, Event
from ..agent.hosted_tools import NotOffered, select
from ..agent.loop import Loop
from ..agent.plan import Limits, Plan
from ..chat.conversation import Conversation
from ..hands import Hands
from ..http.caller import Caller
from ..observe import audit
from ..served import ServedModel
from .errors import ApiError
from .prepare import Prepared, prepare
from .schemas import ChatRequest, FunctionDefinition, ToolDefinition


@dataclass
class HostedTask:
    """Use it as an async context manager around :meth:`run`.

    Attributes:
        used: one of our tools was called.
    """

    loop: Loop
    conversation: Conversation
    tools: Registry
    session: Session | None
    hands: Hands
    new_session: bool
    used: bool = field(default=False, init=False)

    async def run(self, emit: Emit) -> None:
        """Work until the answer; see :class:`Loop`."""

        async def watched(event: Event) -> None:
            if isinstance(event, CallStarted):
                self.used = True
            elif isinstance(event, CallFinished) and self.session is not None:
                audit.record(self.session.owner, self.session.id, event)
                if self.hands.on_call is not None:
                    self.hands.on_call(event.tool, "error" if event.is_error else "ok", event.seconds)
            await emit(event)

        await self.loop.run([], watched)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """A session that was made for this task and that no call has used goes again."""
        if self.session is not None and self.new_session and not self.used:
            with anyio.CancelScope(shield=True), suppress(UnknownSession):
                await self.hands.sessions.close(self.session.id, self.session.owner)


async def begin(
    chat: ChatRequest, served: ServedModel, hands: Hands, caller: Caller, *, stored: bool = False
) -> HostedTask:
    """Check ``chat`` and make it ready; ``stored`` as of a Conversation. Raises :class:`ApiError` or EngineError."""
    wanted = chat.hosted_tools or ()
    try:
        tools = select(wanted, await hands.offer(), served.names[0]) if wanted else Registry()
    except NotOffered as error:
        raise ApiError(str(error), code="invalid_value", param="hosted_tools") from error
    foreign = frozenset(tool.function.name for tool in chat.tools or () if tool.function is not None)
    for name in foreign.intersection(tools.tools):
        raise ApiError(f"tools has {name!r}, and so have hosted_tools.", code="invalid_value", param="tools")
    both = chat.model_copy(update={"tools": [*_definitions(tools), *(chat.tools or ())], "session_id": None})
    prepared = await prepare(both, served, caller.name, stored=stored)
    session = await _session(chat.session_id, hands, caller) if tools.tools else None
    limits = Limits(
        max_turn_tokens=None,
        max_tokens=chat.max_tokens if chat.max_completion_tokens is None else chat.max_completion_tokens,
        max_tool_calls=Limits.max_tool_calls if chat.max_tool_calls is None else chat.max_tool_calls,
        insist=True,
    )
    model, info = served.now()
    loop = Loop(
        served.engine, model, info, prepared.conversation, _plan(both, prepared), tools,
        ToolContext(session) if session is not None else None, limits=limits, foreign=foreign,
    )  # fmt: skip
    return HostedTask(loop, prepared.conversation, tools, session, hands, chat.session_id is None)


def _definitions(tools: Registry) -> list[ToolDefinition]:
    return [
        ToolDefinition(
            function=FunctionDefinition(name=spec.name, description=spec.description, parameters=spec.parameters)
        )
        for spec in tools.specs()
    ]


def _plan(chat: ChatRequest, prepared: Prepared) -> Plan:
    """A forced call is forced once; afterwards the model chooses."""
    choice = prepared.tools.choice
    program = {"program": chat.program} if chat.program else {}
    return Plan(
        prepared.sampling, prepared.tools.functions, choice, replace(choice, mode="auto", name=None),
        replace(choice, mode="none", name=None), prepared.text, prepared.stop,
        bool(chat.include_stop_str_in_output), priority=chat.priority or 0, cache_salt=prepared.cache_salt, **program,
    )  # fmt: skip


async def _session(session_id: str | None, hands: Hands, caller: Caller) -> Session:
    try:
        if session_id is None:
            return await hands.sessions.create(caller.name)
        return hands.sessions.get(session_id, caller.name)
    except UnknownSession as error:
        message = "There is no such session: it may have expired. Leave session_id out to start a new one."
        raise ApiError(message, status=404, code="session_not_found", param="session_id") from error
    except WorkspaceError as error:
        raise ApiError(str(error), status=503, code="no_workspace") from error

"""One agent of a person at a terminal: a conversation, tools and the session they work in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream

from ...engine import AsyncEngine, EngineInfo, SamplingParams
from ...tools.spec import Registry, ToolContext
from ..chat.conversation import Conversation
from ..chat.formats import FunctionTool
from ..chat.model import ChatModel
from .dispatch import Emit
from .events import Answer, Event, Failed, StepFinished
from .loop import Loop
from .plan import Limits, Plan
from .running import running


class Agent:
    """Tasks run one after the other, and each remembers those before it.

    Args:
        engine, model, info: what generates.
        tools: what the model may call; without any it is a chat.
        context: handed to the tools.
        system: the system message.
        temperature: None takes the model's recommendation, or greedy where it has none.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        model: ChatModel,
        info: EngineInfo,
        tools: Registry,
        context: ToolContext,
        *,
        system: str | None = None,
        temperature: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        specs = tools.specs()
        self.conversation = Conversation(model, [spec.function() for spec in specs], system)
        wanted = {} if temperature is None else {"temperature": temperature}
        sampling = msgspec.convert({"temperature": 0.0, **model.defaults, **wanted}, SamplingParams)
        self._plan = Plan(sampling, [FunctionTool(spec.name, spec.parameters) for spec in specs])
        self._limits = limits or Limits()
        self._parts = (engine, model, info)
        self._tools = tools
        self._context = context

    @asynccontextmanager
    async def run(self, task: str) -> AsyncIterator[MemoryObjectReceiveStream[Event]]:
        """Work on ``task``; the events end with Answer or Failed. Leaving the context early stops model and tools."""
        loop = Loop(*self._parts, self.conversation, self._plan, self._tools, self._context, limits=self._limits)
        message = {"role": "user", "content": task}
        async with running(lambda emit: loop.run([message], _strict(emit))) as events:
            yield events


def _strict(emit: Emit) -> Emit:
    """For a person an empty answer, or half of one, is a failure."""
    written = 0

    async def strictly(event: Event) -> None:
        nonlocal written
        match event:
            case StepFinished():
                written = event.usage.completion_tokens
            case Answer(_, "length"):
                event = Failed("length", f"The model's turn was cut off after {written} tokens.")
            case Answer() if not event.text.strip():
                event = Failed("empty", "The model ended its turn without an answer.")
        await emit(event)

    return strictly

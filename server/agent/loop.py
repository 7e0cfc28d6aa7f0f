"""The hosted loop: generate, run the calls, append their results, generate again, until the model answers.

The next prompt is the last one plus the generated ids plus the newly tokenised results, token for token, so the
engine's prefix cache holds everything but what is new.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream

from ...engine import AsyncEngine, EngineError, EngineInfo, Grammar, Request, SamplingParams
from ...engine.errors import ContextOverflow
from ...tools.spec import Registry, ToolContext
from ..chat.conversation import Conversation
from ..chat.formats import CallArguments, CallStart, FunctionTool, TextDelta, ToolChoice
from ..chat.generate import FinishReason, Generation
from ..chat.model import ChatModel
from ..chat.template import TemplateError
from .dispatch import Call, Emit, dispatch
from .events import Answer, Event, Failed, Failure, StepFinished, Text

JsonObject = dict[str, Any]

_LONGEST_OUTPUT = 32_000


@dataclass(frozen=True)
class Limits:
    """When a task is given up.

    Attributes:
        max_steps: turns of the model. max_tool_calls: calls in all.
        max_turn_tokens: tokens of one turn.
        max_output: characters of one tool result that the model gets to read; None follows from its context length.
    """

    max_steps: int = 24
    max_tool_calls: int = 64
    max_turn_tokens: int = 4096
    max_output: int | None = None


@dataclass
class _Turn:
    text: str
    calls: list[Call]
    finish_reason: FinishReason


class _GivenUp(Exception):
    def __init__(self, reason: Failure, message: str) -> None:
        super().__init__(message)
        self.reason: Failure = reason


class Agent:
    """One agent: a conversation, tools and the session they work in. Tasks run one after the other.

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
        self._engine = engine
        self._model = model
        self._info = info
        self._tools = tools
        self._context = context
        self._limits = limits or Limits()
        self._program = f"agent-{secrets.token_hex(8)}"
        self._grammar = _grammar(model, [FunctionTool(spec.name, spec.parameters) for spec in specs])
        wanted = {} if temperature is None else {"temperature": temperature}
        self._sampling = msgspec.convert({"temperature": 0.0, **model.defaults, **wanted}, SamplingParams)

    @asynccontextmanager
    async def run(self, task: str) -> AsyncIterator[MemoryObjectReceiveStream[Event]]:
        """Work on ``task``; the events end with Answer or Failed. Leaving the context early stops model and tools."""
        send, receive = anyio.create_memory_object_stream[Event](64)

        async def work() -> None:
            async with send:
                await self._work(task, send.send)

        async with anyio.create_task_group() as group, receive:
            group.start_soon(work)
            yield receive
            group.cancel_scope.cancel()

    async def _work(self, task: str, emit: Emit) -> None:
        following: list[JsonObject] = [{"role": "user", "content": task}]
        calls_made = 0
        try:
            for step in range(1, self._limits.max_steps + 1):
                turn = await self._turn(step, following, emit)
                if not turn.calls:
                    if not turn.text.strip():
                        raise _GivenUp("empty", "The model ended its turn without an answer.")
                    await emit(Answer(turn.text))
                    return
                calls_made += len(turn.calls)
                if calls_made > self._limits.max_tool_calls:
                    limit = self._limits.max_tool_calls
                    raise _GivenUp("max_tool_calls", f"The task is not done after {limit} tool calls.")
                following = await self._results(turn.calls, emit)
            raise _GivenUp("max_steps", f"The task is not done after {self._limits.max_steps} steps.")
        except _GivenUp as end:
            await emit(Failed(end.reason, str(end)))
        except ContextOverflow as error:
            await emit(Failed("context_length_exceeded", str(error)))
        except EngineError as error:
            await emit(Failed("engine", str(error)))
        except TemplateError as error:
            await emit(Failed("template", str(error)))

    async def _turn(self, step: int, following: list[JsonObject], emit: Emit) -> _Turn:
        prompt = await self.conversation.prompt(following)
        room = self._info.max_model_len - len(prompt)
        if room < 1:
            raise _GivenUp(
                "context_length_exceeded",
                f"The conversation has grown to {len(prompt)} tokens; this model's maximum context length is "
                f"{self._info.max_model_len} tokens.",
            )
        most = min(room, self._limits.max_turn_tokens)
        sampling = msgspec.structs.replace(self._sampling, max_tokens=most, grammar=self._grammar)
        request = Request(id=secrets.token_hex(12), prompt=prompt, sampling=sampling, program=self._program)
        begun = time.monotonic()
        generation = await Generation.start(self._engine, self._model, request, tools=self._grammar is not None)
        first_token: float | None = None
        turn = _Turn("", [], "stop")
        try:
            async for piece in generation:
                first_token = first_token or time.monotonic() - begun
                for delta in piece.deltas:
                    match delta:
                        case TextDelta():
                            turn.text += delta.text
                            await emit(Text(delta.text))
                        case CallStart():
                            turn.calls.append(Call(delta.name))
                        case CallArguments():
                            turn.calls[delta.index].arguments += delta.text
                turn.finish_reason = piece.finish_reason or turn.finish_reason
        finally:
            await generation.aclose()
        ended = turn.finish_reason == "stop"
        calls = [(call.id, call.name, call.arguments) for call in turn.calls]
        self.conversation.append_turn(turn.text, calls, generation.token_ids, ended=ended)
        await emit(StepFinished(step, generation.usage, first_token or 0.0, time.monotonic() - begun))
        if not ended:
            raise _GivenUp("length", f"The model's turn was cut off after {generation.usage.completion_tokens} tokens.")
        return turn

    async def _results(self, calls: list[Call], emit: Emit) -> list[JsonObject]:
        longest = self._limits.max_output or min(self._info.max_model_len, _LONGEST_OUTPUT)
        outputs = await dispatch(calls, self._tools, self._context, max_output=longest, emit=emit)
        return [
            {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": output}
            for call, output in zip(calls, outputs, strict=True)
        ]


def _grammar(model: ChatModel, functions: list[FunctionTool]) -> Grammar | None:
    if not functions or model.format is None:
        return None
    tag = model.format.grammar(functions, ToolChoice("auto"))
    return Grammar("structural_tag", json.dumps(tag, ensure_ascii=False))

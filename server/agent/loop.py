"""The hosted loop: generate, run the calls, append their results, generate again, until the model answers.

The next prompt is the last one plus the generated ids plus the newly tokenised results, token for token, so the
engine's prefix cache holds everything but what is new.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from ...engine import AsyncEngine, EngineError, EngineInfo, Grammar, Request
from ...engine.errors import ContextOverflow
from ...engine.request import TokenLogprob
from ...tools.spec import Registry, ToolContext
from ..chat.conversation import Conversation
from ..chat.formats import CallArguments, CallStart, ReasoningDelta, TextDelta, ToolChoice
from ..chat.generate import FinishReason, Generation
from ..chat.model import ChatModel
from ..chat.template import TemplateError
from ..json_values import JsonObject
from .dispatch import Emit, dispatch
from .events import (
    Answer,
    Call,
    CallBegun,
    CallWriting,
    CallWritten,
    Failed,
    Failure,
    HandedOver,
    Reasoning,
    StepFinished,
    StepStarted,
    Text,
)
from .plan import Limits, Plan

_LONGEST_OUTPUT = 32_000


@dataclass
class _Turn:
    reasoning: str = ""
    text: str = ""
    calls: list[Call] = field(default_factory=list)
    finish_reason: FinishReason = "stop"


class _GivenUp(Exception):
    def __init__(self, reason: Failure, message: str) -> None:
        super().__init__(message)
        self.reason: Failure = reason


class Loop:
    """One task in a conversation.

    Args:
        engine, model, info: what generates.
        conversation: what was said before; it grows.
        plan: what every turn asks of the engine.
        tools: those that are run here. A call of any other tool ends the loop with HandedOver, unless ``foreign`` is
            empty: then the model is told that there is no such tool.
        context: handed to the tools; None when there are none.
        foreign: names of tools that somebody else runs.
        held: whether a call of ours must not run yet; it is handed over too.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        model: ChatModel,
        info: EngineInfo,
        conversation: Conversation,
        plan: Plan,
        tools: Registry,
        context: ToolContext | None,
        *,
        limits: Limits,
        foreign: frozenset[str] = frozenset(),
        held: Callable[[Call], bool] = lambda call: False,
    ) -> None:
        self._engine = engine
        self._model = model
        self._info = info
        self._conversation = conversation
        self._plan = plan
        self._tools = tools
        self._context = context
        self._limits = limits
        self._foreign = foreign
        self._held = held
        self._calls_left = limits.max_tool_calls
        self._tokens_left = limits.max_tokens

    @property
    def readable(self) -> int:
        """Characters of one tool result that the model gets to read."""
        return self._limits.max_output or min(self._info.max_model_len, _LONGEST_OUTPUT)

    async def run(self, following: Sequence[JsonObject], emit: Emit) -> None:
        """Go on with ``following``; the last event is Answer, HandedOver or Failed."""
        try:
            await self._run(list(following), emit)
        except _GivenUp as end:
            await emit(Failed(end.reason, str(end)))
        except ContextOverflow as error:
            await emit(Failed("context_length_exceeded", str(error), error))
        except EngineError as error:
            await emit(Failed("engine", str(error), error))
        except TemplateError as error:
            await emit(Failed("template", str(error)))

    async def _run(self, following: list[JsonObject], emit: Emit) -> None:
        for step in range(1, self._limits.max_steps + 1):
            turn = await self._turn(step, following, emit)
            if turn.finish_reason == "length" or not turn.calls:
                await emit(Answer(turn.text, turn.finish_reason))
                return
            handed = tuple(call for call in turn.calls if call.name in self._foreign or self._held(call))
            ours = [call for call in turn.calls if call not in handed]
            following = await self._results(ours, emit)
            if handed:
                self._conversation.pending = following
                await emit(HandedOver(handed))
                return
        self._conversation.pending = following
        raise _GivenUp("max_steps", f"The task is not done after {self._limits.max_steps} steps.")

    async def _turn(self, step: int, following: list[JsonObject], emit: Emit) -> _Turn:
        name = secrets.token_hex(11)
        await emit(StepStarted(step, name))
        prompt = await self._conversation.prompt(following)
        plan = self._plan
        sampling = msgspec.structs.replace(
            plan.sampling, max_tokens=self._room(len(prompt)), grammar=self._grammar(step, prompt)
        )
        request = Request(
            id=secrets.token_hex(12), prompt=prompt, sampling=sampling,
            program=plan.program, priority=plan.priority, cache_salt=plan.cache_salt,
        )  # fmt: skip
        begun = time.monotonic()
        generation = await Generation.start(
            self._engine, self._model, request, tools=plan.functions, stop=plan.stop, include_stop=plan.include_stop
        )
        first_token: float | None = None
        turn = _Turn()
        tokens: list[tuple[int, TokenLogprob]] = []
        try:
            async for piece in generation:
                first_token = first_token or time.monotonic() - begun
                tokens += zip(piece.token_ids, piece.logprobs or (), strict=False)
                for delta in piece.deltas:
                    match delta:
                        case ReasoningDelta():
                            tokens.clear()
                            turn.reasoning += delta.text
                            await emit(Reasoning(delta.text))
                        case TextDelta():
                            turn.text += delta.text
                            await emit(Text(delta.text, tuple(tokens)))
                            tokens.clear()
                        case CallStart():
                            await self._written(turn, emit)
                            call = Call(delta.name, f"call_{name}{delta.index:02x}")
                            turn.calls.append(call)
                            await emit(CallBegun(call.id, call.name))
                        case CallArguments():
                            tokens.clear()
                            call = turn.calls[delta.index]
                            call.arguments += delta.text
                            await emit(CallWriting(call.id, delta.text))
                turn.finish_reason = piece.finish_reason or turn.finish_reason
        finally:
            await generation.aclose()
        await self._written(turn, emit, complete=turn.finish_reason == "stop")
        calls = [(call.id, call.name, call.arguments) for call in turn.calls]
        self._conversation.append_turn(turn.text, calls, generation.turn_ids, reasoning=turn.reasoning)
        if self._tokens_left is not None:
            self._tokens_left -= generation.usage.completion_tokens
        await emit(StepFinished(step, generation.usage, first_token or 0.0, time.monotonic() - begun))
        return turn

    async def _written(self, turn: _Turn, emit: Emit, *, complete: bool = True) -> None:
        if turn.calls:
            call = turn.calls[-1]
            await emit(CallWritten(call.id, call.name, call.arguments, complete))

    def _room(self, prompt: int) -> int:
        """Tokens that this turn may have."""
        room = self._info.max_model_len - prompt
        if room < 1:
            raise _GivenUp(
                "context_length_exceeded",
                f"The conversation has grown to {prompt} tokens; this model's maximum context length is "
                f"{self._info.max_model_len} tokens.",
            )
        if self._tokens_left is not None and self._tokens_left < 1:
            raise _GivenUp("length", f"The task is not done after {self._limits.max_tokens} tokens.")
        limits = (room, self._limits.max_turn_tokens, self._tokens_left)
        return min(limit for limit in limits if limit is not None)

    def _grammar(self, step: int, prompt: Sequence[int]) -> Grammar | None:
        plan = self._plan
        return self._model.grammar(prompt, plan.functions, self._choice(step), plan.text, plan.budget)

    def _choice(self, step: int) -> ToolChoice:
        choice = self._plan.first if step == 1 else self._plan.following
        if not self._limits.insist or (step < self._limits.max_steps and self._calls_left > 0):
            return choice
        offered = choice.offered(self._plan.functions)
        theirs = tuple(tool.name for tool in offered if tool.name in self._foreign)
        return replace(choice, allowed=theirs) if theirs else self._plan.last

    async def _results(self, calls: list[Call], emit: Emit) -> list[JsonObject]:
        if len(calls) > self._calls_left and not self._limits.insist:
            limit = self._limits.max_tool_calls
            raise _GivenUp("max_tool_calls", f"The task is not done after {limit} tool calls.")
        allowed, refused = calls[: self._calls_left], calls[self._calls_left :]
        self._calls_left -= len(allowed)
        longest = self._limits.tool_timeout
        outputs = await dispatch(
            allowed, self._tools, self._context, max_output=self.readable, emit=emit, longest=longest
        )  # fmt: skip
        outputs += [USED_UP] * len(refused)
        return [
            {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": output}
            for call, output in zip(calls, outputs, strict=True)
        ]


USED_UP = "Error: no more tool calls are allowed here. Answer with what you have."

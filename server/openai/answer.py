"""The answer as a whole: every choice's words, calls, log-probabilities, reason to end, and the usage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio
import msgspec

from ...engine import Tokenizer
from ..chat.generate import FinishReason, Generation, Piece
from . import logprobs, wire
from .prepare import Prepared
from .written import Written, WrittenCall, custom_input


@dataclass(frozen=True)
class Answer:
    """What all parts of one answer have in common.

    Attributes:
        reasoning: thoughts are shown.
        token_ids: prompt and output are shown as ids too.
    """

    id: str
    created: int
    model: str
    tokenizer: Tokenizer
    prepared: Prepared
    reasoning: bool = True
    token_ids: bool = False

    def finish_reason(self, reason: FinishReason, calls: int) -> wire.FinishReason:
        """As OpenAI has it: a forced named call ends with ``stop``, and what ran out of tokens says so."""
        tools = self.prepared.tools
        if reason != "stop" or not calls:
            return reason
        if tools.legacy:
            return "function_call"
        return "stop" if tools.choice.mode == "named" else "tool_calls"

    def remember(self, written: Written, generation: Generation) -> None:
        """A choice is over: its turn is found again when the client sends it back."""
        if self.prepared.replayable:
            written.remember(self.prepared.conversation, generation)

    def is_custom(self, call: WrittenCall) -> bool:
        return call.name in self.prepared.tools.custom

    def logprobs(self, piece: Piece) -> wire.Logprobs | None:
        if piece.logprobs is None:
            return None
        return wire.Logprobs(logprobs.shown(self.tokenizer, zip(piece.token_ids, piece.logprobs, strict=True)))


def usage(generations: Sequence[Generation]) -> wire.Usage:
    """The prompt counts once, however many choices it has; what was cached is what the first choice found."""
    first = generations[0].usage
    completion = sum(generation.usage.completion_tokens for generation in generations)
    return wire.Usage(
        prompt_tokens=first.prompt_tokens,
        completion_tokens=completion,
        total_tokens=first.prompt_tokens + completion,
        prompt_tokens_details=wire.PromptDetails(first.cached_tokens),
        completion_tokens_details=wire.CompletionDetails(
            sum(generation.usage.reasoning_tokens for generation in generations)
        ),
    )


async def every(generations: Sequence[Generation], run: Callable[[int, Generation], Awaitable[None]]) -> None:
    """Run all choices side by side. Raises the first error; the other choices stop then."""
    errors: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def one(index: int, generation: Generation) -> None:
            try:
                await run(index, generation)
            except Exception as error:
                errors.append(error)
                group.cancel_scope.cancel()
            finally:
                await generation.aclose()

        for index, generation in enumerate(generations):
            group.start_soon(one, index, generation)
    if errors:
        raise errors[0]


async def collect(answer: Answer, generations: Sequence[Generation]) -> bytes:
    """The encoded answer, once every choice has ended. Raises EngineError."""
    choices: dict[int, wire.Choice] = {}

    async def run(index: int, generation: Generation) -> None:
        choices[index] = await _choice(answer, index, generation)

    await every(generations, run)
    completion = wire.Completion(
        id=answer.id,
        created=answer.created,
        model=answer.model,
        choices=[choices[index] for index in range(len(generations))],
        usage=usage(generations),
    )
    if answer.token_ids:
        completion.prompt_token_ids = answer.prepared.prompt
    return msgspec.json.encode(completion)


async def _choice(answer: Answer, index: int, generation: Generation) -> wire.Choice:
    written = Written()
    logprobs: wire.Logprobs | None = None
    reason: FinishReason = "stop"
    stop: str | int | None = None
    async for piece in generation:
        for delta in piece.deltas:
            written.take(delta)
        if (more := answer.logprobs(piece)) is not None:
            logprobs = logprobs or wire.Logprobs([])
            logprobs.content += more.content
        if piece.finish_reason is not None:
            reason, stop = piece.finish_reason, piece.stop_reason
    answer.remember(written, generation)
    choice = wire.Choice(index, _message(answer, written), answer.finish_reason(reason, len(written.calls)), logprobs)
    if stop is not None:
        choice.stop_reason = stop
    if answer.token_ids:
        choice.token_ids = generation.token_ids
    return choice


def _message(answer: Answer, written: Written) -> wire.Message:
    message = wire.Message(content=written.text if written.text or not written.calls else None)
    if written.reasoning and answer.reasoning:
        message.reasoning = message.reasoning_content = written.reasoning
    if written.calls and answer.prepared.tools.legacy:
        message.function_call = wire.FunctionCall(written.calls[0].name, written.calls[0].arguments)
    elif written.calls:
        message.tool_calls = [_call(answer, call) for call in written.calls]
    return message


def _call(answer: Answer, call: WrittenCall) -> wire.ToolCall:
    if answer.is_custom(call):
        custom = wire.CustomCall(call.name, custom_input(call.arguments))
        return wire.ToolCall(id=call.id, type="custom", custom=custom)
    return wire.ToolCall(id=call.id, function=wire.FunctionCall(call.name, call.arguments))

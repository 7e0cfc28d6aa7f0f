"""The answer as a whole: every choice's words, calls, log-probabilities, reason to end, and the usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import msgspec

from ...engine import Tokenizer
from ...engine.request import TokenLogprob
from ..chat.conversation import Conversation
from ..chat.formats import ToolChoice
from ..chat.generate import FinishReason, Generation, Piece
from . import wire
from .written import Written


@dataclass(frozen=True)
class Answer:
    """What all parts of one answer have in common."""

    id: str
    created: int
    model: str
    tokenizer: Tokenizer
    choice: ToolChoice
    conversation: Conversation

    def finish_reason(self, reason: FinishReason, calls: int) -> wire.FinishReason:
        """As OpenAI has it: a forced named call ends with ``stop``, and what ran out of tokens says so."""
        return "tool_calls" if reason == "stop" and calls and self.choice.mode != "named" else reason

    def remember(self, written: Written, generation: Generation, reason: FinishReason) -> None:
        """A choice is over: its turn is found again when the client sends it back."""
        last = generation.token_ids[-1] if generation.token_ids else None
        ended = last in self.tokenizer.eos_token_ids
        written.remember(self.conversation, generation, ended=ended, cut=reason == "length")

    def logprobs(self, piece: Piece) -> wire.Logprobs | None:
        if piece.logprobs is None:
            return None
        ends = self.tokenizer.eos_token_ids
        tokens = zip(piece.token_ids, piece.logprobs, strict=True)
        return wire.Logprobs([self._logprob(token, value) for token, value in tokens if token not in ends])

    def _logprob(self, token: int, value: TokenLogprob) -> wire.TokenLogprob:
        text, raw = self._spelled(token)
        top = [wire.TopLogprob(*self._spelled(other), logprob) for other, logprob in value.top]
        return wire.TokenLogprob(text, raw, value.logprob, top)

    def _spelled(self, token: int) -> tuple[str, list[int]]:
        raw = self.tokenizer.token_bytes(token)
        return raw.decode("utf-8", "replace"), list(raw)


def usage(generations: Sequence[Generation]) -> wire.Usage:
    """The prompt counts once, however many choices it has; what was cached is what the first choice found."""
    first = generations[0].usage
    completion = sum(generation.usage.completion_tokens for generation in generations)
    return wire.Usage(
        prompt_tokens=first.prompt_tokens,
        completion_tokens=completion,
        total_tokens=first.prompt_tokens + completion,
        prompt_tokens_details=wire.PromptDetails(first.cached_tokens),
        completion_tokens_details=wire.CompletionDetails(),
    )


async def collect(answer: Answer, generations: Sequence[Generation]) -> bytes:
    """The encoded answer, once every choice has ended. Raises the first EngineError; the other choices stop then."""
    choices: dict[int, wire.Choice] = {}
    errors: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def run(index: int, generation: Generation) -> None:
            try:
                choices[index] = await _choice(answer, index, generation)
            except Exception as error:
                errors.append(error)
                group.cancel_scope.cancel()
            finally:
                await generation.aclose()

        for index, generation in enumerate(generations):
            group.start_soon(run, index, generation)
    if errors:
        raise errors[0]
    ordered = [choices[index] for index in range(len(generations))]
    completion = wire.Completion(
        id=answer.id, created=answer.created, model=answer.model, choices=ordered, usage=usage(generations)
    )
    return msgspec.json.encode(completion)


async def _choice(answer: Answer, index: int, generation: Generation) -> wire.Choice:
    written = Written()
    logprobs: wire.Logprobs | None = None
    reason: FinishReason = "stop"
    async for piece in generation:
        for delta in piece.deltas:
            written.take(delta)
        if (more := answer.logprobs(piece)) is not None:
            logprobs = logprobs or wire.Logprobs([])
            logprobs.content += more.content
        reason = piece.finish_reason or reason
    answer.remember(written, generation, reason)
    calls = [wire.ToolCall(id=call.id, function=wire.FunctionCall(call.name, call.arguments)) for call in written.calls]
    message = wire.Message(content=written.text if written.text or not calls else None)
    if calls:
        message.tool_calls = calls
    return wire.Choice(index, message, answer.finish_reason(reason, len(calls)), logprobs)

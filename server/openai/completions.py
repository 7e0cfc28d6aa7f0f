"""``POST /v1/completions``: text that goes on where a prompt ends, without a chat template."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NotRequired, TypedDict

import msgspec
from fastapi import APIRouter, Request, Response

from ...engine import EngineInfo, Tokenizer
from ..chat.context import check_length, overflow
from ..chat.formats import TextDelta
from ..chat.generate import Generation, Piece
from ..chat.model import text_grammar
from ..http import body
from ..http.answers import answered
from ..http.caller import caller_of
from ..http.disconnect import until_disconnect
from ..http.events import DONE, EventStream, Write, event
from ..json_values import JsonObject
from ..served import ServedModel
from . import wire
from .answer import every, usage
from .choices import end_all, engine_requests, start_all
from .errors import ApiError
from .failed import STOPPED, failed
from .prepare import served_name
from .privileges import check_priority
from .sampling import engine_sampling, stop_strings
from .schemas import CompletionRequest, StreamOptions
from .wanted import wanted_text

router = APIRouter()

_DEFAULT_TOKENS = 16  # OpenAI's
_MAX_LOGPROBS = 20
_MAX_PROMPTS = 256


class TextLogprobs(TypedDict):
    """By token: what it spells, its log-probability, the likeliest others with theirs, and where its text begins."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(TypedDict):
    """One text."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"]
    logprobs: TextLogprobs | None
    token_ids: NotRequired[list[int]]
    prompt_token_ids: NotRequired[list[int]]


class TextCompletion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: wire.Usage


@dataclass
class _Choice:
    """One choice of the answer to ``prompt``, ``echo`` being what it begins with."""

    index: int
    generation: Generation
    prompt: list[int]
    echo: str = ""
    text: str = ""
    reason: str = "stop"
    logprobs: JsonObject = field(
        default_factory=lambda: {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    )


@router.post(
    "/v1/completions", openapi_extra=body.documented(CompletionRequest, answered(TextCompletion, streams=True))
)
async def completions(request: Request) -> Response:
    asked = await body.read(request, CompletionRequest)
    served: ServedModel = request.app.state.served
    name = served_name(served, asked.model)
    check_priority(asked, caller_of(request.scope))
    served.now()
    choices = await until_disconnect(request.receive, lambda: _begin(asked, served, caller_of(request.scope).name))
    head = {
        "id": f"cmpl-{secrets.token_hex(16)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": name,
    }
    writer = _Writer(
        head, choices, served.engine.tokenizer, each=asked.n or 1, wants_logprobs=asked.logprobs is not None,
        token_ids=bool(asked.return_token_ids),
    )  # fmt: skip
    if asked.stream:
        options = asked.stream_options or StreamOptions()
        abandon = partial(end_all, [choice.generation for choice in choices])
        return EventStream(partial(writer.stream, options), abandon, stopped=STOPPED)
    content = await until_disconnect(request.receive, writer.whole)
    return Response(content, media_type="application/json")


async def _begin(asked: CompletionRequest, served: ServedModel, owner: str) -> list[_Choice]:
    """Every choice of every prompt, started. Raises :class:`ApiError` or EngineError."""
    model, info = served.now()
    _check(asked)
    prompts = await asyncio.to_thread(_prompts, asked, served.engine.tokenizer, info)
    wanted = await asyncio.to_thread(wanted_text, asked)
    grammar = text_grammar(wanted) if wanted else None
    stop = stop_strings(asked)
    start = partial(
        Generation.start, served.engine, model, raw=True, stop=stop,
        include_stop=bool(asked.include_stop_str_in_output), skip_special_tokens=asked.skip_special_tokens is not False,
    )  # fmt: skip
    requests = []
    for place, (prompt, _) in enumerate(prompts):
        sampling = engine_sampling(
            asked, model.defaults, room=info.max_model_len - len(prompt), grammar=grammar,
            most=_DEFAULT_TOKENS if asked.max_tokens is None else asked.max_tokens, logprobs=asked.logprobs,
        )  # fmt: skip
        sampling.check(info.vocab_size)
        salt = served.cache_salt(owner, asked.cache_salt)
        requests += engine_requests(asked, prompt, sampling, cache_salt=salt, first=place * (asked.n or 1))
    generations = await start_all([start(request) for request in requests])
    each = asked.n or 1
    return [
        _Choice(index, generation, prompt, text if asked.echo else "")
        for index, generation in enumerate(generations)
        for prompt, text in (prompts[index // each],)
    ]


def _check(asked: CompletionRequest) -> None:
    if asked.suffix:
        raise ApiError(
            "suffix is not supported: this server does not fill in between two texts. Put everything into prompt.",
            code="unsupported_parameter",
            param="suffix",
        )
    if asked.best_of is not None and asked.best_of != (asked.n or 1):
        raise ApiError("best_of must be equal to n.", code="unsupported_value", param="best_of")
    if asked.logprobs is not None and not 0 <= asked.logprobs <= _MAX_LOGPROBS:
        message = f"logprobs must be between 0 and {_MAX_LOGPROBS}, not {asked.logprobs}."
        raise ApiError(message, code="invalid_value", param="logprobs")
    if asked.echo and asked.logprobs is not None:
        raise ApiError(
            "echo does not go with logprobs: log-probabilities are of generated tokens only.",
            code="unsupported_value",
            param="echo",
        )


def _prompts(asked: CompletionRequest, tokenizer: Tokenizer, info: EngineInfo) -> list[tuple[list[int], str]]:
    """Every prompt as ids and, to be echoed, as text."""
    given = asked.prompt
    listed: Sequence[str | list[int]]
    if isinstance(given, str):
        listed = [given]
    elif given and isinstance(given[0], int):
        listed = [[token for token in given if isinstance(token, int)]]
    else:
        listed = [item for item in given if not isinstance(item, int)]
    if not listed or len(listed) > _MAX_PROMPTS:
        message = f"prompt must hold 1 to {_MAX_PROMPTS} prompts, not {len(listed)}."
        raise ApiError(message, code="invalid_value", param="prompt")
    return [_prompt(item, asked, tokenizer, info) for item in listed]


def _prompt(
    given: str | list[int], asked: CompletionRequest, tokenizer: Tokenizer, info: EngineInfo
) -> tuple[list[int], str]:
    if isinstance(given, str):
        check_length([given], tokenizer, info.max_model_len)
        ids = tokenizer.encode(given) if asked.add_special_tokens is False else tokenizer.encode_prompt(given)
        if not ids and tokenizer.bos is not None:
            ids = [tokenizer.bos]
        text = given
    else:
        for token in given:
            if not 0 <= token < info.vocab_size:
                message = f"prompt names token {token}, the vocabulary has {info.vocab_size}."
                raise ApiError(message, code="invalid_value", param="prompt")
        ids, text = given, tokenizer.decode(given, skip_special_tokens=False)
    if not ids:
        raise ApiError("prompt is empty. Give some text.", code="invalid_value", param="prompt")
    if len(ids) >= info.max_model_len:
        raise overflow(len(ids), info.max_model_len)
    return ids, text


class _Writer:
    """Writes the answer, whole or as events; with ``token_ids`` those of prompts and texts too, as vLLM does."""

    def __init__(
        self,
        head: JsonObject,
        choices: list[_Choice],
        tokenizer: Tokenizer,
        *,
        each: int,
        wants_logprobs: bool,
        token_ids: bool,
    ) -> None:
        self._each = each
        self._head = head
        self._choices = choices
        self._generations = [choice.generation for choice in choices]
        self._tokenizer = tokenizer
        self._wants_logprobs = wants_logprobs
        self._token_ids = token_ids

    async def whole(self) -> bytes:
        async def run(index: int, generation: Generation) -> None:
            async for piece in generation:
                self._take(self._choices[index], piece)

        await every(self._generations, run)
        listed = [
            {
                "index": choice.index, "text": choice.echo + choice.text, "finish_reason": choice.reason,
                "logprobs": choice.logprobs if self._wants_logprobs else None,
                **self._ids(choice.generation.token_ids, choice.prompt),
            }
            for choice in self._choices
        ]  # fmt: skip
        return msgspec.json.encode({**self._head, "choices": listed, "usage": self._usage()})

    async def stream(self, options: StreamOptions, write: Write) -> None:
        running = options.continuous_usage_stats

        def chunk(
            choice: _Choice, text: str, logprobs: JsonObject | None, reason: str | None, ids: JsonObject
        ) -> bytes:
            shown = {"index": choice.index, "text": text, "finish_reason": reason, **ids}
            shown["logprobs"] = logprobs if self._wants_logprobs else None
            usage = {"usage": self._usage()} if running else {}
            return event(msgspec.json.encode({**self._head, "choices": [shown], **usage}))

        async def run(index: int, generation: Generation) -> None:
            choice = self._choices[index]
            if choice.echo or self._token_ids:
                await write(chunk(choice, choice.echo, None, None, self._ids([], choice.prompt)))
            async for piece in generation:
                seen = len(choice.logprobs["tokens"])
                text = self._take(choice, piece)
                new = {name: values[seen:] for name, values in choice.logprobs.items()}
                ids = self._ids(piece.token_ids)
                if text or piece.finish_reason or new["tokens"] or ids:
                    await write(chunk(choice, text, new, piece.finish_reason, ids))

        try:
            await every(self._generations, run)
        except Exception as error:
            await write(failed(error))
        else:
            if options.include_usage:
                await write(event(msgspec.json.encode({**self._head, "choices": [], "usage": self._usage()})))
        await write(DONE)

    def _take(self, choice: _Choice, piece: Piece) -> str:
        """The piece's text, once it and its log-probabilities are noted."""
        offset = len(choice.echo) + len(choice.text)
        text = "".join(delta.text for delta in piece.deltas if isinstance(delta, TextDelta))
        choice.text += text
        choice.reason = piece.finish_reason or choice.reason
        ends = self._tokenizer.eos_token_ids
        for token, value in zip(piece.token_ids, piece.logprobs or (), strict=False):
            if token in ends:
                continue
            spelled = self._spelled(token)
            choice.logprobs["tokens"].append(spelled)
            choice.logprobs["token_logprobs"].append(value.logprob)
            choice.logprobs["top_logprobs"].append({self._spelled(other): logprob for other, logprob in value.top})
            choice.logprobs["text_offset"].append(offset)
            offset += len(spelled)
        return text

    def _ids(self, output: Sequence[int], prompt: Sequence[int] | None = None) -> JsonObject:
        """The fields of a choice that hold its token ids, where they are wanted."""
        if not self._token_ids:
            return {}
        return {"token_ids": output, **({} if prompt is None else {"prompt_token_ids": prompt})}

    def _spelled(self, token: int) -> str:
        return self._tokenizer.token_bytes(token).decode("utf-8", "replace")

    def _usage(self) -> JsonObject:
        """Every prompt counts once, however many choices it has."""
        total = usage(self._generations)
        firsts = [generation.usage for generation in self._generations[:: self._each]]
        total.prompt_tokens = sum(first.prompt_tokens for first in firsts)
        total.prompt_tokens_details.cached_tokens = sum(first.cached_tokens for first in firsts)
        total.total_tokens = total.prompt_tokens + total.completion_tokens
        return msgspec.to_builtins(total)

"""``POST /v1/chat/completions``: checks the request, turns it into engine requests, and answers whole or streamed."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from ...engine import EngineInfo, Grammar, SamplingParams
from ...engine import Request as EngineRequest
from ...engine.errors import InvalidRequest
from ..chat.generate import Generation
from ..chat.messages import MessageError, normalise
from ..chat.model import ChatModel
from ..chat.template import TemplateError
from ..http import body
from ..http.disconnect import until_disconnect
from ..http.events import EventStream
from ..served import ServedModel
from .answer import Answer, collect
from .errors import ApiError
from .sampling import sampling_params, stop_strings
from .schemas import ChatRequest
from .stream import ChunkWriter
from .tools import Tools, read_tools, response_grammar

JsonObject = dict[str, Any]

router = APIRouter()


@dataclass(frozen=True)
class Prepared:
    """A checked chat request: what every one of its ``n`` choices asks of the engine."""

    prompt: list[int]
    sampling: SamplingParams
    tools: Tools
    stop: tuple[str, ...]


@router.post("/v1/chat/completions", openapi_extra=body.documented(ChatRequest))
async def chat_completions(request: Request) -> Response:
    chat = await body.read(request, ChatRequest)
    served: ServedModel = request.app.state.served
    name = served_name(served, chat.model)
    model, info = served.now()

    async def start() -> tuple[Prepared, list[Generation]]:
        prepared = await prepare(chat, model, info)
        try:
            return prepared, await _submit(chat, served, model, prepared)
        except InvalidRequest as error:
            if error.param == "grammar":
                raise _bad_grammar(error, prepared) from error
            raise

    prepared, generations = await until_disconnect(request.receive, start)
    answer = Answer(f"chatcmpl-{secrets.token_hex(16)}", int(time.time()), name, model.tokenizer, prepared.tools.choice)
    if chat.stream:
        include_usage = chat.stream_options is not None and chat.stream_options.include_usage
        writer = ChunkWriter(answer, generations, include_usage=include_usage)
        return EventStream(writer.produce)
    content = await until_disconnect(request.receive, lambda: collect(answer, generations))
    return Response(content, media_type="application/json")


def served_name(served: ServedModel, model: str | None) -> str:
    """The name to answer with. Raises :class:`ApiError` for a model that is not served."""
    if model is not None and model not in served.names:
        known = ", ".join(served.names)
        raise ApiError(
            f"The model {model[:200]!r} does not exist. This server has: {known}.",
            status=404,
            code="model_not_found",
            param="model",
        )
    return model or served.names[0]


async def prepare(chat: ChatRequest, model: ChatModel, info: EngineInfo) -> Prepared:
    """Check everything that can be checked before the engine sees it. Raises :class:`ApiError` or EngineError."""
    # Checking new schemas takes long enough to be felt by other streams.
    tools = await asyncio.to_thread(read_tools, chat, model) if chat.tools else read_tools(chat, model)
    try:
        prompt = await model.prompt(normalise(chat.messages), tools.rendered)
    except MessageError as error:
        place = "messages" if error.index is None else f"messages[{error.index}]"
        raise ApiError(f"{place}: {error}", code="invalid_value", param=place) from error
    except TemplateError as error:
        raise ApiError(str(error), code="invalid_value", param="messages") from error
    if len(prompt) >= info.max_model_len:
        raise context_overflow(len(prompt), info.max_model_len)
    wanted = await asyncio.to_thread(response_grammar, chat.response_format) if chat.response_format else None
    grammar = _grammar(model, tools, wanted)
    sampling = sampling_params(chat, model.defaults, room=info.max_model_len - len(prompt), grammar=grammar)
    sampling.check(info.vocab_size)
    return Prepared(prompt, sampling, tools, stop_strings(chat))


def context_overflow(tokens: int, limit: int) -> ApiError:
    """The words and the code by which clients notice that they have to shorten the conversation."""
    return ApiError(
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages.",
        code="context_length_exceeded",
        param="messages",
    )


def _grammar(model: ChatModel, tools: Tools, text: JsonObject | None) -> Grammar | None:
    if tools.functions and model.format is not None:
        tag = model.format.grammar(tools.functions, tools.choice, text)
        return Grammar("structural_tag", json.dumps(tag, ensure_ascii=False))
    return Grammar("json_schema", json.dumps(text["json_schema"], ensure_ascii=False)) if text else None


def _bad_grammar(error: InvalidRequest, prepared: Prepared) -> ApiError:
    """Clients know nothing of grammars: theirs came from a schema."""
    if prepared.tools.functions:
        return ApiError(f"Invalid tools: {error}", code="invalid_function_parameters", param="tools")
    return ApiError(f"Invalid response_format: {error}", code="invalid_json_schema", param="response_format")


async def _submit(chat: ChatRequest, served: ServedModel, model: ChatModel, prepared: Prepared) -> list[Generation]:
    """Start every choice. Either all are accepted or none runs."""
    name = secrets.token_hex(12)
    started: list[Generation] = []
    try:
        for index in range(chat.n or 1):
            request = EngineRequest(
                id=f"{name}-{index}",
                prompt=prepared.prompt,
                sampling=_of_choice(prepared.sampling, index),
                program=chat.program or chat.session_id,
                priority=chat.priority or 0,
                cache_salt=chat.cache_salt or "",
            )
            started.append(
                await Generation.start(
                    served.engine,
                    model,
                    request,
                    tools=prepared.tools.parsed,
                    stop=prepared.stop,
                    include_stop=bool(chat.include_stop_str_in_output),
                )
            )
    except BaseException:
        for generation in started:
            await generation.aclose()
        raise
    return started


def _of_choice(sampling: SamplingParams, index: int) -> SamplingParams:
    """Choices of one seeded request differ from each other, and each is the same every time."""
    if sampling.seed is None or index == 0:
        return sampling
    return msgspec.structs.replace(sampling, seed=(sampling.seed + index) % 2**63)

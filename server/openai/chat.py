"""``POST /v1/chat/completions``: checks the request, turns it into engine requests, and answers whole or streamed."""

from __future__ import annotations

import secrets
import time

import msgspec
from fastapi import APIRouter, Request, Response

from ...engine import Request as EngineRequest
from ...engine import SamplingParams
from ...engine.errors import InvalidRequest
from ..chat.generate import Generation
from ..chat.model import ChatModel
from ..http import body
from ..http.caller import caller_of
from ..http.disconnect import until_disconnect
from ..http.events import EventStream
from ..served import ServedModel
from . import hosted
from .answer import Answer, collect
from .prepare import Prepared, bad_grammar, prepare, served_name
from .schemas import ChatRequest
from .stream import ChunkWriter

router = APIRouter()


@router.post("/v1/chat/completions", openapi_extra=body.documented(ChatRequest))
async def chat_completions(request: Request) -> Response:
    chat = await body.read(request, ChatRequest)
    served: ServedModel = request.app.state.served
    name = served_name(served, chat.model)
    model, _ = served.now()
    if chat.hosted_tools:
        return await hosted.answer(request, chat, name)

    async def start() -> tuple[Prepared, list[Generation]]:
        prepared = await prepare(chat, served, caller_of(request.scope).name)
        try:
            return prepared, await _submit(chat, served, model, prepared)
        except InvalidRequest as error:
            if error.param == "grammar":
                raise bad_grammar(error, prepared) from error
            raise

    prepared, generations = await until_disconnect(request.receive, start)
    answer = Answer(
        f"chatcmpl-{secrets.token_hex(16)}", int(time.time()), name, model.tokenizer, prepared.tools.choice,
        prepared.conversation,
    )  # fmt: skip
    if chat.stream:
        include_usage = chat.stream_options is not None and chat.stream_options.include_usage
        writer = ChunkWriter(answer, generations, include_usage=include_usage)
        return EventStream(writer.produce)
    content = await until_disconnect(request.receive, lambda: collect(answer, generations))
    return Response(content, media_type="application/json")


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
                cache_salt=prepared.cache_salt,
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

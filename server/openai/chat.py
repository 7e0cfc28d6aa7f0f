"""``POST /v1/chat/completions``: checks the request, turns it into engine requests, and answers whole or streamed."""

from __future__ import annotations

import secrets
import time
from functools import partial

from fastapi import APIRouter, Request, Response

from ..chat.generate import Generation
from ..chat.model import ChatModel
from ..http import body
from ..http.answers import answered
from ..http.caller import caller_of
from ..http.disconnect import until_disconnect
from ..http.events import EventStream
from ..served import ServedModel
from . import hosted, wire
from .answer import Answer, collect
from .choices import end_all, engine_requests, start_all
from .failed import STOPPED
from .prepare import Prepared, prepare, served_name, telling_of_grammars
from .privileges import check_priority
from .schemas import ChatRequest, StreamOptions
from .stream import ChunkWriter

router = APIRouter()


@router.post(
    "/v1/chat/completions", openapi_extra=body.documented(ChatRequest, answered(wire.Completion, streams=True))
)
async def chat_completions(request: Request) -> Response:
    chat = await body.read(request, ChatRequest)
    served: ServedModel = request.app.state.served
    name = served_name(served, chat.model)
    check_priority(chat, caller_of(request.scope))
    model, _ = served.now()
    if chat.hosted_tools:
        return await hosted.answer(request, chat, name)

    async def start() -> tuple[Prepared, list[Generation]]:
        prepared = await prepare(chat, served, caller_of(request.scope).name)
        with telling_of_grammars(prepared):
            return prepared, await _submit(chat, served, model, prepared)

    prepared, generations = await until_disconnect(request.receive, start)
    answer = Answer(
        f"chatcmpl-{secrets.token_hex(16)}",
        int(time.time()),
        name,
        model.tokenizer,
        prepared,
        reasoning=chat.include_reasoning is not False,
        token_ids=bool(chat.return_token_ids),
    )
    if chat.stream:
        options = chat.stream_options or StreamOptions()
        writer = ChunkWriter(
            answer,
            generations,
            include_usage=bool(options.include_usage),
            running_usage=bool(options.continuous_usage_stats),
        )
        return EventStream(writer.produce, partial(end_all, generations), stopped=STOPPED)
    content = await until_disconnect(request.receive, lambda: collect(answer, generations))
    return Response(content, media_type="application/json")


async def _submit(chat: ChatRequest, served: ServedModel, model: ChatModel, prepared: Prepared) -> list[Generation]:
    start = partial(
        Generation.start, served.engine, model,
        tools=prepared.tools.functions if prepared.tools.parsed else (),
        stop=prepared.stop, include_stop=bool(chat.include_stop_str_in_output),
        raw=chat.separate_reasoning is False and not prepared.tools.functions,
        skip_special_tokens=chat.skip_special_tokens is not False,
    )  # fmt: skip
    requests = engine_requests(chat, prepared.prompt, prepared.sampling, cache_salt=prepared.cache_salt)
    return await start_all([start(request) for request in requests])

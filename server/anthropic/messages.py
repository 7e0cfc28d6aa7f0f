"""``POST /v1/messages`` and ``/v1/messages/count_tokens``."""

from __future__ import annotations

import secrets
from typing import TypedDict

from fastapi import APIRouter, Request, Response

from ..chat.generate import Generation
from ..http import body
from ..http.answers import answer, answered
from ..http.caller import caller_of
from ..http.disconnect import until_disconnect
from ..http.events import EventStream
from ..openai.choices import engine_requests
from ..openai.prepare import count_tokens, prepare, served_name, telling_of_grammars
from ..served import ServedModel
from .answer import STOPPED, Answer, AnthropicMessage
from .convert import chat_request
from .schemas import CountRequest, MessagesRequest

router = APIRouter()


class TokenCount(TypedDict):
    """How long a prompt is."""

    input_tokens: int


@router.post("/v1/messages", openapi_extra=body.documented(MessagesRequest, answered(AnthropicMessage, streams=True)))
async def messages(request: Request) -> Response:
    asked = await body.read(request, MessagesRequest)
    served: ServedModel = request.app.state.served
    _check_model(served, asked.model)
    model, _ = served.now()

    async def start() -> Answer:
        chat = chat_request(asked)
        prepared = await prepare(chat, served, caller_of(request.scope).name)
        (engine_request,) = engine_requests(chat, prepared.prompt, prepared.sampling, cache_salt=prepared.cache_salt)
        tools = prepared.tools.functions if prepared.tools.parsed else ()
        with telling_of_grammars(prepared):
            generation = await Generation.start(served.engine, model, engine_request, tools=tools, stop=prepared.stop)
        return Answer(f"msg_{secrets.token_hex(12)}", asked.model, prepared, generation, model.tokenizer)

    begun = await until_disconnect(request.receive, start)
    if asked.stream:
        return EventStream(begun.stream, begun.generation.aclose, stopped=STOPPED)
    content = await until_disconnect(request.receive, begun.whole)
    return Response(content, media_type="application/json")


@router.post("/v1/messages/count_tokens", openapi_extra=body.documented(CountRequest, answered(TokenCount)))
async def count(request: Request) -> Response:
    asked = await body.read(request, CountRequest)
    served: ServedModel = request.app.state.served
    _check_model(served, asked.model)
    served.now()
    tokens = await count_tokens(chat_request(asked), served, caller_of(request.scope).name)
    return answer(TokenCount(input_tokens=tokens))


def _check_model(served: ServedModel, name: str) -> None:
    """Clients ask for Claude by names of their own, whatever they are told; all of these are the served model."""
    if not name.startswith("claude-"):
        served_name(served, name)

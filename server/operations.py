"""Routes for operators: is it up, what is it, what has it done."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Literal, NotRequired, TypedDict

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict

from .chat.context import check_length
from .chat.messages import MessageError, normalise
from .chat.template import TemplateError
from .http import body
from .http.answers import answer, answered
from .http.caller import caller_of
from .json_values import JsonObject
from .observe.metrics import CONTENT_TYPE
from .openai.errors import ApiError
from .openai.prepare import served_name
from .openai.privileges import check_operator
from .served import ServedModel

router = APIRouter()

_MOST_TOKENS = 1_000_000


class TokenizeRequest(BaseModel):
    """The body of ``POST /tokenize``: a text, or a conversation with its tools."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    prompt: str | None = None
    messages: list[JsonObject] | None = None
    tools: list[JsonObject] | None = None
    return_token_strs: bool = False


class DetokenizeRequest(BaseModel):
    """The body of ``POST /detokenize``."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    tokens: list[int]


class Health(TypedDict):
    """Whether requests are served; with what went wrong, or what the operator should know."""

    status: str
    model: str
    error: NotRequired[str]
    warning: NotRequired[str]


class Version(TypedDict):
    """Of agenthost."""

    version: str


class Load(TypedDict):
    """Requests that the engine has; ``server_load`` is all of them."""

    server_load: int
    running: int
    waiting: int


class ServerInfo(TypedDict):
    """What is served, and how."""

    version: str
    served_model_names: list[str]
    engine: JsonObject
    tool_call_parser: str | None
    hosted_tools: list[str]
    hosted_tools_missing: list[str]


class CacheReset(TypedDict):
    """Done."""

    success: Literal[True]


class Tokens(TypedDict):
    """Token ids, and what each spells where that was asked for."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: NotRequired[list[str]]


class Text(TypedDict):
    """What tokens spell."""

    prompt: str


@router.get("/health", openapi_extra=answered(Health, also=(503,)))
@router.get("/ready", openapi_extra=answered(Health, also=(503,)))
@router.get("/ping", openapi_extra=answered(Health, also=(503,)))
@router.head("/health", include_in_schema=False)
@router.head("/ready", include_in_schema=False)
@router.head("/ping", include_in_schema=False)
async def health(request: Request) -> Response:
    """200 when requests are served, 503 while the engine starts or restarts, or when the model cannot be loaded.

    ``warning`` is there when the operator has let code run without a sandbox.
    """
    served: ServedModel = request.app.state.served
    content: Health = {"status": served.status, "model": served.names[0]}
    if served.failure is not None:
        content["error"] = str(served.failure)
    if request.app.state.hands.warning:
        content["warning"] = request.app.state.hands.warning
    return answer(content, 200 if served.status == "ready" else 503)


@router.get("/version", openapi_extra=answered(Version))
async def show_version() -> Response:
    return answer(Version(version=version("agenthost")))


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/load", openapi_extra=answered(Load))
async def load(request: Request) -> Response:
    running, waiting = request.app.state.metrics.counts()
    return answer(Load(server_load=running + waiting, running=running, waiting=waiting))


@router.get("/server_info", openapi_extra=answered(ServerInfo))
async def server_info(request: Request) -> Response:
    """What is served, and how. Nothing secret: neither keys nor paths of this machine."""
    served: ServedModel = request.app.state.served
    model, info = served.now()
    offer = await request.app.state.hands.offer()
    return answer(
        ServerInfo(
            version=version("agenthost"),
            served_model_names=list(served.names),
            engine={**msgspec.to_builtins(info), "model": served.names[0]},
            tool_call_parser=model.format.name if model.format else None,
            hosted_tools=list(offer.registry.tools),
            hosted_tools_missing=list(offer.missing),
        )
    )


@router.post("/reset_prefix_cache", openapi_extra=answered(CacheReset))
@router.post("/flush_cache", openapi_extra=answered(CacheReset))
async def reset_prefix_cache(request: Request) -> Response:
    """No later request finds a prefix that was cached before. The operator's alone, where there are keys."""
    check_operator(caller_of(request.scope))
    request.app.state.served.reset_prefix_cache()
    return answer(CacheReset(success=True))


@router.post("/tokenize", openapi_extra=body.documented(TokenizeRequest, answered(Tokens)))
async def tokenize(request: Request) -> Response:
    wanted = await body.read(request, TokenizeRequest)
    served: ServedModel = request.app.state.served
    served_name(served, wanted.model)
    model, info = served.now()
    if (wanted.prompt is None) == (wanted.messages is None):
        raise ApiError("Give either prompt or messages.", code="invalid_value", param="prompt")
    if wanted.messages is not None:
        try:
            tokens = await model.prompt(normalise(wanted.messages), wanted.tools)
        except (MessageError, TemplateError) as error:
            raise ApiError(str(error), code="invalid_value", param="messages") from error
    else:
        check_length([wanted.prompt or ""], model.tokenizer, info.max_model_len)
        tokens = await asyncio.to_thread(model.tokenizer.encode, wanted.prompt or "")
    found: Tokens = {"count": len(tokens), "max_model_len": info.max_model_len, "tokens": tokens}
    if wanted.return_token_strs:
        found["token_strs"] = [model.tokenizer.token_bytes(token).decode("utf-8", "replace") for token in tokens]
    return answer(found)


@router.post("/detokenize", openapi_extra=body.documented(DetokenizeRequest, answered(Text)))
async def detokenize(request: Request) -> Response:
    wanted = await body.read(request, DetokenizeRequest)
    served: ServedModel = request.app.state.served
    served_name(served, wanted.model)
    model, info = served.now()
    if len(wanted.tokens) > _MOST_TOKENS:
        raise ApiError(f"There are more than {_MOST_TOKENS} tokens.", code="invalid_value", param="tokens")
    for token in wanted.tokens:
        if not 0 <= token < info.vocab_size:
            message = f"There is no token {token}: the vocabulary has {info.vocab_size}."
            raise ApiError(message, code="invalid_value", param="tokens")
    text = b"".join(map(model.tokenizer.token_bytes, wanted.tokens)).decode("utf-8", "replace")
    return answer(Text(prompt=text))

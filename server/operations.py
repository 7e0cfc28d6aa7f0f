"""Routes for operators: is it up, what is it, what has it done."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from .chat.messages import MessageError, normalise
from .chat.template import TemplateError
from .http import body
from .observe.metrics import CONTENT_TYPE
from .openai.errors import ApiError
from .openai.prepare import served_name
from .served import ServedModel

JsonObject = dict[str, Any]

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


@router.get("/health")
@router.get("/ready")
@router.get("/ping")
async def health(request: Request) -> JSONResponse:
    """200 when requests are served, 503 while the engine starts or restarts, or when the model cannot be loaded.

    ``warning`` is there when the operator has let code run without a sandbox.
    """
    served: ServedModel = request.app.state.served
    content: JsonObject = {"status": served.status, "model": served.names[0]}
    if served.failure is not None:
        content["error"] = str(served.failure)
    if request.app.state.hands.warning:
        content["warning"] = request.app.state.hands.warning
    return JSONResponse(content, status_code=200 if served.status == "ready" else 503)


@router.get("/version")
async def show_version() -> dict[str, str]:
    return {"version": version("agenthost")}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/load")
async def load(request: Request) -> JsonObject:
    running, waiting = request.app.state.metrics.counts()
    return {"server_load": running + waiting, "running": running, "waiting": waiting}


@router.get("/server_info")
async def server_info(request: Request) -> JsonObject:
    """What is served, and how. Nothing secret: neither keys nor paths of this machine."""
    served: ServedModel = request.app.state.served
    model, info = served.now()
    offer = await request.app.state.hands.offer()
    return {
        "version": version("agenthost"),
        "served_model_names": list(served.names),
        "engine": {**msgspec.to_builtins(info), "model": served.names[0]},
        "tool_call_parser": model.format.name if model.format else None,
        "hosted_tools": list(offer.registry.tools),
        "hosted_tools_missing": list(offer.missing),
    }


@router.post("/reset_prefix_cache")
@router.post("/flush_cache")
async def reset_prefix_cache(request: Request) -> JsonObject:
    """No later request finds a prefix that was cached before."""
    request.app.state.served.reset_prefix_cache()
    return {"success": True}


@router.post("/tokenize", openapi_extra=body.documented(TokenizeRequest))
async def tokenize(request: Request) -> JsonObject:
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
        tokens = await asyncio.to_thread(model.tokenizer.encode, wanted.prompt or "")
    answer: JsonObject = {"count": len(tokens), "max_model_len": info.max_model_len, "tokens": tokens}
    if wanted.return_token_strs:
        answer["token_strs"] = [model.tokenizer.token_bytes(token).decode("utf-8", "replace") for token in tokens]
    return answer


@router.post("/detokenize", openapi_extra=body.documented(DetokenizeRequest))
async def detokenize(request: Request) -> JsonObject:
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
    return {"prompt": b"".join(map(model.tokenizer.token_bytes, wanted.tokens)).decode("utf-8", "replace")}

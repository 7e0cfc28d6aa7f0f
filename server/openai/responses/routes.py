"""``/v1/responses`` and what hangs on it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Literal, TypedDict

import msgspec
from fastapi import APIRouter, Request, Response

from ...http import body
from ...http.answers import answer, answered
from ...http.caller import caller_of
from ...http.disconnect import until_disconnect
from ...http.events import DONE, EventStream, Write
from ...json_values import JsonObject
from ...store.responses import UNFINISHED
from ..errors import ApiError, not_found
from ..pages import Deleted, Page, page
from .body import ResponseBody, terminal
from .compaction import Compaction
from .items import Item, public
from .output import OUTPUTS
from .run import Run
from .schemas import InputRequest, ResponseRequest
from .service import ResponseService

router = APIRouter()


class InputTokens(TypedDict):
    """How long an input is."""

    object: Literal["response.input_tokens"]
    input_tokens: int


@router.post("/v1/responses", openapi_extra=body.documented(ResponseRequest, answered(ResponseBody, streams=True)))
async def create(request: Request) -> Response:
    wanted = await body.read(request, ResponseRequest)
    service = _service(request)
    caller = caller_of(request.scope)
    run = await until_disconnect(request.receive, lambda: service.prepare(wanted, caller))
    if wanted.background:
        await service.start(run, caller)
        return EventStream(lambda write: _follow(run, write)) if wanted.stream else answer(dict(run.body))
    if wanted.stream:
        return EventStream(lambda write: _stream(service, run, write), lambda: service.abandon(run))
    await until_disconnect(request.receive, lambda: service.work(run))
    if run.body["status"] == "failed" and run.error is not None:
        return run.error.response()
    return answer(run.body)


@router.post("/v1/responses/input_tokens", openapi_extra=body.documented(InputRequest, answered(InputTokens)))
async def input_tokens(request: Request) -> Response:
    wanted = await body.read(request, InputRequest)
    tokens = await _service(request).count(wanted, caller_of(request.scope))
    return answer(InputTokens(object="response.input_tokens", input_tokens=tokens))


@router.post("/v1/responses/compact", openapi_extra=body.documented(InputRequest, answered(Compaction)))
async def compact(request: Request) -> Response:
    wanted = await body.read(request, InputRequest)
    service, caller = _service(request), caller_of(request.scope)
    return answer(await until_disconnect(request.receive, lambda: service.compact(wanted, caller)))


@router.get("/v1/responses/{response_id}", openapi_extra=answered(ResponseBody, streams=True))
async def retrieve(request: Request, response_id: str) -> Response:
    service, owner = _service(request), caller_of(request.scope).name
    query = request.query_params
    if query.get("stream") == "true":
        after = _number(query.get("starting_after"), "starting_after")
        return await _resume(service, response_id, owner, after)
    stored = await service.find(response_id, owner)
    if stored is None:
        raise not_found("response", response_id)
    return answer(_including(stored.body, stored.output, query.getlist("include") + query.getlist("include[]")))


@router.post("/v1/responses/{response_id}/cancel", openapi_extra=answered(ResponseBody))
async def cancel(request: Request, response_id: str) -> Response:
    service, owner = _service(request), caller_of(request.scope).name
    stored = await service.find(response_id, owner)
    if stored is None:
        raise not_found("response", response_id)
    if not stored.body["background"]:
        raise ApiError("Only responses created with background=true can be cancelled.", code="invalid_value")
    await service.cancel(response_id, owner)
    ended = await service.find(response_id, owner)
    return answer(ended.body if ended is not None else stored.body)


@router.delete("/v1/responses/{response_id}", openapi_extra=answered(Deleted))
async def delete(request: Request, response_id: str) -> Response:
    if not await _service(request).delete(response_id, caller_of(request.scope).name):
        raise not_found("response", response_id)
    return answer(Deleted(id=response_id, object="response", deleted=True))


@router.get("/v1/responses/{response_id}/input_items", openapi_extra=answered(Page[Item]))
async def input_items(request: Request, response_id: str) -> Response:
    stored = await _service(request).find(response_id, caller_of(request.scope).name)
    if stored is None:
        raise not_found("response", response_id)
    return answer(page(request, [public(item) for item in stored.input]))


async def _stream(service: ResponseService, run: Run, write: Write) -> None:
    await service.work(run, _writing(write))
    await write(DONE)


async def _follow(run: Run, write: Write, after: int = -1) -> None:
    await run.follow(_writing(write), after)
    await write(DONE)


async def _resume(service: ResponseService, response_id: str, owner: str, after: int) -> Response:
    run = service.running(response_id, owner)
    if run is not None and run.log is not None:
        return EventStream(lambda write: _follow(run, write, after))
    stored = await service.find(response_id, owner)
    if stored is None:
        raise not_found("response", response_id)
    if not stored.body["background"]:
        raise ApiError("Only responses created with background=true can be streamed again.", code="invalid_value")
    if stored.body["status"] in UNFINISHED:
        raise ApiError("Nobody works on this response here. Retrieve it without stream.", code="invalid_value")
    if stored.events is not None:
        events = [json.loads(line) for line in stored.events.splitlines()][max(0, after + 1) :]
    else:  # it was interrupted, and what it had said by then is lost
        events = [{"type": terminal(stored.body["status"]), "sequence_number": after + 1, "response": stored.body}]

    async def again(write: Write) -> None:
        sink = _writing(write)
        for event in events:
            await sink(event)
        await write(DONE)

    return EventStream(again)


def _writing(write: Write) -> Callable[[JsonObject], Awaitable[None]]:
    async def sink(event: JsonObject) -> None:
        await write(b"event: " + event["type"].encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n")

    return sink


def _service(request: Request) -> ResponseService:
    return request.app.state.responses


def _including(body: JsonObject, items: list[JsonObject], include: list[str]) -> JsonObject:
    """The response, with the outputs of code where the query asks for them."""
    if OUTPUTS not in include:
        return body
    whole = {item["id"]: public(item) for item in items}
    return {**body, "output": [whole.get(item["id"], item) for item in body["output"]]}


def _number(text: str | None, name: str) -> int:
    if text is None:
        return -1
    if not text.isascii() or not text.isdigit():
        raise ApiError(f"{name} must be a number.", code="invalid_value", param=name)
    return int(text)

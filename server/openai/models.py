"""``/v1/models``: the names of the served model."""

from __future__ import annotations

import time
from typing import Literal, NotRequired, TypedDict

from fastapi import APIRouter, Request, Response

from ..http.answers import answer, answered
from ..served import ServedModel
from .prepare import served_name

router = APIRouter()
_STARTED = int(time.time())


class Model(TypedDict):
    """A name of the served model; its context is known once it is loaded."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: NotRequired[int]


class ModelList(TypedDict):
    """All names."""

    object: Literal["list"]
    data: list[Model]


@router.get("/v1/models", openapi_extra=answered(ModelList))
async def list_models(request: Request) -> Response:
    served: ServedModel = request.app.state.served
    return answer(ModelList(object="list", data=[_model(served, name) for name in served.names]))


@router.get("/v1/models/{model:path}", openapi_extra=answered(Model))
async def retrieve_model(request: Request, model: str) -> Response:
    served: ServedModel = request.app.state.served
    return answer(_model(served, served_name(served, model)))


def _model(served: ServedModel, name: str) -> Model:
    model: Model = {"id": name, "object": "model", "created": _STARTED, "owned_by": "agenthost"}
    if served.status == "ready":
        model["max_model_len"] = served.now()[1].max_model_len
    return model

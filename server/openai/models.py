"""``/v1/models``: the names of the served model."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request

from ..served import ServedModel
from .prepare import served_name

JsonObject = dict[str, Any]

router = APIRouter()
_STARTED = int(time.time())


@router.get("/v1/models")
async def list_models(request: Request) -> JsonObject:
    served: ServedModel = request.app.state.served
    return {"object": "list", "data": [_model(served, name) for name in served.names]}


@router.get("/v1/models/{model:path}")
async def retrieve_model(request: Request, model: str) -> JsonObject:
    served: ServedModel = request.app.state.served
    return _model(served, served_name(served, model))


def _model(served: ServedModel, name: str) -> JsonObject:
    model: JsonObject = {"id": name, "object": "model", "created": _STARTED, "owned_by": "agenthost"}
    if served.status == "ready":
        model["max_model_len"] = served.now()[1].max_model_len
    return model

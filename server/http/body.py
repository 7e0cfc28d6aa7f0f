"""Reads a JSON body into a pydantic model, with every problem as an OpenAI error."""

from __future__ import annotations

import json
from typing import TypeVar

from fastapi import FastAPI, Request
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.requests import ClientDisconnect

from ..json_values import JsonObject, loads
from ..openai.errors import ApiError, from_validation
from .answers import REFERENCE
from .disconnect import ClientGone

M = TypeVar("M", bound=BaseModel)


async def read(request: Request, model: type[M]) -> M:
    """The body as ``model``. Raises :class:`ApiError` for anything else, :class:`ClientGone` for half a body."""
    try:
        body = await request.body()
    except ClientDisconnect as error:
        raise ClientGone from error
    if not body.strip():
        raise ApiError("The body is empty. Send a JSON object.", code="invalid_json")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise ApiError(f"The body is not valid UTF-8: {error}.", code="invalid_json") from error
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        whole = _without_half_characters(body) if b"\\u" in body else None
        if whole is None:
            raise from_validation(error) from error
    try:
        return model.model_validate_json(whole)
    except ValidationError as error:
        raise from_validation(error) from error


def _without_half_characters(body: bytes) -> str | None:
    """The same JSON with U+FFFD for each half of a surrogate pair, which clients leave when they cut text by length."""
    try:
        return json.dumps(loads(body.decode()), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def documented(model: type[BaseModel], answered: JsonObject) -> JsonObject:
    """For a route's ``openapi_extra``: it reads ``model`` itself, so FastAPI cannot see it. See :func:`describe`.

    Args:
        answered: what it answers.
    """
    schema = {"$ref": REFERENCE.format(name=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}, **answered}


def describe(app: FastAPI, *models: type[BaseModel]) -> None:
    """Put the schemas that :func:`documented` refers to into the application's OpenAPI description."""
    original = app.openapi

    def openapi() -> JsonObject:
        description = original()
        named = REFERENCE.format(name="{model}")
        _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=named)
        description.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        return description

    app.openapi = openapi

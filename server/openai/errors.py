"""Errors in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``, the code a string or null."""

from __future__ import annotations

import logging
import re
from typing import TypedDict

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from ...engine.errors import (
    ContextOverflow,
    DeadlineExceeded,
    EngineDied,
    EngineError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
)
from ...tools import TooManySessions, WorkspaceError
from ..anthropic import errors as anthropic_errors
from ..http.disconnect import ClientGone
from ..http.request_id import request_id
from ..served import NotReady
from ..state import OverQuota

log = logging.getLogger(__name__)


class ErrorDetail(TypedDict):
    """What was wrong, and where."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(TypedDict):
    """What every failed request answers."""

    error: ErrorDetail


class ApiError(Exception):
    """What a client did wrong or has to wait for.

    Args:
        message: what was wrong, what was expected, what to do.
        status: HTTP status code.
        code: OpenAI's string code, on which clients act.
        param: the request field.
        type: OpenAI's error class; by default it follows from the status.
        retry_after: seconds after which to try again.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.type = type or ("server_error" if status >= 500 else "invalid_request_error")
        self.retry_after = retry_after

    def body(self) -> Error:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self, path: str = "") -> JSONResponse:
        """The answer to a request to ``path``, in the shape that its clients understand."""
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else None
        theirs = path.startswith(anthropic_errors.PATH)
        body = anthropic_errors.error_body(self.status, self.message, self.code) if theirs else self.body()
        return JSONResponse(body, status_code=self.status, headers=headers)


def from_engine(error: EngineError) -> ApiError:
    """What an engine error means to a client."""
    message = str(error)
    match error:
        case ContextOverflow():
            return ApiError(message, code="context_length_exceeded", param="messages")
        case InvalidRequest():
            return ApiError(message, code="invalid_value", param=error.param)
        case Overloaded():
            return rate_limited(message, 1)
        case EngineDied():
            return ApiError(message, status=503, code="engine_restarting", retry_after=5)
        case NotReady():
            return ApiError(message, status=503, code="model_not_ready", retry_after=5)
        case DeadlineExceeded():
            return ApiError(message, status=504, code="timeout")
        case ModelNotFound():
            return ApiError(message, status=404, code="model_not_found", param="model")
        case _:
            return ApiError(message, status=500, code="server_error")


def from_exception(error: Exception) -> ApiError:
    """What any failure means to a client. One that nobody foresaw is logged, and its details are not theirs to see."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, EngineError):
        return from_engine(error)
    log.error("request %s failed", request_id.get(), exc_info=error)
    return ApiError("The server failed on this request.", status=500, code="server_error")


def from_validation(error: ValidationError) -> ApiError:
    """The first problem that pydantic found, in OpenAI's words."""
    first = error.errors(include_url=False, include_context=False)[0]
    kind = first["type"]
    if kind == "json_invalid":
        return ApiError(f"The body is not valid JSON: {first['msg']}.", code="invalid_json")
    param = _param(first["loc"])
    if kind == "missing":
        return ApiError(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    where = f"Invalid value for '{param}'" if param else "Invalid body"
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return ApiError(f"{where}: {first['msg']}.", code=code, param=param or None)


def _param(place: tuple[int | str, ...]) -> str:
    """``messages[0].role``; where a field has several types, pydantic adds the name of one, which is no field."""
    parts = []
    for part in place:
        if isinstance(part, str) and (part in ("str", "bool", "int") or not re.fullmatch(r"[a-z][a-z0-9_]*", part)):
            break
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return "".join(parts).lstrip(".")


def no_workspace(error: WorkspaceError) -> ApiError:
    """Why a session could not be made."""
    if isinstance(error, TooManySessions):
        return ApiError(str(error), status=429, code="too_many_sessions", type="rate_limit_error", retry_after=60)
    return ApiError(str(error), status=503, code="no_workspace")


def rate_limited(message: str, wait: int) -> ApiError:
    """Try again in ``wait`` seconds."""
    return ApiError(message, status=429, code="rate_limit_exceeded", type="rate_limit_error", retry_after=wait)


def not_found(kind: str, identity: str) -> ApiError:
    """The same for what never was, what is gone, and what is somebody else's."""
    return ApiError(f"{kind.capitalize()} with id '{identity[:100]}' not found.", status=404, code="not_found")


_HTTP_CODES = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large", 415: "unsupported_media_type"}


def install(app: FastAPI) -> None:
    """Make failures of ``app`` answer in this shape. Those that nobody foresaw go on to :class:`Failures`."""

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
        return error.response(request.url.path)

    @app.exception_handler(ClientGone)
    async def client_gone(request: Request, error: ClientGone) -> JSONResponse:
        return ApiError(str(error), status=499, code="client_closed_request").response(request.url.path)

    @app.exception_handler(OverQuota)
    async def over_quota(request: Request, error: OverQuota) -> JSONResponse:
        problem = ApiError(str(error), status=429, code="insufficient_quota", type="insufficient_quota")
        return problem.response(request.url.path)

    @app.exception_handler(EngineError)
    async def engine_error(request: Request, error: EngineError) -> JSONResponse:
        return from_engine(error).response(request.url.path)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{error.detail} ({request.method} {request.url.path})"
        problem = ApiError(message, status=error.status_code, code=_HTTP_CODES.get(error.status_code))
        response = problem.response(request.url.path)
        response.headers.update(error.headers or {})
        return response

"""Routes for operators: is it up, what is it."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from .served import ServedModel

router = APIRouter()


@router.get("/health")
async def health(request: Request) -> JSONResponse:
    """200 when requests are served, 503 while the engine starts or restarts, or when the model cannot be loaded."""
    served: ServedModel = request.app.state.served
    content = {"status": served.status, "model": served.names[0]}
    if served.failure is not None:
        content["error"] = str(served.failure)
    return JSONResponse(content, status_code=200 if served.status == "ready" else 503)


@router.get("/version")
async def show_version() -> dict[str, str]:
    return {"version": version("agenthost")}

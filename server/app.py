"""Composes the server: routes, guards, and the lifetime of the model behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ..engine import AsyncEngine
from . import operations
from .config import ServerConfig
from .hands import Hands
from .http import body
from .http.guard import Guard
from .http.names import hosts_for
from .openai import chat, conversations, errors, files, models
from .openai import containers as container_routes
from .openai.containers import ContainerRequest, ContainerService, FileRequest
from .openai.conversations import ConversationRequest, ConversationUpdate, ItemsRequest
from .openai.responses import routes as response_routes
from .openai.responses.schemas import InputRequest, ResponseRequest
from .openai.responses.service import ResponseService
from .openai.schemas import ChatRequest
from .served import ServedModel
from .state import State


def create_app(config: ServerConfig, engine: AsyncEngine | None = None, hands: Hands | None = None) -> FastAPI:
    """The ASGI application. Its lifespan starts the engine and returns at once; ``/health`` tells when it is ready.

    Args:
        engine: another engine than the one that ``config`` describes.
        hands: other tools than those that this machine has.
    """
    served = ServedModel(
        config.engine,
        names=config.served_model_name,
        template=config.chat_template,
        format=config.tool_call_parser,
        engine=engine,
    )

    hands = hands or Hands(browser=config.browsing)
    kept = State(
        Path(config.state_dir) if config.state_dir else None,
        url=config.store_url, retention_days=config.retention_days, transcript=served.transcript,
    )  # fmt: skip
    containers = ContainerService(kept, hands)
    responses = ResponseService(served, hands, kept, containers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with served, hands, kept, responses:
            yield

    app = FastAPI(title="agenthost", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.served = served
    app.state.hands = hands
    app.state.kept = kept
    app.state.containers = containers
    app.state.responses = responses
    for router in (
        chat.router, response_routes.router, conversations.router, files.router, container_routes.router, models.router,
        operations.router,
    ):  # fmt: skip
        app.include_router(router)
    errors.install(app)
    body.describe(
        app, ChatRequest, ResponseRequest, InputRequest, ConversationRequest, ConversationUpdate, ItemsRequest,
        ContainerRequest, FileRequest,
    )  # fmt: skip
    if config.allowed_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=config.allowed_origins, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(
        Guard,
        hosts=hosts_for(config.host, config.allowed_hosts),
        origins=config.allowed_origins,
        key=config.api_key,
        max_body=config.max_body_bytes,
    )
    return app

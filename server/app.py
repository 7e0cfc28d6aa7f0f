"""Composes the server: routes, guards, and the lifetime of the model behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from ..engine import AsyncEngine
from ..tools import Sessions
from ..tools.files.usage import Quota
from . import operations
from .anthropic import messages
from .anthropic.schemas import CountRequest, MessagesRequest
from .config import ServerConfig
from .external.external import External
from .hands import Hands
from .http import body
from .http.drain import Drain, Drained
from .http.events import Straight
from .http.failures import Failures
from .http.guard import Guard
from .http.keys import Keys, Limits
from .http.measure import Measured
from .http.names import hosts_for
from .http.request_id import RequestIds
from .mcp.endpoint import PATH, McpEndpoint
from .mcp.oauth import Tokens
from .observe import audit
from .observe.calls import ToolCall
from .observe.metrics import Metrics
from .observe.watchers import Watchers
from .openai import chat, completions, conversations, errors, files, models
from .openai import containers as container_routes
from .openai.containers import ContainerRequest, ContainerService, FileRequest
from .openai.conversations import ConversationRequest, ConversationUpdate, ItemsRequest
from .openai.openapi import describe_answers
from .openai.responses import routes as response_routes
from .openai.responses.schemas import InputRequest, ResponseRequest
from .openai.responses.service import ResponseService
from .openai.schemas import ChatRequest, CompletionRequest
from .served import ServedModel
from .state import State

if TYPE_CHECKING:
    from .observe.tracing import Tracing


def create_app(config: ServerConfig, engine: AsyncEngine | None = None) -> FastAPI:
    """The ASGI application. Its lifespan starts the engine and returns at once; ``/health`` tells when it is ready.

    Args:
        engine: another engine than the one that ``config`` describes.
    """
    keys = Keys.load(
        [config.api_key] if config.api_key else [],
        config.api_key_file,
        Limits(config.requests_per_minute, config.concurrent_requests, config.stored_bytes),
    )
    served = ServedModel(
        config.engine,
        names=config.served_model_name,
        template=config.chat_template,
        format=config.tool_call_parser,
        reasoning=config.reasoning_parser,
        engine=engine,
    )

    served.cache_per_owner = config.prefix_cache_per_key
    hands = Hands(_sessions(config), config.browsing, config.sandbox)
    metrics = Metrics(served.names[0], served.engine, served.transcript, hands)
    tracing = _tracing(config, served.names[0])
    watcher = metrics if tracing is None else Watchers([metrics, tracing])
    kept = State(
        Path(config.state_dir) if config.state_dir else None,
        url=config.store_url, retention_days=config.retention_days, transcript=served.transcript,
    )  # fmt: skip
    containers = ContainerService(kept, hands)
    external = External(config.external)
    drain = Drain(config.drain_seconds)
    responses = ResponseService(served, hands, external, kept, containers, drain=drain)

    mcp = McpEndpoint(
        hands,
        served,
        external,
        max_body=config.max_body_bytes,
        per_second=config.mcp_calls_per_second,
        fixtures=config.conformance_fixtures,
    )
    tokens = Tokens.of(config)

    def called(call: ToolCall) -> None:
        metrics.called(call)
        audit.record(call)
        if tracing is not None:
            tracing.called(call)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        served.engine.watcher, hands.on_call = watcher, called
        async with served, kept, hands, external, responses, mcp.running():
            yield
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    app = FastAPI(title="agenthost", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.served = served
    app.state.sse_keep_alive = config.sse_keep_alive_interval
    app.state.hands = hands
    app.state.external = external
    app.state.kept = kept
    app.state.metrics = metrics
    app.state.containers = containers
    app.state.responses = responses
    app.state.drain = drain
    app.router.routes += mcp.routes(tokens)  # first: routes are tried in order, and its calls are short
    for router in (
        chat.router, completions.router, messages.router, response_routes.router, conversations.router, files.router,
        container_routes.router, models.router,
        operations.router,
    ):  # fmt: skip
        app.include_router(router)
    errors.install(app)
    body.describe(
        app, ChatRequest, CompletionRequest, MessagesRequest, CountRequest, ResponseRequest, InputRequest,
        ConversationRequest, ConversationUpdate, ItemsRequest,
        ContainerRequest, FileRequest, operations.TokenizeRequest, operations.DetokenizeRequest,
    )  # fmt: skip
    describe_answers(app)
    # Each one that is added stands outside of those before.
    app.add_middleware(Drained, drain=drain)
    app.add_middleware(
        Guard,
        hosts=hosts_for(config.host, config.allowed_hosts),
        origins=config.allowed_origins,
        keys=keys,
        max_body=config.max_body_bytes,
        open_paths=() if tokens is None else tokens.metadata_paths,
        token_paths=() if tokens is None else (PATH,),
    )
    app.add_middleware(Failures)
    if config.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.allowed_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Mcp-Session-Id", "WWW-Authenticate", "X-Request-Id", "Retry-After"],
        )
    app.add_middleware(Measured, metrics=metrics)
    if tracing is not None:
        from .observe.tracing import Traced

        app.add_middleware(Traced, tracing=tracing)
    app.add_middleware(RequestIds)
    app.add_middleware(Straight)
    return app


def _tracing(config: ServerConfig, model: str) -> Tracing | None:
    if config.otlp_traces_endpoint is None:
        return None
    from .observe.tracing import Tracing

    return Tracing(config.otlp_traces_endpoint, model)


def _sessions(config: ServerConfig) -> Sessions:
    return Sessions(
        Path(config.state_dir) / "workspaces" if config.state_dir else None,
        ttl=60 * config.session_minutes,
        quota=Quota(bytes=config.workspace_bytes, entries=config.workspace_files),
        per_owner=config.sessions_per_key,
    )

"""The fixtures as a server, on the pieces that serve our own tools."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
import mcp.types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from ..tasks import Tasks
from ..visits import Context
from . import library
from .fixture import Given
from .jobs import jobs
from .plain import PLAIN, triggers
from .questions import QUESTIONS


def create_fixture_server() -> Server:
    """What the suite's scenarios call, of all revisions."""
    bus, tasks = InMemorySubscriptionBus(), Tasks()
    fixtures = {fixture.name: fixture for fixture in (*PLAIN, *QUESTIONS, *triggers(bus), *jobs(tasks))}
    listed = [
        types.Tool(name=fixture.name, description=fixture.description, input_schema=fixture.schema)
        for fixture in fixtures.values()
    ]

    async def list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> Given:
        fixture = fixtures.get(params.name)
        if fixture is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:200]}")
        return await fixture.handler(context, params)

    @asynccontextmanager
    async def lifespan(_: Server) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            await group.start(tasks.run)
            yield
            group.cancel_scope.cancel()

    with warnings.catch_warnings(action="ignore", category=MCPDeprecationWarning):  # older revisions have logging
        server = Server(
            "agenthost-conformance",
            version=version("agenthost"),
            lifespan=lifespan,
            cache_hints={
                method: CacheHint(ttl_ms=1000, scope="public")
                for method in (
                    "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read",
                    "server/discover",
                )
            },
            on_list_tools=list_tools,
            on_list_resources=library.list_resources,
            on_list_resource_templates=library.list_templates,
            on_read_resource=library.read_resource,
            on_subscribe_resource=library.subscribe,
            on_unsubscribe_resource=library.unsubscribe,
            on_subscriptions_listen=ListenHandler(bus),
            on_list_prompts=library.list_prompts,
            on_get_prompt=library.get_prompt,
            on_completion=library.complete,
            on_set_logging_level=library.set_level,
        )  # fmt: skip
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    tasks.install(server)
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name))
    return server

"""``/mcp`` as a part of the application: streamable HTTP, both kinds of clients (with and without a handshake).

The SDK is loaded after the server has begun to listen, beside the model; requests wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ...tools import Registry
from ..external.external import External
from ..external.offered import attended
from ..hands import Hands, for_model
from ..http.caller import Caller, caller_of
from ..served import ServedModel
from .oauth import TokenGate, Tokens
from .sdk import load_sdk

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

log = logging.getLogger(__name__)

PATH = "/mcp"


class McpEndpoint:
    """An ASGI application for one path. It trusts the guard for Host, Origin and keys.

    Args:
        hands: the tools.
        served: the model behind the `agent` tool. external: further tools of that agent.
        max_body: bytes of a request.
        per_second: tool calls of one caller; 0 for any number.
        fixtures: serve what the conformance suite calls, instead of the tools.
    """

    def __init__(
        self,
        hands: Hands,
        served: ServedModel,
        external: External,
        *,
        max_body: int,
        per_second: float,
        fixtures: bool = False,
    ) -> None:
        self._hands = hands
        self._served = served
        self._external = external
        self._max_body = max_body
        self._per_second = per_second
        self._fixtures = fixtures
        self._serving: asyncio.Future[StreamableHTTPSessionManager] | None = None

    def routes(self, tokens: Tokens | None = None) -> list[Route]:
        """The endpoint, behind ``tokens`` where they are accepted, and what clients have to know of these."""
        if tokens is None:
            return [Route(PATH, endpoint=self)]
        return [Route(PATH, endpoint=TokenGate(self, tokens)), *tokens.metadata_routes()]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Around the time in which requests come."""
        self._serving = asyncio.get_running_loop().create_future()
        async with anyio.create_task_group() as group:
            group.start_soon(self._run, self._serving)
            yield
            group.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._serving is None:
            raise RuntimeError("the application's lifespan has not been entered")
        try:
            manager = await asyncio.shield(self._serving)
        except Exception:
            error = {"code": -32603, "message": "MCP could not be started. The server's log says why."}
            answer = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status_code=503)
            await answer(scope, receive, send)
            return
        scope["user"] = _user(caller_of(scope))
        await manager.handle_request(scope, receive, send)

    async def _run(self, serving: asyncio.Future[StreamableHTTPSessionManager]) -> None:
        try:
            manager = await self._manager()
        except Exception as error:
            log.exception("MCP could not be started")
            serving.set_exception(error)
            serving.exception()  # seen: it is logged
            return
        async with manager.run():
            serving.set_result(manager)
            await anyio.sleep_forever()

    async def _manager(self) -> StreamableHTTPSessionManager:
        await asyncio.to_thread(load_sdk)
        if self._fixtures:
            return await asyncio.to_thread(self._build_fixtures)
        registry = (await self._hands.offer("full")).registry
        inner = for_model((await self._hands.offer()).registry, self._served.config.model)
        return await asyncio.to_thread(self._build, registry, inner)

    def _build(self, registry: Registry, inner: Registry) -> StreamableHTTPSessionManager:
        from .agent_tool import AgentTool
        from .http import manager
        from .server import create_server
        from .tools import CallLimits
        from .visits import Visits

        external = partial(attended, self._external)
        tools = Registry.of([*registry.tools.values(), AgentTool(self._served.parts, inner, external)])
        limits = CallLimits(per_second=self._per_second)
        server = create_server(tools, Visits(self._hands.sessions), limits, self._hands.on_call)
        return manager(server, self._max_body)

    def _build_fixtures(self) -> StreamableHTTPSessionManager:
        from .conformance.event_store import MemoryEventStore
        from .conformance.server import create_fixture_server
        from .http import manager

        return manager(create_fixture_server(), self._max_body, MemoryEventStore())


def _user(caller: Caller) -> object:
    """Whom the SDK binds connections to: the id of somebody else's connection is unknown to others."""
    # Only when it has been loaded: the SDK must not be imported from two threads at once.
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    return AuthenticatedUser(AccessToken(token="", client_id=caller.name, scopes=[]))

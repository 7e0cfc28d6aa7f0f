"""Composes the MCP server: one object for all transports and all revisions of the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio
import mcp.types as types
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel.server import Server
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ...tools import Registry
from ..observe.calls import OnCall
from .prompts import Prompts
from .resources import Resources
from .tasks import Tasks
from .tools import CallLimits, Tools
from .visits import Context, Visits
from .watch import Watch

_SAME = CacheHint(ttl_ms=300_000, scope="public")  # for everybody and for long
_HINTS: dict[CacheableMethod, CacheHint] = {
    "tools/list": _SAME,
    "prompts/list": _SAME,
    "resources/templates/list": _SAME,
    "server/discover": _SAME,
}
_INSTRUCTIONS = (
    "Tools that run Python and work with files in a sandboxed workspace. Calls with the same session_id share one "
    "workspace: its files, and the variables of Python."
)
_OWN = "Calls without a session_id share this server's own workspace."
_NEW = "A call without a session_id gets an empty workspace, and its result tells the id to pass on."


def create_server(
    registry: Registry, visits: Visits, limits: CallLimits | None = None, on_call: OnCall | None = None
) -> Server:
    """The server for ``registry``, without a transport. ``on_call`` is told of every call that is over."""
    tasks = Tasks()
    watch = Watch(visits.sessions)
    tools = Tools(registry, visits, tasks, limits or CallLimits(), on_call)
    resources = Resources(visits, watch)
    prompts = Prompts(registry.tools)

    @asynccontextmanager
    async def lifespan(_: Server) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            await group.start(tasks.run)
            await group.start(watch.run)
            yield
            group.cancel_scope.cancel()

    server = Server(
        "agenthost",
        version=version("agenthost"),
        title="agenthost",
        description="Sandboxed tools: Python, files, a browser",
        instructions=f"{_INSTRUCTIONS} {_NEW if visits.own is None else _OWN}",
        lifespan=lifespan,
        cache_hints=_HINTS,
        get_tool_input_schema=tools.schema,
        on_list_tools=tools.list,
        on_list_resources=resources.list,
        on_list_resource_templates=resources.templates,
        on_read_resource=resources.read,
        on_subscribe_resource=resources.subscribe,
        on_unsubscribe_resource=resources.unsubscribe,
        on_subscriptions_listen=resources.listen,
        on_list_prompts=prompts.list,
        on_get_prompt=prompts.get,
    )
    server.add_request_handler("tools/call", types.CallToolRequestParams, tools.call)  # its results may be tasks
    tasks.install(server)
    server.add_request_handler("server/discover", types.RequestParams, _discover(server))
    return server


def _discover(server: Server):  # noqa: ANN202
    """The SDK's own answer promises news of every list; ours never change while they may be kept."""

    async def discover(context: Context, params: types.RequestParams | None) -> types.DiscoverResult:
        can = server.get_capabilities(protocol_version=context.protocol_version)
        for part in (can.tools, can.prompts, can.resources):
            if part is not None:
                part.list_changed = False
        return types.DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS), capabilities=can, instructions=server.instructions
        )

    return discover

"""``agenthost mcp``: the hosted tools for one MCP client, over stdin and stdout."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio

from ..observe import logs
from ..served import ServedModel
from ..settings import ConfigError
from .problems import reported

if TYPE_CHECKING:
    from ...engine import AsyncEngine, EngineConfig, EngineInfo
    from ..chat.model import ChatModel


def main(options: Mapping[str, Any]) -> int:
    """0 when the client has left or the process was told to stop, 2 when it could not start."""
    if "print_config" in options:
        return reported("mcp", lambda: _print_config(options))
    logs.set_up(options.get("log_level", "warning"))
    return reported("mcp", lambda: asyncio.run(_serve(_checked(options))))


def _checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    if "url" in options:
        raise ConfigError("--url goes with --print-config: clients reach a running server by themselves.")
    return options


def _print_config(options: Mapping[str, Any]) -> int:
    """The configuration alone goes to stdout, so that it can be written to a file."""
    from ..mcp.client_config import CLIENTS, client_config, own_command

    client = options["print_config"]
    text = client_config(client, own_command(options), options.get("url"))
    print(f"For {CLIENTS[client].place}:", file=sys.stderr)
    print(text)
    return 0


async def _serve(options: Mapping[str, Any]) -> int:
    from ...tools import Sessions
    from ..hands import Hands, for_model
    from ..settings import ENGINE_SETTINGS, SANDBOX_SETTINGS, engine_config, gather, sandbox_config

    settings = gather(options, os.environ, ENGINE_SETTINGS | SANDBOX_SETTINGS)
    config = engine_config(settings)
    hands = Hands(Sessions(ttl=None), sandbox=sandbox_config(settings))
    directory = options.get("workspace")
    async with LateModel(config) as model, hands, anyio.create_task_group() as group:
        group.start_soon(_stop_when_told, group.cancel_scope)
        own = await hands.sessions.create(directory=Path(directory) if directory else None)
        offer = await hands.offer("full")
        for sentence in offer.missing:
            print(sentence, file=sys.stderr)
        from ...tools import Registry
        from ..mcp.agent_tool import AgentTool
        from ..mcp.server import create_server
        from ..mcp.stdio import serve_stdio
        from ..mcp.visits import Visits

        agent = AgentTool(model.parts, for_model((await hands.offer()).registry, config.model))
        registry = Registry.of([*offer.registry.tools.values(), agent])
        await serve_stdio(create_server(registry, Visits(hands.sessions, own)))
        group.cancel_scope.cancel()
    return 0


class LateModel:
    """The model behind the `agent` tool, started by its first call: most clients never make one."""

    def __init__(self, config: EngineConfig) -> None:
        self._served = ServedModel(config)
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def parts(self) -> tuple[AsyncEngine, ChatModel, EngineInfo]:
        """See `ServedModel.parts`."""
        async with self._starting:
            if self._served.status == "stopped":
                await self._stack.enter_async_context(self._served)
        return await self._served.parts()


async def _stop_when_told(scope: anyio.CancelScope) -> None:
    """Clients end servers by SIGTERM: sessions are closed then too."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return

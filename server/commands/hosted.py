"""An agent with its model, tools and workspace, for the terminal commands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..served import ServedModel
from ..settings import ENGINE_SETTINGS, engine_config, gather

if TYPE_CHECKING:
    from ...tools import Offer, Registry
    from ..agent.agent import Agent

# What the embedded model is trained on; a small model is confused by more.
_COMPACT = (
    "python", "read_text_file", "write_file", "list_directory", "edit_file", "search_files", "move_file",
    "create_directory",
)  # fmt: skip


@dataclass(frozen=True)
class Hosted:
    """``missing`` says in sentences which kinds of tools are off on this machine."""

    agent: Agent
    missing: tuple[str, ...]


@asynccontextmanager
async def hosted(options: Mapping[str, Any]) -> AsyncIterator[Hosted]:
    """Start the engine's process first; find the tools and make the workspace while it loads.

    Raises ConfigError, EngineError, WorkspaceError, TemplateError or UnknownFormat: all for the user to read.
    """
    config = engine_config(gather(options, os.environ, ENGINE_SETTINGS))
    async with ServedModel(config) as served:
        offer = await asyncio.to_thread(_offer, full=config.model != "pocket")
        from ...tools import Sessions, ToolContext
        from ..agent.agent import Agent
        from ..agent.plan import Limits

        async with Sessions() as sessions:
            directory = options.get("workspace")
            session = await sessions.create(directory=Path(directory) if directory else None)
            model, info = await served.ready()
            agent = Agent(
                served.engine,
                model,
                info,
                _compact(offer.registry) if config.model == "pocket" else offer.registry,
                ToolContext(session),
                system=options.get("system"),
                temperature=options.get("temperature"),
                limits=Limits(max_steps=options["max_steps"]) if "max_steps" in options else Limits(),
            )
            yield Hosted(agent, offer.missing)


def _offer(*, full: bool) -> Offer:
    from ...tools import default_tools

    return default_tools(files="full" if full else "core")


def _compact(registry: Registry) -> Registry:
    from ...tools import Registry

    return Registry.of(registry.tools[name] for name in _COMPACT if name in registry.tools)

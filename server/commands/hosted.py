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
from ..settings import (
    BROWSER_SETTINGS,
    ENGINE_SETTINGS,
    EXTERNAL_SETTINGS,
    SANDBOX_SETTINGS,
    browser_config,
    engine_config,
    external_config,
    gather,
    sandbox_config,
)
from .external import external_tools

if TYPE_CHECKING:
    from ...tools.browser.config import BrowserConfig
    from ...tools.sandbox.config import SandboxConfig
    from ..agent.agent import Agent
    from ..external.config import ExternalConfig
    from .person import Person


@dataclass(frozen=True)
class Hosted:
    """``missing`` says in sentences which kinds of tools are off on this machine."""

    agent: Agent
    missing: tuple[str, ...]


@asynccontextmanager
async def hosted(options: Mapping[str, Any], person: Person | None = None) -> AsyncIterator[Hosted]:
    """Start the engine's process first; find the tools and make the workspace while it loads.

    ``person`` answers what external servers ask; without one, nobody does.

    Raises BrowserUnavailable, ConfigError, EngineError, WorkspaceError, TemplateError or
    UnknownFormat: all for the user to read.
    """
    if person is not None and not person.present:
        person = None
    known = ENGINE_SETTINGS | BROWSER_SETTINGS | SANDBOX_SETTINGS | EXTERNAL_SETTINGS
    settings = gather(options, os.environ, known)
    config = engine_config(settings)
    async with ServedModel(config) as served:
        browser, sandbox, servers = await asyncio.to_thread(_tool_configs, settings)
        from ...tools import Sessions, ToolContext
        from ..agent.agent import Agent
        from ..agent.plan import Limits
        from ..hands import Hands, for_model

        external = external_tools(servers, person)
        async with Hands(Sessions(ttl=None), browser, sandbox) as hands, external as others:
            directory = options.get("workspace")
            session = await hands.sessions.create(directory=Path(directory) if directory else None)
            model, info = await served.ready()
            offer = await hands.offer_for(served)
            agent = Agent(
                served.engine,
                model,
                info,
                others.beside(for_model(offer.registry, config.model), info.max_model_len),
                ToolContext(session, ask=person.answer if person else None),
                system=options.get("system"),
                temperature=options.get("temperature"),
                limits=Limits(max_steps=options["max_steps"]) if "max_steps" in options else Limits(),
            )
            yield Hosted(agent, (*offer.missing, *others.problems))


def _tool_configs(settings: Mapping[str, Any]) -> tuple[BrowserConfig, SandboxConfig, ExternalConfig]:
    """Loads the tools, which takes half a second."""
    return browser_config(settings), sandbox_config(settings), external_config(settings, os.environ)

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
    browser_config,
    engine_config,
    external_config,
    gather,
)
from .external import external_tools

if TYPE_CHECKING:
    from ...tools import Browsing, Offer
    from ..agent.agent import Agent
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
    settings = gather(options, os.environ, ENGINE_SETTINGS | BROWSER_SETTINGS | EXTERNAL_SETTINGS)
    servers = external_config(settings, os.environ)
    config = engine_config(settings)
    async with ServedModel(config) as served:
        browser = await asyncio.to_thread(browser_config, settings)
        from ...tools import Browsing, Sessions, ToolContext
        from ..agent.agent import Agent
        from ..agent.plan import Limits
        from ..hands import for_model

        external = external_tools(servers, person)
        async with Browsing(browser) as browsing, Sessions() as sessions, external as others:
            offer = await asyncio.to_thread(_offer, browsing, full=config.model != "pocket")
            directory = options.get("workspace")
            session = await sessions.create(directory=Path(directory) if directory else None)
            model, info = await served.ready()
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


def _offer(browsing: Browsing, *, full: bool) -> Offer:
    from ...tools import default_tools

    return default_tools(files="full" if full else "core", browsing=browsing)

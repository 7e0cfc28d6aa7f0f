"""How the browser tools are set up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BrowserKind = Literal["off", "text", "chromium"]


@dataclass(frozen=True)
class BrowserConfig:
    """What the operator wants.

    Args:
        browser: ``text`` gets pages over HTTP; ``chromium`` shows them in a real browser, so that scripts run. ``off``
            still searches, and opens what was found, where a search is configured.
        control: also offer the ``browser_*`` tools, which act in Chromium (implies it).
        search_url: a SearXNG server.
        brave_key, tavily_key: for these search services.
        search_index: a folder of documents to search.
        allow_host: hosts that may be opened although their addresses are private: ``intranet.example:8080``.
    """

    browser: BrowserKind = "off"
    control: bool = False
    search_url: str | None = None
    brave_key: str | None = None
    tavily_key: str | None = None
    search_index: Path | None = None
    allow_host: tuple[str, ...] = ()

"""How the browser tools are set up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..egress.errors import Refused
from ..egress.policy import rules
from ..egress.target import Target

BrowserKind = Literal["off", "text", "chromium"]


@dataclass(frozen=True)
class BrowserConfig:
    """What the operator wants.

    Args:
        browser: ``text`` gets pages over HTTP; ``chromium`` shows them in a real browser, so that scripts run. ``off``
            still searches, and opens what was found, where a search is configured.
        browser_control: also offer the ``browser_*`` tools, which act in Chromium (implies it).
        search_url: a SearXNG server.
        brave_key, tavily_key: for these search services.
        search_index: a folder of documents to search.
        allow_host: hosts that may be opened although their addresses are private: ``intranet.example:8080``.
    """

    browser: BrowserKind = "off"
    browser_control: bool = False
    search_url: str | None = None
    brave_key: str | None = None
    tavily_key: str | None = None
    search_index: str | None = None
    allow_host: tuple[str, ...] = ()

    def check(self) -> None:
        """Look at what can be judged before anything starts.

        Raises:
            ValueError: a setting cannot be used; the message names it.
        """
        try:
            rules(self.allow_host)
        except ValueError as error:
            raise ValueError(f"allow_host: {error}") from error
        if self.search_url:
            try:
                Target.parse(self.search_url)
            except Refused as error:
                raise ValueError(f"search_url: {error}") from error
        if self.search_index and not Path(self.search_index).is_dir():
            raise ValueError(f"search_index: {self.search_index!r} is not a folder. Give one with documents.")

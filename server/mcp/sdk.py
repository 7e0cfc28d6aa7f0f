"""Loads the MCP SDK beside the model, since it takes a second; in one thread, since two can break its import."""

from __future__ import annotations

import importlib
import threading

_loading = threading.Lock()
_MODULES = (
    ".agent_tool", ".http", ".server", "...tools.remote.servers", "...tools.remote.login", "...tools.remote.pool",
)  # fmt: skip


def load_sdk() -> None:
    """Load all that needs the SDK. To be called in a thread; afterwards these modules can be imported anywhere."""
    with _loading:
        for module in _MODULES:
            importlib.import_module(module, __package__)

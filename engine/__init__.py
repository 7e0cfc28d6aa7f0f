"""The model half: token ids in, token ids out. Knows nothing of HTTP, chat messages or tools.

Importing this package does not load torch; ``LLM`` does when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import AsyncEngine
    from .config import EngineConfig
    from .errors import EngineError
    from .hub import resolve_model
    from .llm import LLM, Completion, Generation
    from .protocol import EngineInfo
    from .request import Grammar, Request, SamplingParams, TokenOutput
    from .streams import TextOutputs, TokenStream
    from .text import TextOutput
    from .tokenizer import TextStream, Tokenizer

_WHERE = {
    "AsyncEngine": "client",
    "EngineInfo": "protocol",
    "Generation": "llm",
    "TextOutput": "text",
    "TextOutputs": "streams",
    "TokenStream": "streams",
    "EngineConfig": "config",
    "EngineError": "errors",
    "resolve_model": "hub",
    "LLM": "llm",
    "Completion": "llm",
    "Grammar": "request",
    "Request": "request",
    "SamplingParams": "request",
    "TokenOutput": "request",
    "TextStream": "tokenizer",
    "Tokenizer": "tokenizer",
}

__all__ = [
    "LLM", "AsyncEngine", "Completion", "EngineConfig", "EngineError", "EngineInfo", "Generation", "Grammar",
    "Request", "SamplingParams", "TextOutput", "TextOutputs", "TextStream", "TokenOutput", "TokenStream", "Tokenizer",
    "resolve_model",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)

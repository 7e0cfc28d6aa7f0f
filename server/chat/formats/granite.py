"""Granite 3's calls: ``<|tool_call|>[{"name": "f", "arguments": {...}}, ...]``. Granite 4 writes Hermes calls."""

from __future__ import annotations

from .listed_calls import ListedCalls


class Granite(ListedCalls):
    name = "granite"
    trigger = "<|tool_call|>"
    markers = (trigger,)

    @classmethod
    def writes(cls, template: str) -> bool:
        return cls.trigger in template

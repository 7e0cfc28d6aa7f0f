"""Tool-call formats, one file each, by the names that vLLM and SGLang users type."""

from __future__ import annotations

from .base import (
    CallArguments,
    CallStart,
    ChoiceMode,
    Delta,
    FunctionTool,
    StreamParser,
    TextDelta,
    ToolChoice,
    ToolFormat,
)
from .hermes import Hermes

__all__ = [
    "CallArguments",
    "CallStart",
    "ChoiceMode",
    "Delta",
    "FunctionTool",
    "StreamParser",
    "TextDelta",
    "ToolChoice",
    "ToolFormat",
    "UnknownFormat",
    "detect",
    "named",
]

_FORMATS: dict[str, type[ToolFormat]] = {"hermes": Hermes}
_ALIASES = {"qwen": "hermes", "qwen25": "hermes", "qwen2_5": "hermes", "qwen3": "hermes"}


class UnknownFormat(ValueError):
    """No tool-call format has this name; the message lists those that exist."""


def named(name: str) -> ToolFormat:
    """The format that a user names. Raises :class:`UnknownFormat`."""
    found = _FORMATS.get(_ALIASES.get(name, name))
    if found is None:
        known = ", ".join(sorted([*_FORMATS, *_ALIASES]))
        raise UnknownFormat(f"there is no tool-call format named {name!r}. Known names: {known}.")
    return found()


def detect(template: str) -> ToolFormat | None:
    """The format that a chat template writes, None when it writes none that is known."""
    if "<tool_call>" in template and ('"arguments"' in template or '\\"arguments\\"' in template):
        return Hermes()
    return None

"""Tool-call formats, one file each, by the names that vLLM and SGLang users type."""

from __future__ import annotations

from .base import (
    CallArguments,
    CallStart,
    Delta,
    FunctionTool,
    ReasoningDelta,
    StreamParser,
    TextDelta,
    ToolChoice,
    ToolFormat,
)
from .deepseek import DeepSeekV3, DeepSeekV31
from .gemma import Gemma
from .glm45 import Glm45
from .granite import Granite
from .harmony import Harmony
from .hermes import Hermes
from .kimi_k2 import KimiK2
from .llama3_json import Llama3Json
from .mistral import Mistral
from .phi4_mini import Phi4Mini
from .pythonic import Llama4Pythonic, Pythonic
from .qwen3_coder import Qwen3Coder

__all__ = [
    "FORMATS",
    "CallArguments",
    "CallStart",
    "Delta",
    "FunctionTool",
    "ReasoningDelta",
    "StreamParser",
    "TextDelta",
    "ToolChoice",
    "ToolFormat",
    "UnknownFormat",
    "detect",
    "named",
]

# In the order in which a template is asked: what is written with marks of its own comes before what looks like others.
FORMATS: tuple[type[ToolFormat], ...] = (
    Harmony, KimiK2, DeepSeekV3, DeepSeekV31, Mistral, Qwen3Coder, Glm45, Gemma, Phi4Mini, Granite, Llama4Pythonic,
    Hermes, Llama3Json, Pythonic,
)  # fmt: skip
_BY_NAME = {format.name: format for format in FORMATS}
_ALIASES = {
    "qwen": "hermes", "qwen25": "hermes", "qwen2_5": "hermes", "qwen3": "hermes", "granite4": "hermes",
    "qwen3_xml": "qwen3_coder", "seed_oss": "qwen3_coder", "llama3": "llama3_json", "llama4_json": "llama3_json",
    "deepseekv3": "deepseek_v3", "deepseekv31": "deepseek_v31", "deepseek_v3_1": "deepseek_v31", "gpt-oss": "openai",
    "gpt_oss": "openai", "harmony": "openai", "kimi": "kimi_k2", "glm": "glm45", "glm47": "glm45", "glm4_moe": "glm45",
    "phi4_mini": "phi4_mini_json", "functiongemma": "gemma", "gemma4": "gemma",
}  # fmt: skip


class UnknownFormat(ValueError):
    """No format has this name; the message lists those that exist."""


def named(name: str, template: str = "") -> ToolFormat:
    """The format that a user names, in the spelling that the template shows. Raises :class:`UnknownFormat`."""
    found = _BY_NAME.get(_ALIASES.get(name, name))
    if found is None:
        known = ", ".join(sorted([*_BY_NAME, *_ALIASES]))
        raise UnknownFormat(f"there is no tool-call format named {name!r}. Known names: {known}.")
    return found(template)


def detect(template: str) -> ToolFormat | None:
    """The format that a chat template writes, None when it writes none that is known."""
    return next((format(template) for format in FORMATS if format.writes(template)), None)

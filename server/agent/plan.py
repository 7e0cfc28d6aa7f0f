"""What a task asks of every turn of the model, and when it is given up."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...engine import SamplingParams
from ..chat.formats import FunctionTool, ToolChoice
from ..json_values import JsonObject

_AUTO = ToolChoice()
_NONE = ToolChoice("none")


@dataclass(frozen=True)
class Limits:
    """When a task is given up.

    Attributes:
        max_steps: turns of the model. max_tool_calls: calls of our tools in all.
        max_turn_tokens: tokens of one turn, None for what the context leaves.
        max_tokens: tokens of all turns together.
        max_output: characters of one tool result that the model gets to read; None follows from its context length.
        tool_timeout: seconds of one call, where the tool's own timeout is longer.
        insist: at the last step, and when the calls are used up, the model is held to answer without calls of our
            tools. Otherwise the task then ends as failed.
    """

    max_steps: int = 24
    max_tool_calls: int = 64
    max_turn_tokens: int | None = 4096
    max_tokens: int | None = None
    max_output: int | None = None
    tool_timeout: float | None = None
    insist: bool = False


@dataclass(frozen=True)
class Plan:
    """What every turn of one task asks of the engine.

    Attributes:
        sampling: of all turns, without a grammar.
        functions: what turns may call.
        first, following, last: how the first turn uses them, those after it, and one that must not call.
        text: what turns that call nothing must be, as a structural-tag format; None for any text.
        budget: the most tokens of thought in a turn.
        stop: texts that end a turn. include_stop: they are part of it.
        program, priority, cache_salt: see :class:`engine.Request`.
    """

    sampling: SamplingParams
    functions: Sequence[FunctionTool] = ()
    first: ToolChoice = _AUTO
    following: ToolChoice = _AUTO
    last: ToolChoice = _NONE
    text: JsonObject | None = None
    budget: int | None = None
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    program: str = field(default_factory=lambda: f"agent-{secrets.token_hex(8)}")
    priority: int = 0
    cache_salt: str = ""

"""Generation for the evaluation as users have it: through agenthost's engine, with calls held to their schemas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from agenthost.engine import LLM, Grammar, SamplingParams
from agenthost.server.chat.formats import FunctionTool, ToolChoice
from agenthost.server.chat.formats.hermes import Hermes

from .agent import Generate
from .toolbox import Toolbox

_TOGETHER = 64  # prompts at a time; each may bring a grammar process of its own


def engine_loop(folder: Path, limit: int, *, grammar: bool) -> Generate:
    """Greedy generation of at most ``limit`` tokens a turn by :class:`agenthost.engine.LLM`."""
    llm = LLM(str(folder))

    def sampling(toolbox: Toolbox) -> SamplingParams:
        functions = [FunctionTool(view.name, view.schema) for view in toolbox.views.values()]
        constraint = None
        if grammar and functions:
            constraint = Grammar("structural_tag", json.dumps(Hermes().grammar(functions, ToolChoice("auto"))))
        return SamplingParams(temperature=0.0, max_tokens=limit, grammar=constraint)

    def generate(prompts: Sequence[str], toolboxes: Sequence[Toolbox]) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(prompts), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            texts += [one.text for one in llm.generate(list(prompts[part]), [sampling(box) for box in toolboxes[part]])]
        return texts

    return generate

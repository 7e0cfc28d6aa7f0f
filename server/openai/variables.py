"""What a chat request sets for the model's chat template."""

from __future__ import annotations

import re

from ..chat.model import ChatModel
from ..json_values import JsonObject
from .errors import ApiError
from .schemas import ChatRequest

_OURS = ("messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token")
# Efforts that templates do not know, by the nearest that they do.
_NEAREST = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
# Switches of thinking, by the templates that have them.
_SWITCHES = ("enable_thinking", "thinking")


def template_variables(chat: ChatRequest) -> JsonObject:
    """``chat_template_kwargs``. Raises :class:`ApiError` for names that are not the client's to set."""
    if chat.chat_template is not None:
        raise ApiError(
            "chat_template cannot be set by a request, since a template is code. The operator sets it with "
            "--chat-template; chat_template_kwargs sets its variables.",
            code="unsupported_parameter",
            param="chat_template",
        )
    variables = chat.chat_template_kwargs or {}
    for name in variables:
        if name in _OURS or not name.isidentifier():
            message = f"chat_template_kwargs cannot set {name[:100]!r}."
            raise ApiError(message, code="invalid_value", param="chat_template_kwargs")
    return variables


def effort_variables(effort: str | None, model: ChatModel) -> JsonObject:
    """What ``reasoning_effort`` means to the model's template, which may be nothing."""
    if effort is None:
        return {}
    source = f"{model.template.source}{model.template.tools_source or ''}"
    variables: JsonObject = {name: effort != "none" for name in _SWITCHES if re.search(rf"\b{name}\b", source)}
    if "reasoning_effort" in source:
        variables["reasoning_effort"] = _NEAREST.get(effort, effort)
    return variables

"""A chat request, checked and brought into the engine's terms."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...engine import Grammar, SamplingParams
from ...engine.errors import InvalidRequest
from ..chat.conversation import Conversation
from ..chat.formats import FunctionTool, ToolChoice
from ..chat.messages import MessageError, normalise
from ..chat.model import ChatModel
from ..chat.template import TemplateError
from ..served import ServedModel
from .errors import ApiError
from .sampling import sampling_params, stop_strings
from .schemas import ChatRequest
from .tools import Tools, read_tools, response_grammar

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A checked chat request: what every one of its ``n`` choices asks of the engine."""

    conversation: Conversation
    prompt: list[int]
    sampling: SamplingParams
    tools: Tools
    text: JsonObject | None
    stop: tuple[str, ...]
    cache_salt: str


def served_name(served: ServedModel, model: str | None) -> str:
    """The name to answer with. Raises :class:`ApiError` for a model that is not served."""
    if model is not None and model not in served.names:
        known = ", ".join(served.names)
        raise ApiError(
            f"The model {model[:200]!r} does not exist. This server has: {known}.",
            status=404,
            code="model_not_found",
            param="model",
        )
    return model or served.names[0]


async def prepare(chat: ChatRequest, served: ServedModel, owner: str, *, stored: bool = False) -> Prepared:
    """Check everything that can be checked before the engine sees it. Raises :class:`ApiError` or EngineError.

    Args:
        owner: whose conversation it is. stored: it is in the store, as far as it goes.
    """
    model, info = served.now()
    # Checking new schemas takes long enough to be felt by other streams.
    tools = await asyncio.to_thread(read_tools, chat, model) if chat.tools else read_tools(chat, model)
    conversation = Conversation(model, tools.rendered, transcript=served.transcript, owner=owner, stored=stored)
    try:
        prompt = await conversation.prompt(normalise(chat.messages))
    except MessageError as error:
        place = "messages" if error.index is None else f"messages[{error.index}]"
        raise ApiError(f"{place}: {error}", code="invalid_value", param=place) from error
    except TemplateError as error:
        raise ApiError(str(error), code="invalid_value", param="messages") from error
    if len(prompt) >= info.max_model_len:
        raise context_overflow(len(prompt), info.max_model_len)
    wanted = await asyncio.to_thread(response_grammar, chat.response_format) if chat.response_format else None
    grammar = turn_grammar(model, tools.functions, tools.choice, wanted)
    sampling = sampling_params(chat, model.defaults, room=info.max_model_len - len(prompt), grammar=grammar)
    sampling.check(info.vocab_size)
    return Prepared(
        conversation, prompt, sampling, tools, wanted, stop_strings(chat), served.cache_salt(owner, chat.cache_salt)
    )


def context_overflow(tokens: int, limit: int) -> ApiError:
    """The words and the code by which clients notice that they have to shorten the conversation."""
    return ApiError(
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages.",
        code="context_length_exceeded",
        param="messages",
    )


def turn_grammar(
    model: ChatModel, functions: Sequence[FunctionTool], choice: ToolChoice, text: JsonObject | None
) -> Grammar | None:
    """What a turn may be: calls of ``functions`` as ``choice`` has it, and else ``text``, a structural-tag format."""
    if functions and model.format is not None:
        tag = model.format.grammar(functions, choice, text)
        return Grammar("structural_tag", json.dumps(tag, ensure_ascii=False))
    return Grammar("json_schema", json.dumps(text["json_schema"], ensure_ascii=False)) if text else None


def bad_grammar(error: InvalidRequest, prepared: Prepared) -> ApiError:
    """Clients know nothing of grammars: theirs came from a schema."""
    if prepared.tools.functions:
        return ApiError(f"Invalid tools: {error}", code="invalid_function_parameters", param="tools")
    return ApiError(f"Invalid response_format: {error}", code="invalid_json_schema", param="response_format")

"""A chat request, checked and brought into the engine's terms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...engine import SamplingParams
from ...engine.errors import ContextOverflow, InvalidRequest
from ..chat.context import overflow
from ..chat.conversation import Conversation
from ..chat.messages import MessageError, normalise
from ..chat.model import ChatModel
from ..chat.template import TemplateError
from ..json_values import JsonObject
from ..served import ServedModel
from .errors import ApiError
from .sampling import sampling_params, stop_strings
from .schemas import ChatRequest
from .shorten import shortened
from .tools import Tools, definitions, read_tools
from .variables import effort_variables, template_variables
from .wanted import wanted_text

_ROOM = 4  # the part of the context that a shortened conversation leaves


@dataclass(frozen=True)
class Prepared:
    """A checked chat request: what every one of its ``n`` choices asks of the engine.

    Attributes:
        conversation: what was said, with ``prompt`` at its end.
        replayable: the turn follows the prompt as the template has it, so it may be found again when it comes back.
        text: what the answer must be, as a structural-tag format.
    """

    conversation: Conversation
    prompt: list[int]
    sampling: SamplingParams
    tools: Tools
    text: JsonObject | None
    stop: tuple[str, ...]
    cache_salt: str
    replayable: bool = True


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
    tools = await _tools(chat, model)
    wanted = await asyncio.to_thread(wanted_text, chat)
    conversation, prompt = await _fitting(chat, served, tools, owner, stored=stored)
    grammar = model.grammar(prompt, tools.functions, tools.choice, wanted, chat.thinking_token_budget)
    sampling = sampling_params(chat, model.defaults, room=info.max_model_len - len(prompt), grammar=grammar)
    sampling.check(info.vocab_size)
    return Prepared(
        conversation, prompt, sampling, tools, wanted, stop_strings(chat), served.cache_salt(owner, chat.cache_salt),
        not open_ended(chat),
    )  # fmt: skip


async def count_tokens(chat: ChatRequest, served: ServedModel, owner: str, *, stored: bool = False) -> int:
    """How long the prompt is, even if it is longer than the context: whoever asks wants to know by how much.

    Arguments are those of :func:`prepare`. Raises :class:`ApiError` or EngineError.
    """
    model, _ = served.now()
    _, prompt = await _prompt(chat, served, await _tools(chat, model), owner, stored=stored)
    return len(prompt)


async def _tools(chat: ChatRequest, model: ChatModel) -> Tools:
    # Checking new schemas takes long enough to be felt by other streams.
    return await asyncio.to_thread(read_tools, chat, model) if definitions(chat) else read_tools(chat, model)


async def _fitting(
    chat: ChatRequest, served: ServedModel, tools: Tools, owner: str, *, stored: bool
) -> tuple[Conversation, list[int]]:
    """The same as :func:`_prompt`, with a token of room at least; shortened where it must be and may be."""
    _, info = served.now()

    async def within(messages: list[JsonObject], room: int) -> tuple[Conversation, list[int]]:
        part = chat.model_copy(update={"messages": messages})
        conversation, prompt = await _prompt(part, served, tools, owner, stored=stored)
        if len(prompt) + room > info.max_model_len:
            raise overflow(len(prompt), info.max_model_len)
        return conversation, prompt

    try:
        return await within(chat.messages, 1)
    except ContextOverflow:
        if chat.truncation != "auto":
            raise
    # If it is shortened, then so that there is room for an answer, and for some more turns with the same prefix.
    room = info.max_model_len // _ROOM
    return await shortened(chat.messages, lambda messages, least: within(messages, 1 if least else room))


async def _prompt(
    chat: ChatRequest, served: ServedModel, tools: Tools, owner: str, *, stored: bool
) -> tuple[Conversation, list[int]]:
    """The conversation and its prompt. Raises :class:`ApiError` or ContextOverflow."""
    try:
        return await _rendered(chat, served, tools, owner, stored=stored)
    except MessageError as error:
        place = "messages" if error.index is None else f"messages[{error.index}]"
        raise ApiError(f"{place}: {error}", code="invalid_value", param=place) from error
    except TemplateError as error:
        raise ApiError(str(error), code="invalid_value", param="messages") from error


async def _rendered(
    chat: ChatRequest, served: ServedModel, tools: Tools, owner: str, *, stored: bool
) -> tuple[Conversation, list[int]]:
    model, _ = served.now()
    messages = normalise(chat.messages)
    variables = template_variables(chat)
    for given in ({**effort_variables(chat.reasoning_effort, model), **variables}, variables):
        conversation = Conversation(
            model, tools.rendered, transcript=served.transcript, owner=owner, stored=stored, variables=given
        )
        try:
            if not open_ended(chat):
                return conversation, await conversation.prompt(messages)
            return conversation, await _continued(chat, model, messages, tools, given)
        except TemplateError:
            if given == variables:  # some templates refuse efforts that they do not know
                raise
    raise AssertionError("unreachable")


def open_ended(chat: ChatRequest) -> bool:
    """The prompt does not end where the template has the assistant begin."""
    return bool(chat.continue_final_message) or chat.add_generation_prompt is False


async def _continued(
    chat: ChatRequest, model: ChatModel, messages: list[JsonObject], tools: Tools, variables: JsonObject
) -> list[int]:
    if chat.continue_final_message and chat.add_generation_prompt:
        raise ApiError(
            "continue_final_message and add_generation_prompt exclude each other.",
            code="invalid_value",
            param="continue_final_message",
        )
    if chat.continue_final_message and messages[-1]["role"] != "assistant":
        raise ApiError(
            "continue_final_message needs the assistant's message as the last one.",
            code="invalid_value",
            param="continue_final_message",
        )
    return await model.prompt(
        messages,
        tools.rendered,
        variables=variables,
        add_generation_prompt=False,
        continue_final_message=bool(chat.continue_final_message),
    )


@contextmanager
def telling_of_grammars(prepared: Prepared) -> Iterator[None]:
    """The engine's refusal of a grammar becomes an :class:`ApiError` that says what of the request it came from."""
    try:
        yield
    except InvalidRequest as error:
        if error.param == "grammar":
            raise _bad_grammar(error, prepared) from error
        raise


def _bad_grammar(error: InvalidRequest, prepared: Prepared) -> ApiError:
    """Clients know nothing of grammars: theirs came from a schema, or from what they asked the answer to be."""
    if prepared.tools.functions:
        return ApiError(f"Invalid tools: {error}", code="invalid_function_parameters", param="tools")
    if prepared.text is None or prepared.text["type"] == "json_schema":
        return ApiError(f"Invalid response_format: {error}", code="invalid_json_schema", param="response_format")
    return ApiError(f"The answer cannot be held to what was asked: {error}", code="invalid_value", param="grammar")

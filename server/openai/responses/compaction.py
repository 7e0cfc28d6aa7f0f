"""``/v1/responses/compact``: a conversation in fewer tokens, as items to go on with.

What users and developers said stays as it is. In place of all else stands one item with a summary, which the model
writes as the conversation's next turn, without a thought: so it finds its whole history in the cache. Clients throw
away what was compacted, so half a summary is a failure.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Literal, TypedDict

from ...chat.formats import TextDelta
from ...chat.generate import Generation
from ...json_values import JsonObject
from ...served import ServedModel
from ..choices import engine_requests
from ..errors import ApiError
from ..prepare import prepare
from ..schemas import ChatRequest
from .body import ResponseUsage, count, new_usage
from .items import Item, public
from .sealed import seal

# Tokens of a summary. With less room than the least, or than that part of a small context, it would be cut off.
_MOST_TOKENS = 4096
_LEAST_TOKENS = 512
_LEAST_PART = 1 / 16
_WISH = (
    "Write a summary of our conversation, with which somebody who has not read it can go on with the task: what is "
    "wanted, what was found and decided, names, numbers and paths that matter, what is left to do. Call no tool."
)
_BEGINNING = "A summary of the conversation so far, in place of its turns:\n\n"


class CompactionItem(Item):
    """A summary that stands for items, for us to read again."""

    encrypted_content: str


class Compaction(TypedDict):
    """Items to go on with."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[Item]
    usage: ResponseUsage


async def compact(
    chat: ChatRequest, items: Sequence[JsonObject], served: ServedModel, owner: str, *, stored: bool
) -> Compaction:
    """The answer's body.

    Args:
        chat: the conversation as chat completions have it, made of ``items``.
        stored: as of a Conversation.

    Raises ApiError or EngineError.
    """
    wish = {"role": "user", "content": _WISH}
    wanted = {"messages": [*chat.messages, wish], "tool_choice": "none" if chat.tools else None}
    bounds = {"max_completion_tokens": _MOST_TOKENS, "thinking_token_budget": 0}
    chat = chat.model_copy(update={**wanted, **bounds, "response_format": None})
    prepared = await prepare(chat, served, owner, stored=stored)
    model, info = served.now()
    if info.max_model_len - len(prepared.prompt) < min(_LEAST_TOKENS, info.max_model_len * _LEAST_PART):
        raise ApiError(
            f"This model's maximum context length is {info.max_model_len} tokens. The conversation takes "
            f"{len(prepared.prompt)} of them, which leaves too few for a summary. Please compact a part of it.",
            code="context_length_exceeded",
            param="input",
        )
    [request] = engine_requests(chat, prepared.prompt, prepared.sampling, cache_salt=prepared.cache_salt)
    generation = await Generation.start(served.engine, model, request)
    summary = ""
    try:
        async for piece in generation:
            summary += "".join(delta.text for delta in piece.deltas if isinstance(delta, TextDelta))
    finally:
        await generation.aclose()
    if generation.finish_reason == "length":
        tokens = generation.usage.completion_tokens
        raise ApiError(f"The model's summary was cut off after {tokens} tokens.", status=500, code="server_error")
    if not summary.strip():
        raise ApiError("The model wrote no summary.", status=500, code="server_error")
    said = [public(item) for item in items if item["type"] == "message" and item.get("role") != "assistant"]
    compaction: CompactionItem = {
        "id": f"cmp_{secrets.token_hex(16)}", "type": "compaction",
        "encrypted_content": seal(_BEGINNING + summary.strip()),
    }  # fmt: skip
    usage = new_usage()
    count(usage, generation.usage)
    return {
        "id": f"resp_{secrets.token_hex(24)}", "object": "response.compaction", "created_at": int(time.time()),
        "output": [*said, compaction], "usage": usage,
    }  # fmt: skip

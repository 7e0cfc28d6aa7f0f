"""``/v1/responses/compact``: a conversation in fewer tokens, as items to go on with.

What users and developers said stays as it is. In place of all else stands one item with a summary, which the model
writes as the conversation's next turn: so it finds its whole history in the cache.
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
from ..prepare import prepare
from ..schemas import ChatRequest
from .body import ResponseUsage, count, new_usage
from .items import Item, public
from .sealed import seal

_MOST_TOKENS = 2048  # of a summary
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
    chat = chat.model_copy(update={**wanted, "max_completion_tokens": _MOST_TOKENS, "response_format": None})
    prepared = await prepare(chat, served, owner, stored=stored)
    model, _ = served.now()
    [request] = engine_requests(chat, prepared.prompt, prepared.sampling, cache_salt=prepared.cache_salt)
    generation = await Generation.start(served.engine, model, request)
    summary = ""
    try:
        async for piece in generation:
            summary += "".join(delta.text for delta in piece.deltas if isinstance(delta, TextDelta))
    finally:
        await generation.aclose()
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

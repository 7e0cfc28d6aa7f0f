"""What came before a request: the items of the response or the conversation that it continues, and then its own."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field

from ...json_values import JsonObject
from ...state import State
from ...store.responses import UNFINISHED
from ..errors import ApiError, not_found
from .items import public
from .schemas import InputRequest


@dataclass(frozen=True)
class History:
    """``before`` holds the items so far, ``own`` those of the request, each with an id."""

    before: list[JsonObject] = field(default_factory=list)
    own: list[JsonObject] = field(default_factory=list)

    @property
    def items(self) -> list[JsonObject]:
        return [*self.before, *self.own]


async def read_history(request: InputRequest, state: State, owner: str) -> History:
    """Raises :class:`ApiError`."""
    own = await _resolved(own_items(request), state, owner)
    conversation = request.conversation_id
    if request.previous_response_id and conversation:
        raise ApiError("Give previous_response_id or conversation, not both.", code="mutually_exclusive_parameters")
    if request.previous_response_id:
        chain = await state.responses.history(request.previous_response_id, owner)
        if chain is None:
            raise ApiError(
                f"Previous response with id '{request.previous_response_id[:100]}' not found.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        if chain[-1].body["status"] in UNFINISHED:
            raise ApiError(
                f"Previous response with id '{chain[-1].id}' is still {chain[-1].body['status']}. Wait for its end.",
                code="invalid_value",
                param="previous_response_id",
            )
        return History([item for link in chain for item in (*link.input, *link.output)], own)
    if conversation:
        if await state.conversations.get(conversation, owner) is None:
            raise not_found("conversation", conversation)
        return History(await state.conversations.items(conversation), own)
    return History([], own)


async def _resolved(items: list[JsonObject], state: State, owner: str) -> list[JsonObject]:
    """The items, with those that they refer to in the places of references. Raises :class:`ApiError`."""
    wanted = [item["id"] for item in items if item["type"] == "item_reference"]
    twice = next((item_id for item_id, times in Counter(wanted).items() if times > 1), None)
    if twice is not None:  # a small request could otherwise stand for one of any size
        message = f"The item '{twice[:100]}' is referred to more than once. Refer to it once."
        raise ApiError(message, code="invalid_value", param="input")
    found = await state.responses.find_items(wanted, owner) if wanted else {}
    missing = next((item_id for item_id in wanted if item_id not in found), None)
    if missing is not None:
        raise not_found("item", missing)
    return [found[item["id"]] if item["type"] == "item_reference" else item for item in items]


def own_items(request: InputRequest) -> list[JsonObject]:
    """The request's input as items, each with a type and an id. Private keys are ours alone to write."""
    given = request.input
    if given is None:
        return []
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    return [with_id(item) for item in given]


def with_id(item: JsonObject) -> JsonObject:
    item = dict(public(item))
    kind = item.get("type") or "message"
    if kind == "message" and isinstance(item.get("content"), str):
        part = "output_text" if item.get("role") == "assistant" else "input_text"
        text: JsonObject = {"type": part, "text": item["content"]}
        if part == "output_text":
            text["annotations"] = []
        item = {**item, "content": [text]}
    if kind == "message":
        item = {"status": "completed", **item}
    given = item.get("id")
    # Longer than the ids that say which turn of the model an item belongs to.
    own = f"{_PREFIXES.get(kind, 'item')}_{secrets.token_hex(16)}"
    return {**item, "id": given if isinstance(given, str) and given else own, "type": kind}


_PREFIXES = {
    "message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs",
    "custom_tool_call": "ctc", "custom_tool_call_output": "ctco",
}  # fmt: skip

"""``/v1/conversations``: items that several responses share."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..http import body
from ..http.caller import caller_of
from ..state import State
from ..store.conversations import StoredConversation
from .errors import ApiError, not_found
from .pages import page
from .responses.history import with_id
from .responses.items import ItemError, public, to_messages

JsonObject = dict[str, Any]

router = APIRouter()

_MOST_ITEMS = 20  # that one request may add


class ConversationRequest(BaseModel):
    """The body of ``POST /v1/conversations``."""

    items: list[JsonObject] | None = None
    metadata: dict[str, str] | None = None


class ConversationUpdate(BaseModel):
    """The body of ``POST /v1/conversations/{id}``."""

    metadata: dict[str, str] | None


class ItemsRequest(BaseModel):
    """The body of ``POST /v1/conversations/{id}/items``."""

    items: list[JsonObject]


@router.post("/v1/conversations", openapi_extra=body.documented(ConversationRequest))
async def create(request: Request) -> JsonObject:
    wanted = await body.read(request, ConversationRequest)
    owner = caller_of(request.scope).name
    conversation_id = f"conv_{secrets.token_hex(20)}"
    await _kept(request).conversations.create(conversation_id, owner, wanted.metadata or {}, _items(wanted.items or []))
    return _shown(await _find(request, conversation_id))


@router.get("/v1/conversations/{conversation_id}")
async def retrieve(request: Request, conversation_id: str) -> JsonObject:
    return _shown(await _find(request, conversation_id))


@router.post("/v1/conversations/{conversation_id}", openapi_extra=body.documented(ConversationUpdate))
async def update(request: Request, conversation_id: str) -> JsonObject:
    wanted = await body.read(request, ConversationUpdate)
    conversation = await _find(request, conversation_id)
    await _kept(request).conversations.update(conversation.id, conversation.owner, wanted.metadata or {})
    return _shown(await _find(request, conversation_id))


@router.delete("/v1/conversations/{conversation_id}")
async def delete(request: Request, conversation_id: str) -> JsonObject:
    conversation = await _find(request, conversation_id)
    await _kept(request).conversations.delete(conversation.id, conversation.owner)
    return {"id": conversation.id, "object": "conversation.deleted", "deleted": True}


@router.post("/v1/conversations/{conversation_id}/items", openapi_extra=body.documented(ItemsRequest))
async def add_items(request: Request, conversation_id: str) -> JsonObject:
    wanted = await body.read(request, ItemsRequest)
    conversation = await _find(request, conversation_id)
    items = _items(wanted.items)
    await _kept(request).conversations.append(conversation.id, items)
    shown = [public(item) for item in items]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return {"object": "list", "data": shown, **ends, "has_more": False}


@router.get("/v1/conversations/{conversation_id}/items")
async def list_items(request: Request, conversation_id: str) -> JsonObject:
    conversation = await _find(request, conversation_id)
    items = await _kept(request).conversations.items(conversation.id)
    return page(request, [public(item) for item in items])


@router.get("/v1/conversations/{conversation_id}/items/{item_id}")
async def retrieve_item(request: Request, conversation_id: str, item_id: str) -> JsonObject:
    conversation = await _find(request, conversation_id)
    for item in await _kept(request).conversations.items(conversation.id):
        if item["id"] == item_id:
            return public(item)
    raise not_found("item", item_id)


@router.delete("/v1/conversations/{conversation_id}/items/{item_id}")
async def delete_item(request: Request, conversation_id: str, item_id: str) -> JsonObject:
    conversation = await _find(request, conversation_id)
    if not await _kept(request).conversations.delete_item(conversation.id, item_id):
        raise not_found("item", item_id)
    return _shown(conversation)


def _kept(request: Request) -> State:
    return request.app.state.kept


async def _find(request: Request, conversation_id: str) -> StoredConversation:
    conversation = await _kept(request).conversations.get(conversation_id, caller_of(request.scope).name)
    if conversation is None:
        raise not_found("conversation", conversation_id)
    return conversation


def _items(given: list[JsonObject]) -> list[JsonObject]:
    if len(given) > _MOST_ITEMS:
        raise ApiError(f"There are {len(given)} items, at most {_MOST_ITEMS} may be added at once.", param="items")
    items = [with_id(item) for item in given]
    try:
        to_messages(items)
    except ItemError as error:
        raise ApiError(f"items[{error.index}]: {error}", code="invalid_value", param=f"items[{error.index}]") from error
    return items


def _shown(conversation: StoredConversation) -> JsonObject:
    return {
        "id": conversation.id, "object": "conversation", "created_at": int(conversation.created),
        "metadata": conversation.metadata,
    }  # fmt: skip

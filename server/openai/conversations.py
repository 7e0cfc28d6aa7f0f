"""``/v1/conversations``: items that several responses share."""

from __future__ import annotations

import secrets
from typing import Literal, TypedDict

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from ..http import body
from ..http.answers import answer, answered
from ..http.caller import caller_of
from ..json_values import JsonObject
from ..state import State
from ..store.conversations import StoredConversation
from .errors import ApiError, not_found
from .pages import Deleted, Page, listed, page
from .responses.history import with_id
from .responses.items import Item, ItemError, public, read_items

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


class Conversation(TypedDict):
    """A conversation without its items."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, str]


@router.post("/v1/conversations", openapi_extra=body.documented(ConversationRequest, answered(Conversation)))
async def create(request: Request) -> Response:
    wanted = await body.read(request, ConversationRequest)
    owner = caller_of(request.scope).name
    conversation_id = f"conv_{secrets.token_hex(20)}"
    await _kept(request).conversations.create(conversation_id, owner, wanted.metadata or {}, _items(wanted.items or []))
    return answer(_shown(await _find(request, conversation_id)))


@router.get("/v1/conversations/{conversation_id}", openapi_extra=answered(Conversation))
async def retrieve(request: Request, conversation_id: str) -> Response:
    return answer(_shown(await _find(request, conversation_id)))


@router.post(
    "/v1/conversations/{conversation_id}",
    openapi_extra=body.documented(ConversationUpdate, answered(Conversation)),
)
async def update(request: Request, conversation_id: str) -> Response:
    wanted = await body.read(request, ConversationUpdate)
    conversation = await _find(request, conversation_id)
    await _kept(request).conversations.update(conversation.id, conversation.owner, wanted.metadata or {})
    return answer(_shown(await _find(request, conversation_id)))


@router.delete("/v1/conversations/{conversation_id}", openapi_extra=answered(Deleted))
async def delete(request: Request, conversation_id: str) -> Response:
    conversation = await _find(request, conversation_id)
    await _kept(request).conversations.delete(conversation.id, conversation.owner)
    return answer(Deleted(id=conversation.id, object="conversation.deleted", deleted=True))


@router.post(
    "/v1/conversations/{conversation_id}/items", openapi_extra=body.documented(ItemsRequest, answered(Page[Item]))
)
async def add_items(request: Request, conversation_id: str) -> Response:
    wanted = await body.read(request, ItemsRequest)
    conversation = await _find(request, conversation_id)
    items = _items(wanted.items)
    await _kept(request).conversations.append(conversation.id, items)
    return answer(listed([public(item) for item in items]))


@router.get("/v1/conversations/{conversation_id}/items", openapi_extra=answered(Page[Item]))
async def list_items(request: Request, conversation_id: str) -> Response:
    conversation = await _find(request, conversation_id)
    items = await _kept(request).conversations.items(conversation.id)
    return answer(page(request, [public(item) for item in items]))


@router.get("/v1/conversations/{conversation_id}/items/{item_id}", openapi_extra=answered(Item))
async def retrieve_item(request: Request, conversation_id: str, item_id: str) -> Response:
    conversation = await _find(request, conversation_id)
    for item in await _kept(request).conversations.items(conversation.id):
        if item["id"] == item_id:
            return answer(public(item))
    raise not_found("item", item_id)


@router.delete("/v1/conversations/{conversation_id}/items/{item_id}", openapi_extra=answered(Conversation))
async def delete_item(request: Request, conversation_id: str, item_id: str) -> Response:
    conversation = await _find(request, conversation_id)
    if not await _kept(request).conversations.delete_item(conversation.id, item_id):
        raise not_found("item", item_id)
    return answer(_shown(conversation))


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
        read_items(items)
    except ItemError as error:
        raise ApiError(f"items[{error.index}]: {error}", code="invalid_value", param=f"items[{error.index}]") from error
    return items


def _shown(conversation: StoredConversation) -> Conversation:
    return {
        "id": conversation.id, "object": "conversation", "created_at": int(conversation.created),
        "metadata": conversation.metadata,
    }  # fmt: skip

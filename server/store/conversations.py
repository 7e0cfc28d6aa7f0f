"""Conversations and their items."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ..json_values import JsonObject
from .database import Store
from .schema import conversations as table
from .schema import items, turns


@dataclass(frozen=True)
class StoredConversation:
    id: str
    owner: str
    metadata: JsonObject
    created: float


class Conversations:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, conversation_id: str, owner: str, metadata: JsonObject, first: Sequence[JsonObject]) -> None:
        values = {"id": conversation_id, "owner": owner, "created": time.time(), "metadata": json.dumps(metadata)}

        def work(connection: sa.Connection) -> None:
            connection.execute(table.insert().values(values))
            _append(connection, conversation_id, first)

        await self._store.run(work)

    async def get(self, conversation_id: str, owner: str) -> StoredConversation | None:
        query = sa.select(table).where(table.c.id == conversation_id, table.c.owner == owner)
        row = await self._store.run(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else StoredConversation(row.id, row.owner, json.loads(row.metadata), row.created)

    async def update(self, conversation_id: str, owner: str, metadata: JsonObject) -> bool:
        """False when there is no such conversation."""
        update = table.update().where(table.c.id == conversation_id, table.c.owner == owner)
        update = update.values(metadata=json.dumps(metadata))
        return await self._store.run(lambda connection: bool(connection.execute(update).rowcount))

    async def delete(self, conversation_id: str, owner: str) -> bool:
        """With its items. False when there is no such conversation."""

        def work(connection: sa.Connection) -> bool:
            delete = table.delete().where(table.c.id == conversation_id, table.c.owner == owner)
            if not connection.execute(delete).rowcount:
                return False
            connection.execute(items.delete().where(items.c.conversation == conversation_id))
            connection.execute(turns.delete().where(turns.c.kept_for == conversation_id))
            return True

        return await self._store.run(work)

    async def append(self, conversation_id: str, added: Sequence[JsonObject]) -> None:
        """Each item has an ``id``. Nothing happens when the conversation was deleted meanwhile."""

        def work(connection: sa.Connection) -> None:
            if connection.execute(sa.select(table.c.id).where(table.c.id == conversation_id)).first() is not None:
                _append(connection, conversation_id, added)

        await self._store.run(work)

    async def items(self, conversation_id: str) -> list[JsonObject]:
        """All of them, in order."""
        query = sa.select(items.c.body).where(items.c.conversation == conversation_id).order_by(items.c.position)
        bodies = await self._store.run(lambda connection: connection.execute(query).scalars().all())
        return [json.loads(body) for body in bodies]

    async def delete_item(self, conversation_id: str, item_id: str) -> bool:
        """False when there is no such item. The token ids of turns with it go too."""

        def work(connection: sa.Connection) -> bool:
            delete = items.delete().where(items.c.conversation == conversation_id, items.c.id == item_id)
            if not connection.execute(delete).rowcount:
                return False
            connection.execute(turns.delete().where(turns.c.kept_for == conversation_id))
            return True

        return await self._store.run(work)


def _append(connection: sa.Connection, conversation_id: str, added: Sequence[JsonObject]) -> None:
    rows = [{"conversation": conversation_id, "id": item["id"], "body": json.dumps(item)} for item in added]
    if rows:
        connection.execute(items.insert(), rows)

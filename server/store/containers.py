"""Containers: which session each one is, and how long it lives."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .database import Store
from .schema import containers as table


@dataclass(frozen=True)
class StoredContainer:
    """``minutes`` after ``last_active`` it expires; times are Unix seconds."""

    id: str
    owner: str
    name: str
    session: str
    minutes: int
    created: float
    last_active: float

    @property
    def expired(self) -> bool:
        return time.time() > self.last_active + 60 * self.minutes


class Containers:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, container: StoredContainer) -> None:
        values = {
            "id": container.id, "owner": container.owner, "name": container.name, "session": container.session,
            "minutes": container.minutes, "created": container.created, "last_active": container.last_active,
        }  # fmt: skip
        await self._store.run(lambda connection: connection.execute(table.insert().values(values)))

    async def get(self, container_id: str, owner: str) -> StoredContainer | None:
        query = sa.select(table).where(table.c.id == container_id, table.c.owner == owner)
        row = await self._store.run(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _container(row)

    async def list(self, owner: str) -> list[StoredContainer]:
        """The owner's containers, oldest first."""
        query = sa.select(table).where(table.c.owner == owner).order_by(table.c.created, table.c.id)
        rows = await self._store.run(lambda connection: connection.execute(query).all())
        return [_container(row) for row in rows]

    async def touch(self, container_id: str) -> None:
        update = table.update().where(table.c.id == container_id).values(last_active=time.time())
        await self._store.run(lambda connection: connection.execute(update))

    async def delete(self, container_id: str) -> None:
        delete = table.delete().where(table.c.id == container_id)
        await self._store.run(lambda connection: connection.execute(delete))

    async def expire(self, before: float) -> int:
        """Forget those that expired before then. Returns how many."""
        expired = table.delete().where(table.c.last_active + 60 * table.c.minutes < before)
        return await self._store.run(lambda connection: connection.execute(expired).rowcount)


def _container(row: sa.Row[Any]) -> StoredContainer:
    return StoredContainer(row.id, row.owner, row.name, row.session, row.minutes, row.created, row.last_active)

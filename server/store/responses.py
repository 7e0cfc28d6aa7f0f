"""Responses: stored, found by their owner, followed back through those that they continue."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ..json_values import JsonObject
from .database import Store
from .schema import output_items, turns
from .schema import responses as table

UNFINISHED = ("queued", "in_progress")  # statuses of what is worked on
_LONGEST_CHAIN = 10_000
_MOST_VARIABLES = 1000  # in one query; databases limit them


@dataclass(frozen=True)
class StoredResponse:
    """One response. ``output`` holds its items as the model needs them, ``body["output"]`` as clients see them."""

    id: str
    owner: str
    body: JsonObject
    input: list[JsonObject] = field(default_factory=list)
    output: list[JsonObject] = field(default_factory=list)
    previous: str | None = None
    events: str | None = None
    created: float = field(default_factory=time.time)


class Responses:
    """
    Attributes:
        server: names the server that works on what is put here; others may share the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.server = ""

    async def put(self, response: StoredResponse) -> None:
        """Store it, in place of an earlier state of the same. One that was deleted meanwhile stays deleted."""
        values = {
            "owner": response.owner, "previous": response.previous, "created": response.created,
            "status": response.body["status"],
            "server": self.server,
            "body": json.dumps(response.body), "input": json.dumps(response.input),
            "output": json.dumps(response.output), "events": response.events,
        }  # fmt: skip

        def work(connection: sa.Connection) -> None:
            update = table.update().where(table.c.id == response.id).values(values)
            if not connection.execute(update).rowcount:
                connection.execute(table.insert().values(id=response.id, deleted=False, **values))
            connection.execute(output_items.delete().where(output_items.c.response == response.id))
            if response.output:
                items = [{"id": item["id"], "response": response.id} for item in response.output]
                connection.execute(output_items.insert(), items)

        await self._store.run(work)

    async def get(self, response_id: str, owner: str) -> StoredResponse | None:
        query = sa.select(table).where(table.c.id == response_id, table.c.owner == owner, ~table.c.deleted)
        row = await self._store.run(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _response(row)

    async def find_items(self, item_ids: Sequence[str], owner: str) -> dict[str, JsonObject]:
        """Those of the items that are part of an output, by their ids."""
        query = (
            sa.select(table.c.id, table.c.output).join(output_items, output_items.c.response == table.c.id)
            .where(table.c.owner == owner, ~table.c.deleted).distinct()
        )  # fmt: skip
        parts = [item_ids[at : at + _MOST_VARIABLES] for at in range(0, len(item_ids), _MOST_VARIABLES)]

        def work(connection: sa.Connection) -> dict[str, JsonObject]:
            outputs: dict[str, str] = {}
            for part in parts:
                outputs.update(tuple(row) for row in connection.execute(query.where(output_items.c.id.in_(part))))
            items = {item["id"]: item for output in outputs.values() for item in json.loads(output)}
            return {item_id: items[item_id] for item_id in item_ids if item_id in items}

        return await self._store.run(work)

    async def history(self, response_id: str, owner: str) -> list[StoredResponse] | None:
        """The response and all that it continues, oldest first. None when there is no such response."""
        start = sa.select(table.c.id, table.c.previous, sa.literal(0).label("depth")).where(
            table.c.id == response_id, table.c.owner == owner, ~table.c.deleted
        )
        chain = start.cte("chain", recursive=True)
        older = sa.select(table.c.id, table.c.previous, chain.c.depth + 1).where(
            table.c.id == chain.c.previous, table.c.owner == owner, chain.c.depth < _LONGEST_CHAIN
        )
        chain = chain.union_all(older)
        query = sa.select(table).join(chain, table.c.id == chain.c.id).order_by(chain.c.depth.desc())
        rows = await self._store.run(lambda connection: connection.execute(query).all())
        return [_response(row) for row in rows] or None

    async def delete(self, response_id: str, owner: str) -> bool:
        """Hide it; what no later response continues is removed. False when there is no such response."""

        def work(connection: sa.Connection) -> bool:
            update = table.update().where(table.c.id == response_id, table.c.owner == owner, ~table.c.deleted)
            if not connection.execute(update.values(deleted=True)).rowcount:
                return False
            _remove_unneeded(connection, response_id)
            return True

        return await self._store.run(work)

    async def end_interrupted(self, error: JsonObject) -> int:
        """Those that this server worked on when it stopped have failed with ``error``. Returns how many."""

        def work(connection: sa.Connection) -> int:
            running = sa.and_(table.c.status.in_(UNFINISHED), table.c.server == self.server)
            rows = connection.execute(sa.select(table.c.id, table.c.body).where(running)).all()
            for row in rows:
                body = {**json.loads(row.body), "status": "failed", "error": error}
                update = table.update().where(table.c.id == row.id)
                connection.execute(update.values(body=json.dumps(body), status="failed"))
            return len(rows)

        return await self._store.run(work)

    async def expire(self, before: float) -> int:
        """Remove responses created before then that none after it continues, and their turns. Returns how many."""
        # Newer ones begin the recursion, so it only has to go on through older ones.
        newer = sa.select(table.c.previous.label("id")).where(table.c.previous.is_not(None), table.c.created >= before)
        needed = newer.cte("needed", recursive=True)
        further = sa.select(table.c.previous).where(
            table.c.id == needed.c.id, table.c.previous.is_not(None), table.c.created < before
        )
        needed = needed.union(further)
        old = sa.select(table.c.id).where(table.c.created < before, table.c.id.not_in(sa.select(needed.c.id)))

        def work(connection: sa.Connection) -> int:
            ids = connection.execute(old).scalars().all()
            for response_id in ids:
                _remove(connection, response_id)
            return len(ids)

        return await self._store.run(work)


def _remove_unneeded(connection: sa.Connection, response_id: str | None) -> None:
    while response_id is not None:
        row = connection.execute(sa.select(table.c.previous, table.c.deleted).where(table.c.id == response_id)).first()
        child = connection.execute(sa.select(table.c.id).where(table.c.previous == response_id).limit(1)).first()
        if row is None or not row.deleted or child is not None:
            return
        _remove(connection, response_id)
        response_id = row.previous


def _remove(connection: sa.Connection, response_id: str) -> None:
    connection.execute(turns.delete().where(turns.c.kept_for == response_id))
    connection.execute(output_items.delete().where(output_items.c.response == response_id))
    connection.execute(table.delete().where(table.c.id == response_id))


def _response(row: sa.Row[Any]) -> StoredResponse:
    body, input, output = (json.loads(text) for text in (row.body, row.input, row.output))
    return StoredResponse(row.id, row.owner, body, input, output, row.previous, row.events, row.created)

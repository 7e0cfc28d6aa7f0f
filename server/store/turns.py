"""The token ids of stored conversations' turns: what the transcript finds after a restart."""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ..chat.transcript import Digest, Hidden, Turn, ids_of
from .database import Store
from .schema import turns as table

_MOST_DIGESTS = 500  # of one query; databases limit its parameters


class Turns:
    """A TurnStore, see the transcript."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find_turns(self, digests: Sequence[Digest]) -> dict[Digest, Turn]:
        """The last one that is kept among ``digests``, and all that it continues."""

        def work(connection: sa.Connection) -> dict[Digest, Turn]:
            wanted = list(digests[-_MOST_DIGESTS:])
            kept = set(connection.execute(sa.select(table.c.digest).where(table.c.digest.in_(wanted))).scalars())
            link = next((digest for digest in reversed(wanted) if digest in kept), None)
            found: dict[Digest, Turn] = {}
            while link is not None:
                row = connection.execute(sa.select(table).where(table.c.digest == link)).one_or_none()
                if row is None:
                    break
                found[link] = _turn(row)
                link = row.parent
            return found

        return await self._store.run(work)

    async def keep_turn(self, digest: Digest, turn: Turn, group: str) -> bool:
        hidden = None if turn.hidden is None else msgspec.json.encode(turn.hidden).decode()
        values = {
            "digest": digest, "parent": turn.parent, "ids": _bytes(turn.ids), "reasoning": turn.reasoning,
            "hidden": hidden, "kept_for": group, "created": time.time(),
        }  # fmt: skip

        def work(connection: sa.Connection) -> bool:
            if connection.execute(sa.select(table.c.digest).where(table.c.digest == digest)).first() is not None:
                return False
            connection.execute(table.insert().values(values))
            return True

        return await self._store.run(work)

    async def expire(self, before: float) -> int:
        """Remove turns kept before then; what needs them is rendered anew. Returns how many."""
        delete = table.delete().where(table.c.created < before)
        return await self._store.run(lambda connection: connection.execute(delete).rowcount)


def _turn(row: sa.Row[Any]) -> Turn:
    ids = ids_of(())
    ids.frombytes(row.ids)
    if sys.byteorder == "big":
        ids.byteswap()
    hidden = None if row.hidden is None else msgspec.json.decode(row.hidden, type=Hidden)
    return Turn(row.parent, ids, row.reasoning, hidden)


def _bytes(ids: array[int]) -> bytes:
    if sys.byteorder == "big":
        ids = array(ids.typecode, ids)
        ids.byteswap()
    return ids.tobytes()

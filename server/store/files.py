"""Files that clients upload: rows in the database, contents in a directory."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from .database import Store
from .schema import files as table


@dataclass(frozen=True)
class StoredFile:
    """``created`` and ``expires`` are Unix seconds."""

    id: str
    owner: str
    filename: str
    purpose: str
    bytes: int
    created: float
    expires: float | None = None


class Files:
    """
    Args:
        folder: where contents are kept, by their files' ids. Made when missing.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    async def add(self, file: StoredFile, content: bytes) -> None:
        await asyncio.to_thread(self._write, file.id, content)
        values = {
            "id": file.id, "owner": file.owner, "filename": file.filename, "purpose": file.purpose,
            "bytes": file.bytes, "created": file.created, "expires": file.expires,
        }  # fmt: skip
        await self._store.run(lambda connection: connection.execute(table.insert().values(values)))

    async def get(self, file_id: str, owner: str) -> StoredFile | None:
        query = sa.select(table).where(table.c.id == file_id, table.c.owner == owner, _alive())
        row = await self._store.run(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _file(row)

    async def list(self, owner: str) -> list[StoredFile]:
        """The owner's files, oldest first."""
        query = sa.select(table).where(table.c.owner == owner, _alive()).order_by(table.c.created, table.c.id)
        rows = await self._store.run(lambda connection: connection.execute(query).all())
        return [_file(row) for row in rows]

    async def content(self, file: StoredFile) -> bytes:
        return await asyncio.to_thread((self._folder / file.id).read_bytes)

    async def total(self, owner: str) -> int:
        """Bytes of all the owner's files."""
        query = sa.select(sa.func.coalesce(sa.func.sum(table.c.bytes), 0)).where(table.c.owner == owner, _alive())
        return await self._store.run(lambda connection: int(connection.execute(query).scalar_one()))

    async def delete(self, file_id: str, owner: str) -> bool:
        """False when there is no such file."""
        delete = table.delete().where(table.c.id == file_id, table.c.owner == owner)
        if not await self._store.run(lambda connection: connection.execute(delete).rowcount):
            return False
        await asyncio.to_thread((self._folder / file_id).unlink, missing_ok=True)
        return True

    async def expire(self) -> int:
        """Remove the files whose time is over. Returns how many."""
        query = sa.select(table.c.id, table.c.owner).where(table.c.expires < time.time())
        over = await self._store.run(lambda connection: connection.execute(query).all())
        for row in over:
            await self.delete(row.id, row.owner)
        return len(over)

    def _write(self, file_id: str, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._folder / f"{file_id}.partial"
        partial.write_bytes(content)
        os.replace(partial, self._folder / file_id)


def _alive() -> sa.ColumnElement[bool]:
    return sa.or_(table.c.expires.is_(None), table.c.expires >= time.time())


def _file(row: sa.Row[Any]) -> StoredFile:
    return StoredFile(row.id, row.owner, row.filename, row.purpose, row.bytes, row.created, row.expires)

"""The database: SQLite in one file by default, others by URL. Statements run in a thread, in one transaction each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self, TypeVar

import anyio
import sqlalchemy as sa
from anyio import to_thread
from sqlalchemy import event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection

from .schema import NewerSchema, migrate

T = TypeVar("T")

IN_MEMORY = "sqlite://"
_CONNECTIONS = 8


class StoreError(Exception):
    """The store cannot be used; the message says why. For the operator."""


class Store:
    """An async context manager; entering it brings the schema up to date.

    Args:
        url: an SQLAlchemy URL, such as ``sqlite:////var/lib/agenthost/agenthost.db`` or
            ``postgresql+psycopg://user@host/name``. ``sqlite://`` keeps everything in memory.
    """

    def __init__(self, url: str = IN_MEMORY) -> None:
        self._url = url
        self._engine: sa.Engine | None = None
        self._limiter: anyio.CapacityLimiter | None = None

    async def __aenter__(self) -> Self:
        try:
            self._engine = _engine(self._url)
            one_at_a_time = self._engine.dialect.name == "sqlite"  # which has one writer, and reads in microseconds
            self._limiter = anyio.CapacityLimiter(1 if one_at_a_time else _CONNECTIONS)
            await self.run(migrate)
        except (exc.SQLAlchemyError, ImportError, NewerSchema) as error:
            if self._engine is not None:
                self._engine.dispose()
            raise StoreError(f"cannot use the store {_shown(self._url)}: {_reason(error)}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """``work`` in a transaction of its own. It is not interrupted when the caller is cancelled."""
        engine = self._engine
        if engine is None:
            raise RuntimeError("enter the Store with `async with` first")

        def transaction() -> T:
            with engine.begin() as connection:
                return work(connection)

        return await to_thread.run_sync(transaction, limiter=self._limiter)


def _engine(url: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError as error:
        raise StoreError("--store-url is not a database URL, such as sqlite:////path/agenthost.db.") from error
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_size=_CONNECTIONS, pool_pre_ping=True)
    in_memory = not parsed.database or parsed.database == ":memory:"
    engine = sa.create_engine(
        parsed, poolclass=sa.StaticPool if in_memory else None, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        # Written through the log, a commit survives a crash of the process; the last ones may not survive a power cut.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.close()

    return engine


def _reason(error: Exception) -> str:
    """What a person can act on: SQLAlchemy puts a statement and a link on further lines."""
    if isinstance(error, ImportError):
        return f"{error}. PostgreSQL needs psycopg: pip install 'agenthost[postgres]'"
    return str(error).partition("\n")[0]


def _shown(url: str) -> str:
    """Without the password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except exc.ArgumentError:
        return "at this URL"

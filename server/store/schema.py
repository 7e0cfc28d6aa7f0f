"""The tables, and how an older database becomes one of today's."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

metadata = sa.MetaData()

# JSON is kept as text: its key order is the client's, and both databases index nothing of it. Times are Unix seconds.

responses = sa.Table(
    "responses",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False, index=True),
    sa.Column("previous", sa.String(64), index=True),
    sa.Column("created", sa.Float, nullable=False, index=True),
    sa.Column("status", sa.String(32), nullable=False, index=True),
    sa.Column("server", sa.String(64), nullable=False),  # which one worked on it, see State
    sa.Column("deleted", sa.Boolean, nullable=False),  # hidden; its items stay as long as later responses need them
    sa.Column("body", sa.Text, nullable=False),  # the response object, its output as the client sees it
    sa.Column("input", sa.Text, nullable=False),  # input items
    sa.Column("output", sa.Text, nullable=False),  # output items as the model needs them, with tools' full results
    sa.Column("events", sa.Text),  # of a background stream, one JSON object a line
)

output_items = sa.Table(
    "output_items",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("response", sa.String(64), nullable=False, index=True),  # whose output it is part of
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False, index=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
)

items = sa.Table(
    "items",
    metadata,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("conversation", sa.String(64), nullable=False, index=True),
    sa.Column("id", sa.String(128), nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),  # with tools' full results, see responses.output
)

files = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False, index=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)

containers = sa.Table(
    "containers",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(128), nullable=False, index=True),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("last_active", sa.Float, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("minutes", sa.Integer, nullable=False),  # expires so long after it was last active
    sa.Column("session", sa.String(64), nullable=False),
)

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("digest", sa.LargeBinary(20), primary_key=True),
    sa.Column("parent", sa.LargeBinary(20)),
    sa.Column("ids", sa.LargeBinary, nullable=False),  # 32-bit unsigned integers, little endian
    sa.Column("reasoning", sa.Text, nullable=False),
    sa.Column("hidden", sa.Text),
    sa.Column("kept_for", sa.String(64), nullable=False, index=True),  # the response or conversation it belongs to
    sa.Column("created", sa.Float, nullable=False, index=True),
)

version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, nullable=False))


def _turns_anew(connection: sa.Connection) -> None:
    """Turns had the token that ended them. They are found again or not, and nothing else depends on them."""
    turns.drop(connection)
    turns.create(connection)


def _items_by_id(connection: sa.Connection) -> None:
    """Items could not be found by their ids. Those from before still cannot."""
    output_items.create(connection)


# MIGRATIONS[n] brings a database of version n + 1 to version n + 2. They never change once released.
MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_turns_anew, _items_by_id)


class NewerSchema(Exception):
    """The database was written by a newer agenthost; the message says so."""


def migrate(connection: sa.Connection, migrations: tuple[Callable[[sa.Connection], None], ...] = MIGRATIONS) -> None:
    """Create the tables, or bring them up to date. Raises :class:`NewerSchema`."""
    wanted = len(migrations) + 1
    if not sa.inspect(connection).has_table(version.name):
        metadata.create_all(connection)
        connection.execute(version.insert().values(version=wanted))
        return
    found = connection.execute(sa.select(version.c.version)).scalar_one()
    if found > wanted:
        raise NewerSchema(
            f"the store has schema version {found}, and this agenthost knows versions up to {wanted}. "
            "Use the newer agenthost, or another --store-url."
        )
    for step in migrations[found - 1 :]:
        step(connection)
    connection.execute(version.update().values(version=wanted))

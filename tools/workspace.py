"""Sessions and their workspaces: the one directory that a session's code, files and downloads share.

A session is bound to the caller that made it and lives for a while after its last use. It knows nothing of particular
tools: they hang what must live as long as the session (an interpreter, a browser context) on it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

import anyio.to_thread

from . import records
from .errors import TooManySessions, UnknownSession, WorkspaceError
from .files.beneath import Root
from .files.directory import Directory
from .files.remove import remove_tree
from .files.usage import Quota
from .files.walk import OPEN_DIRECTORY
from .records import Record
from .sandbox.identity import IDENTITIES, Identity, server_is_root
from .sandbox.placement import Placement, place_directory, place_temporary
from .sandbox.spec import Limits, SandboxSpec


class Resource(Protocol):
    """Something that lives as long as its session."""

    async def close(self) -> None: ...


log = logging.getLogger(__name__)
_LIMITS, _QUOTA = Limits(), Quota()
_NOTE_INTERVAL = 30.0  # seconds between two notes on disk that a session was used
R = TypeVar("R", bound=Resource)


@dataclass
class Session:
    """One caller's workspace and what runs in it.

    Args:
        id: random, 192 bits. Knowing it is not a permission: `Sessions.get` asks for the owner too.
        owner: who made it, as the server names callers.
        ttl: seconds after the last use at which the session may be closed; None for never.
        files: the workspace's directory, for tools that open paths.
        sandbox: how code of this session is isolated.
        quota: how much the workspace may hold.
        hosts: what its code may reach at most; None for all that the operator lets code reach.
        resumed: an earlier server made it; what ran in it has ended with that one.
    """

    id: str
    owner: str
    ttl: float | None
    files: Root
    sandbox: SandboxSpec
    quota: Quota
    hosts: tuple[str, ...] | None = None
    created: float = field(default_factory=time.time)
    last_used: float = field(default_factory=time.time)
    resumed: bool = False
    _resources: dict[type, Resource] = field(default_factory=dict)
    _note_use: Callable[[], None] | None = None  # tells the store, which a restarted server reads
    _noted: float = 0.0

    @property
    def workspace(self) -> Path:
        """The directory on the host. For people and tests: tools open paths beneath :attr:`files`."""
        return self.sandbox.workspace

    def touch(self) -> None:
        """Note that the session was used just now."""
        self.last_used = time.time()
        if self._note_use and self.last_used - self._noted > _NOTE_INTERVAL:
            self._noted = self.last_used
            self._note_use()

    def expired(self, now: float) -> bool:
        return self.ttl is not None and now - self.last_used > self.ttl

    def keep(self, kind: type[R], make: Callable[[], R]) -> R:
        """The session's one object of ``kind``, made when there is none yet and closed with the session."""
        resource = self._resources.get(kind)
        if not isinstance(resource, kind):
            resource = make()
            self._resources[kind] = resource
        return resource

    async def close(self) -> None:
        """End what runs in the session. `Sessions.close` also removes a temporary workspace."""
        while self._resources:
            _, resource = self._resources.popitem()
            await resource.close()


@dataclass(frozen=True)
class _Place:
    """Where a session is on disk, for when it ends."""

    home: str  # the session's own directory, a name below the store's
    placement: Placement
    lasting: bool = False  # it is written down, and outlives a server with a named root


class Sessions:
    """Makes, finds and closes sessions. An async context manager: leaving it closes all.

    Args:
        root: directory for workspaces, made when missing and this server's alone; None for a temporary one that goes
            away at the end. In a named one, workspaces outlive the server until they expire: the next one finds the
            sessions again. The sandbox's users must be able to reach it, so a root server cannot keep it below a
            private home.
        ttl: seconds after its last use at which a session may be closed; None for never.
        limits: of each session's sandbox.
        quota: of each temporary workspace; of a given directory only the free disk space is looked after.
        per_owner: how many sessions one caller may have at a time.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        ttl: float | None = 1200.0,
        limits: Limits = _LIMITS,
        quota: Quota = _QUOTA,
        per_owner: int = 1000,
    ) -> None:
        self._per_owner = per_owner
        self._wanted_root = root
        self._ttl = ttl
        self._limits = limits
        self._quota = quota
        self._pool = IDENTITIES
        self._sessions: dict[str, Session] = {}
        self._places: dict[str, _Place] = {}
        self._root: Path | None = None
        self._root_fd = -1

    async def __aenter__(self) -> Self:
        self._root = _prepare_root(self._wanted_root)
        self._root_fd = os.open(self._root, OPEN_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._root_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._root_fd)
            raise WorkspaceError(f"another server keeps its workspaces in {self._root}. Choose another one.") from None
        if self._wanted_root is not None:
            await asyncio.to_thread(self._find_again)
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in list(self._sessions.values()):
            if self._wanted_root is not None and self._places[session.id].lasting:
                await self._leave(session)
            else:
                await self._end(session)
        os.close(self._root_fd)
        if self._wanted_root is None and self._root:
            with suppress(OSError):  # a workspace that could not be removed is in it
                self._root.rmdir()
        self._root = None

    def temporary(self) -> Sessions:
        """The same with a root that goes away at the end."""
        return Sessions(ttl=self._ttl, limits=self._limits, quota=self._quota, per_owner=self._per_owner)

    async def create(
        self,
        owner: str = "local",
        directory: Path | None = None,
        *,
        ttl: float | None = None,
        hosts: tuple[str, ...] | None = None,
    ) -> Session:
        """A new session with an empty temporary workspace, or one that works in ``directory`` and never removes it.

        Args:
            ttl: of this session, instead of that of all.
            hosts: see :class:`Session`.

        Raises:
            WorkspaceError: ``directory`` cannot be used.
            TooManySessions: the owner has enough of them.
        """
        await self.expire()
        if sum(session.owner == owner for session in self._sessions.values()) >= self._per_owner:
            raise TooManySessions(
                f"there are {self._per_owner} open sessions already. Close some, or wait until they expire."
            )
        # Waits also when it is cancelled: the thread would make the session all the same, and nobody would have it.
        return await anyio.to_thread.run_sync(self._create, owner, directory, self._ttl if ttl is None else ttl, hosts)

    def get(self, session_id: str, owner: str = "local") -> Session:
        """The session with this id, if it is this owner's.

        Raises:
            UnknownSession: there is none. The same for a wrong id, a wrong owner and an expired session.
        """
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner or session.expired(time.time()):
            raise UnknownSession("there is no such session: it may have expired. Start a new one.")
        session.touch()
        return session

    def peek(self, session_id: str) -> Session | None:
        """A session, whoever's it is, without counting as its use. For the server itself, never for a caller."""
        return self._sessions.get(session_id)

    def owned_by(self, owner: str) -> list[Session]:
        """The owner's sessions that have not expired, oldest first."""
        now = time.time()
        return [session for session in self._sessions.values() if session.owner == owner and not session.expired(now)]

    async def close(self, session_id: str, owner: str = "local") -> None:
        """End a session: what runs in it is killed, a temporary workspace is removed.

        Raises:
            UnknownSession: as :meth:`get`.
        """
        await self._end(self.get(session_id, owner))

    async def expire(self) -> int:
        """Close the sessions whose time is over; returns how many. `create` does it, and a server now and then."""
        over = [session for session in self._sessions.values() if session.expired(time.time())]
        for session in over:
            await self._end(session)
        return len(over)

    def __len__(self) -> int:
        return len(self._sessions)

    def _create(self, owner: str, directory: Path | None, ttl: float | None, hosts: tuple[str, ...] | None) -> Session:
        if self._root is None:
            raise RuntimeError("enter Sessions with `async with` before creating a session")
        home = f"s-{secrets.token_hex(12)}"  # not the id: code inside can see this name in its mount table
        os.mkdir(home, 0o711, dir_fd=self._root_fd)
        try:
            if directory is None:
                placement = place_temporary(self._root / home, self._pool, self._limits)
            else:
                placement = place_directory(directory, self._root / home, self._pool, self._limits)
            workspace = Directory(placement.sandbox.workspace)
        except BaseException:
            remove_tree(self._root_fd, home)
            raise
        session = Session(
            secrets.token_urlsafe(24),
            owner,
            ttl,
            Root(workspace, placement.files_as),
            placement.sandbox,
            # A directory with the user's own files in it is not counted.
            self._quota if directory is None else replace(self._quota, bytes=None, entries=None),
            hosts,
        )
        lasting = self._wanted_root is not None and directory is None
        if lasting:
            user = placement.sandbox.user
            record = Record(session.id, owner, session.created, user.uid if user else None, ttl, hosts)
            records.write(self._root_fd, home, record)
        self._add(session, _Place(home, placement, lasting))
        return session

    def _add(self, session: Session, place: _Place) -> None:
        self._sessions[session.id] = session
        self._places[session.id] = place
        if place.lasting:
            session._note_use = lambda: records.note_use(self._root_fd, place.home)

    def _find_again(self) -> None:
        """Take up the sessions of an earlier server; remove what has expired and what nobody could reach any more."""
        assert self._root
        for home in records.homes(self._root_fd):
            try:
                found = records.read(self._root_fd, home, self._ttl)
            except OSError as error:
                log.warning("the record of the workspace %s cannot be read, so it is left alone: %s", home, error)
                continue
            if found is None or (found[0].ttl is not None and time.time() - found[1] > found[0].ttl):
                with suppress(OSError):
                    remove_tree(self._root_fd, home)
                continue
            record, last_used = found
            if server_is_root() != (record.uid is not None):
                log.warning("the workspace %s was made by a server with other rights: left alone", home)
                continue
            user = Identity(record.uid, record.uid) if record.uid is not None else None
            workspace = self._root / home / "workspace"
            try:
                directory = Directory(workspace, follow=False)
            except OSError as error:
                log.warning("the workspace %s cannot be opened: %s", home, error)
                continue
            if user:
                self._pool.claim(user)
            sandbox = SandboxSpec(workspace, user, limits=self._limits, shared_user=user is None)
            placement = Placement(sandbox, user, user)
            session = Session(
                record.id, record.owner, record.ttl, Root(directory, user), sandbox, self._quota, record.hosts,
                created=record.created, last_used=last_used, resumed=True,
            )  # fmt: skip
            self._add(session, _Place(home, placement, lasting=True))

    async def _leave(self, session: Session) -> None:
        """Stop what runs in a session and let go of it; its workspace stays for the next server."""
        self._sessions.pop(session.id)
        place = self._places.pop(session.id)
        try:
            await session.close()
        finally:
            session.files.directory.close()
            if place.placement.session_user:
                self._pool.give_back(place.placement.session_user)

    async def _end(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is None:
            return
        place = self._places.pop(session.id)
        try:
            await session.close()
        finally:
            session.files.directory.close()
            try:
                await asyncio.to_thread(remove_tree, self._root_fd, place.home)
            except OSError as error:  # its uid stays taken: what is left must not become another session's
                log.warning("could not remove the workspace %s: %s", place.home, error)
            else:
                if place.placement.session_user:
                    self._pool.give_back(place.placement.session_user)


def _prepare_root(wanted: Path | None) -> Path:
    """The directory for workspaces: this process's own, but passable for the session users of a root server.

    Raises:
        WorkspaceError: it is not, and should not be made so silently.
    """
    mode = 0o711 if server_is_root() else 0o700
    if wanted is None:
        root = Path(tempfile.mkdtemp(prefix="agenthost-"))
        root.chmod(mode)
    else:
        root = Path(os.path.abspath(wanted))
        _check_passable(root.parents)
        if not root.exists():
            root.mkdir(parents=True, mode=mode)
            root.chmod(mode)
        status = root.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise WorkspaceError(f"others may write in {root}. Choose a directory of your own for workspaces.")
    _check_passable([root, *root.parents])
    return root


def _check_passable(folders: Iterable[Path]) -> None:
    if not server_is_root():
        return
    for folder in folders:
        if folder.exists() and not folder.stat().st_mode & 0o001:
            raise WorkspaceError(
                f"workspaces cannot be kept below {folder}: the users that sandboxed code runs as may not pass it. "
                "Choose a directory such as /var/lib/agenthost."
            )

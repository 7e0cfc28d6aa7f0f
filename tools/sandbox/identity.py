"""Who a session is on this host: the uid that its code runs as and that its files belong to.

A root server gives every session a uid of its own, because a sandbox whose host uid is 0 can write to files under
/proc/sys, and because process limits count by uid. An ordinary user's server runs sandboxes as that user.
"""

from __future__ import annotations

import ctypes
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_libc = ctypes.CDLL(None)
_WANTED = range(300_000, 360_000)
_NOBODY = 65_534


@dataclass(frozen=True)
class Identity:
    """A host uid and gid."""

    uid: int
    gid: int


def server_is_root() -> bool:
    return os.geteuid() == 0


@dataclass
class IdentityPool:
    """Session uids in use by this process; taken at random, so that two servers on one host rarely meet.

    A backend may have sandboxes waiting, each made for one uid that it has taken. It offers them here, and sessions get
    those first.
    """

    _taken: set[int] = field(default_factory=set)
    _offered: list[Identity] = field(default_factory=list)
    _waiting: set[Identity] = field(default_factory=set)  # offered, and not used by the backend or withdrawn since
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> Identity:
        """An identity for a session."""
        with self._lock:
            if self._offered:
                return self._offered.pop(0)
        return self.reserve()

    def reserve(self) -> Identity:
        """An identity for which nothing waits yet."""
        choices = _mapped_uids(Path("/proc/self/uid_map").read_text(encoding="ascii"))
        with self._lock:
            if len(self._taken) >= len(choices):
                raise RuntimeError(f"all {len(choices)} session uids are in use: close sessions first")
            while (uid := random.choice(choices)) in self._taken:
                pass
            self._taken.add(uid)
        return Identity(uid, uid)

    def offer(self, identity: Identity) -> None:
        """A sandbox waits for the session that gets this reserved identity."""
        with self._lock:
            self._waiting.add(identity)
            self._offered.append(identity)

    def used(self, identity: Identity) -> bool:
        """The sandbox that waited is no more. True: no session has the identity, which the caller may give back."""
        with self._lock:
            self._waiting.discard(identity)
            if identity in self._offered:
                self._offered.remove(identity)
                return True
            return False

    def claim(self, identity: Identity) -> None:
        """A session of an earlier server process goes on with this identity."""
        with self._lock:
            self._taken.add(identity.uid)

    def give_back(self, identity: Identity) -> None:
        with self._lock:
            if identity in self._waiting and identity not in self._offered:
                self._offered.append(identity)
            else:
                self._taken.discard(identity.uid)


IDENTITIES = IdentityPool()  # of this process: two pools could hand out the same uid twice


def _mapped_uids(uid_map: str) -> range:
    """Uids that exist in this user namespace: 300000 and up, or the top of what a rootless container has."""
    spans = [range(int(first), int(first) + int(count)) for first, _, count in map(str.split, uid_map.splitlines())]
    if any(_WANTED.start >= span.start and _WANTED.stop <= span.stop for span in spans):
        return _WANTED
    largest = max(spans, key=len)
    top = min(largest.stop, _NOBODY) if largest.start < _NOBODY else largest.stop
    return range(max(largest.start + 1, top - 4096), top)


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Touch files as ``identity`` in this thread: what is made belongs to it, and what it may not do is refused.

    Leaving uid 0 this way also takes the thread's right to override file permissions. Keep the block to system calls:
    an import inside it, even a lazy one of the standard library, may find the installation unreadable; never await.
    """
    if identity is None or identity.uid == os.geteuid():
        yield
        return
    uid, gid = os.geteuid(), os.getegid()
    try:
        _set_fs_id("setfsgid", identity.gid)
        _set_fs_id("setfsuid", identity.uid)
        yield
    finally:
        _set_fs_id("setfsuid", uid)
        _set_fs_id("setfsgid", gid)


def _set_fs_id(call: str, value: int) -> None:
    function = getattr(_libc, call)
    function(value)
    if function(-1) != value:  # the call has no error value: an impossible id reads the present one
        raise PermissionError(f"{call}({value}) was refused")

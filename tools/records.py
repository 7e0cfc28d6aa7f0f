"""What is written down about a session, so that a restarted server finds its workspace again.

One small file beside the workspace, readable by the server only. When the session was last used is the file's time.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass

import msgspec

_NAME = "session.json"
_HOME = re.compile(r"s-[0-9a-f]{24}")
_LONGEST = 1 << 16


@dataclass(frozen=True)
class Record:
    """
    Args:
        id, owner, created, ttl: as the session's.
        uid: the session's user on the host; None for the server's own.
        hosts: as the session's.
    """

    id: str
    owner: str
    created: float
    uid: int | None
    ttl: float | None
    hosts: tuple[str, ...] | None = None


def write(root: int, home: str, record: Record) -> None:
    """Put it into directory ``home`` of the open directory ``root``, whole or not at all."""
    temporary = f"{home}/.{_NAME}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=root)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
    os.rename(temporary, f"{home}/{_NAME}", src_dir_fd=root, dst_dir_fd=root)


def note_use(root: int, home: str) -> None:
    """Remember that the session was used now."""
    with suppress(OSError):
        os.utime(f"{home}/{_NAME}", dir_fd=root)


def homes(root: int) -> list[str]:
    """The directories of sessions in ``root``; whatever else is there is not ours."""
    return sorted(name for name in os.listdir(root) if _HOME.fullmatch(name))


def read(root: int, home: str, ttl: float | None) -> tuple[Record, float] | None:
    """The record in ``home`` and when the session was last used; None when there is none or it is spoilt.

    Args:
        ttl: for a record from before records had one.

    Raises OSError: it cannot be read now.
    """
    try:
        fd = os.open(f"{home}/{_NAME}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        with open(fd, encoding="utf-8") as file:
            last_used = os.fstat(fd).st_mtime
            content = msgspec.json.decode(file.read(_LONGEST), type=dict)
            record = msgspec.convert({"ttl": ttl, **content}, Record)
    except (FileNotFoundError, ValueError):
        return None
    return (record, last_used) if record.uid is None or record.uid > 0 else None

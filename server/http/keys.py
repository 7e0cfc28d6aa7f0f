"""API keys: who may call, by which name, and how much."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

_LINE = re.compile(r"(?P<name>[\w.@-]{1,64})\s+(?P<digest>[0-9a-fA-F]{64})(?P<limits>(?:\s+\w+=\d+)*)")


class KeysError(ValueError):
    """The file of keys cannot be used; the message names the line, never what is in it."""


@dataclass(frozen=True)
class Limits:
    """What one caller may have; 0 is any number.

    Attributes:
        requests_per_minute: on the long run; a fifth of it may come at once.
        concurrent: requests at the same time, and as many responses in the background.
        stored_bytes: of uploaded files.
    """

    requests_per_minute: int = 0
    concurrent: int = 0
    stored_bytes: int = 0


UNLIMITED = Limits()


@dataclass(frozen=True)
class Key:
    """``operator`` tells the one that the server was started with from those of its file."""

    name: str
    limits: Limits
    operator: bool = False


class Keys:
    """Finds keys by what a client sends. Only digests are held, so neither memory nor a file betrays a key.

    Args:
        keys: by the SHA-256 digest of the secret, in hexadecimal digits.
    """

    def __init__(self, keys: dict[str, Key]) -> None:
        self._keys = keys

    def __bool__(self) -> bool:
        return bool(self._keys)

    @classmethod
    def load(cls, secrets: Iterable[str], file: str | None, limits: Limits) -> Keys:
        """
        Args:
            secrets: keys themselves; they all stand for the name ``local``.
            file: one key a line: a name, the SHA-256 digest of the key in hexadecimal digits, and limits such as
                ``requests_per_minute=60``. Lines that begin with ``#`` are comments. One name may have several keys.
            limits: where a line has none of its own.

        Raises :class:`KeysError`.
        """
        keys = {_digest(secret): Key("local", limits, operator=True) for secret in secrets}
        if file:
            keys |= _read_file(file, limits)
        return cls(keys)

    def find(self, secret: str) -> Key | None:
        """The lookup is by digest: what its time could betray helps nobody to guess the secret."""
        return self._keys.get(_digest(secret))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _read_file(file: str, limits: Limits) -> dict[str, Key]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeysError(f"cannot read the file of keys {file}: {error}") from error
    keys = dict(
        _read(line.strip(), limits, f"{file}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    )
    if not keys:  # a secret that was not mounted must not open the server to everybody
        raise KeysError(f"the file of keys {file} holds no key")
    return keys


def _read(line: str, limits: Limits, place: str) -> tuple[str, Key]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise KeysError(
            f"{place}: expected NAME SHA256-OF-THE-KEY [limit=number ...]. Digest: printf %s KEY | sha256sum"
        )
    given = {name: int(value) for name, value in (pair.split("=") for pair in match["limits"].split())}
    known = [field.name for field in fields(Limits)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise KeysError(f"{place}: there is no limit {unknown[0]!r}. There are {', '.join(known)}.")
    of_key = replace(limits, **given)
    return match["digest"].lower(), Key(match["name"], of_key)

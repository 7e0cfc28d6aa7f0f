"""Names of external tools as models see them."""

from __future__ import annotations

import hashlib
import re

SEPARATOR = "__"
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 64
_DIGITS = 8


class Aliases:
    """``label__tool``, in the characters and the length that all model APIs take; never two tools by one name."""

    def __init__(self) -> None:
        self._originals: dict[str, tuple[str, str]] = {}

    def add(self, label: str, tool: str) -> str:
        """The alias of a server's tool; the same one each time."""
        plain = f"{label}{SEPARATOR}{_OTHER.sub('_', tool)}"
        alias = plain if len(plain) <= _LONGEST else _shortened(plain, label, tool)
        while self._originals.setdefault(alias, (label, tool)) != (label, tool):
            alias = _shortened(alias, label, tool)  # one of those that share a name keeps it
        return alias


def label_of(alias: str) -> str:
    """The server's label in an alias, as far as labels are ours: those in a configuration hold no separator."""
    return alias.partition(SEPARATOR)[0]


def _shortened(plain: str, label: str, tool: str) -> str:
    digest = hashlib.sha256(f"{plain}\0{label}\0{tool}".encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{plain[: _LONGEST - _DIGITS - 1]}_{digest}"

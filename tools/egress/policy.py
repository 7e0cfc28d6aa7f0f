"""What a session may connect to: one policy for the browser, page fetches and everything else that leaves this host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from .addresses import Address, is_link_local, is_own, is_public
from .errors import Refused
from .target import canonical_host, split_authority


@dataclass(frozen=True)
class HostRule:
    """A host that a rule is about: ``example.com``, ``example.com:8080``, ``10.0.0.7``, ``*.example.com``.

    Args:
        port: this one only; None for the policy's usual ports.
        subdomains: the names below ``host``, not itself.
    """

    host: str
    port: int | None = None
    subdomains: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rule.

        Raises:
            ValueError: it is none.
        """
        subdomains = text.startswith("*.")
        name = text[2:] if subdomains else text
        try:
            if name.endswith("]") or ":" not in name or (name.count(":") > 1 and not name.startswith("[")):
                return cls(canonical_host(name), None, subdomains)
            host, port = split_authority(name)
            return cls(host, port, subdomains)
        except Refused as error:
            raise ValueError(f"{text!r} is not a host: write it as example.com or 10.0.0.7:8080. ({error})") from error

    def matches(self, host: str, port: int, usual: frozenset[int]) -> bool:
        """Whether the rule is about this host, in canonical form, and port."""
        if not (port in usual if self.port is None else port == self.port):
            return False
        return host.endswith(f".{self.host}") if self.subdomains else host == self.host

    def covers(self, other: HostRule) -> bool:
        """Whether all that matches ``other`` matches this rule too."""
        return self == other or (self.subdomains and self.port == other.port and other.host.endswith(f".{self.host}"))


def rules(texts: Iterable[str]) -> tuple[HostRule, ...]:
    """Rules from their texts. Raises ValueError."""
    return tuple(HostRule.parse(text) for text in texts)


@dataclass(frozen=True)
class EgressPolicy:
    """Who may be reached.

    Args:
        allow: hosts that the operator trusts although their addresses are private. Names below a ``*.`` are not
            trusted with that: whoever holds one such name could point it at this host.
        only: nothing but these; None for the whole internet.
        ports: that may be connected to where no rule names another.
        max_bytes: sent and received together, over the life of one :class:`Egress`.
        max_connections: at the same time.
    """

    allow: tuple[HostRule, ...] = ()
    only: tuple[HostRule, ...] | None = None
    ports: frozenset[int] = frozenset({80, 443})
    max_bytes: int = 1 << 30
    max_connections: int = 64

    def covers(self, rule: HostRule) -> bool:
        """Whether all that the rule is about may be reached."""
        return self.only is None or any(wider.covers(rule) for wider in self.only)

    def narrowed(self, hosts: Iterable[str]) -> EgressPolicy:
        """The same for these hosts only, as far as they may be reached now."""
        only = tuple(rule for rule in rules(hosts) if self.covers(rule))
        return replace(self, only=only, allow=tuple(rule for rule in self.allow if rule in only))

    def check_host(self, host: str, port: int) -> None:
        """Whether a connection may be tried at all.

        Raises:
            Refused: no.
        """
        if self._allowed(host, port):
            return
        if self.only is not None and not any(rule.matches(host, port, self.ports) for rule in self.only):
            raise Refused(f"{host} is not among the hosts that this session may reach. Use one of those.")
        named = any(rule.port == port and rule.matches(host, port, self.ports) for rule in self.only or ())
        if port not in self.ports and not named:
            ports = ", ".join(map(str, sorted(self.ports)))
            raise Refused(f"port {port} of {host} is not open to this session, only {ports}. Use one of those.")

    def check_address(self, host: str, port: int, address: Address) -> None:
        """Whether ``host`` may be at this address. To be asked about the very address that is connected to.

        Raises:
            Refused: no.
        """
        if self._allowed(host, port):
            if is_link_local(address) and host != str(address):
                raise Refused(f"{host} points to a link-local address. Ask the operator of that host.")
            return
        if getattr(address, "scope_id", None) or not is_public(address) or is_own(address):
            raise Refused(
                f"{host} is not on the public internet, and this server's operator has not allowed it. "
                "Use a public address."
            )

    def _allowed(self, host: str, port: int) -> bool:
        return any(not rule.subdomains and rule.matches(host, port, self.ports) for rule in self.allow)

"""Connections that leave this host: resolved here, checked, and made to the address that was checked."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.lowlevel import RunVar

from .addresses import Address
from .errors import OverBudget, Unreachable
from .policy import EgressPolicy
from .stream import CountedStream

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host, as texts; raises OSError when there are none."""

_RESOLVE_SECONDS = 10.0
_RESOLVED_AT_ONCE = 4  # names of one session, so that slow ones hold up none of another's
_CONNECT_SECONDS = 5.0
_MOST_ADDRESSES = 4
# Threads of their own, so that slow names hold up nothing else.
_lookups: RunVar[anyio.CapacityLimiter] = RunVar("_lookups")


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """What this host's own resolver answers."""
    try:
        limiter = _lookups.get()
    except LookupError:
        _lookups.set(limiter := anyio.CapacityLimiter(32))
    found = await anyio.to_thread.run_sync(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), abandon_on_cancel=True, limiter=limiter
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Egress:
    """One session's way out: its policy and what it has used.

    Args:
        policy: whom it may reach.
        resolver: how names become addresses; tests give another one.

    Attributes:
        used: bytes sent and received so far.
    """

    def __init__(self, policy: EgressPolicy | None = None, resolver: Resolver = system_resolver) -> None:
        self.policy = policy or EgressPolicy()
        self.used = 0
        self._resolver = resolver
        self._resolving = anyio.Semaphore(_RESOLVED_AT_ONCE)

    def count(self, size: int) -> None:
        """Note bytes that passed.

        Raises:
            OverBudget: they were too many.
        """
        self.used += size
        if self.used > self.policy.max_bytes:
            raise OverBudget(
                f"this session has exchanged its {self.policy.max_bytes} bytes with the network. Go on without it."
            )

    async def connect(self, host: str, port: int) -> CountedStream:
        """Connect to a host in canonical form (see `target`).

        Every address of the name must pass the policy, so that one good answer cannot hide a bad one, and the
        connection goes to an address that passed: a name that changes its mind changes nothing.

        Raises:
            Refused, Unreachable, OverBudget: the connection is not made.
        """
        for address in (await self.addresses(host, port))[:_MOST_ADDRESSES]:
            try:
                with anyio.fail_after(_CONNECT_SECONDS):
                    return CountedStream(await anyio.connect_tcp(str(address), port), self.count)
            except (OSError, TimeoutError):
                continue
        raise Unreachable(f"{host} does not answer on port {port}. Check the address, or try another page.")

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Where a host is, if it may be connected to at all of these addresses.

        Raises:
            Refused, Unreachable, OverBudget: it may not, or is nowhere.
        """
        self.count(0)
        self.policy.check_host(host, port)
        found = [ipaddress.ip_address(text) for text in await self._resolve(host, port)]
        for address in found:
            self.policy.check_address(host, port, address)
        return found

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        try:
            async with self._resolving:
                with anyio.fail_after(_RESOLVE_SECONDS):
                    found = await self._resolver(host, port)
        except (OSError, UnicodeError, TimeoutError):
            found = []
        if not found:
            raise Unreachable(f"there is no host named {host}. Check the address.")
        return found

"""The way out of code that may use the network: one proxy for all sessions, a policy and an account for each."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ..egress.connect import Egress, Resolver, system_resolver
from ..egress.policy import EgressPolicy, rules
from ..egress.proxy import Door, EgressProxy
from ..sandbox.config import SandboxConfig
from ..workspace import Session

Connect = Callable[[socket.socket], Awaitable[Door]]
"""Opens a door to the proxy at a sandbox's listener."""


@dataclass(frozen=True)
class _Account:
    """A session's bytes count over all interpreters that it has had."""

    egress: Egress

    async def close(self) -> None:
        """It holds nothing."""


class CodeNetwork:
    """An async context manager; sessions that used it must be closed before it is left.

    Args:
        config: says which hosts may be reached. A private one must be among ``trusted`` as well.
        trusted: hosts that may be reached although their addresses are private.
        resolver: how names become addresses; tests give another one.
    """

    def __init__(
        self, config: SandboxConfig, trusted: tuple[str, ...] = (), resolver: Resolver = system_resolver
    ) -> None:
        only = rules(config.sandbox_allow_hosts)
        self._policy = EgressPolicy(allow=tuple(rule for rule in rules(trusted) if rule in only), only=only)
        self._resolver = resolver
        self._proxy = EgressProxy()

    @classmethod
    def of(cls, config: SandboxConfig, trusted: tuple[str, ...] = ()) -> Self | None:
        """The network that an operator has allowed, None when there is none."""
        return cls(config, trusted) if config.sandbox_allow_hosts else None

    async def __aenter__(self) -> Self:
        await self._proxy.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._proxy.__aexit__(kind, error, trace)

    def connect(self, session: Session) -> Connect | None:
        """What opens the doors of a session's sandboxes; None for a session without a network."""
        if session.hosts == ():
            return None
        policy = self._policy if session.hosts is None else self._policy.narrowed(session.hosts)
        account = session.keep(_Account, lambda: _Account(Egress(policy, self._resolver)))
        return lambda listener: self._proxy.open_at(listener, account.egress)

    def check(self, hosts: tuple[str, ...]) -> None:
        """Whether a session may have these. Raises ValueError."""
        for host, rule in zip(hosts, rules(hosts), strict=True):
            if not self._policy.covers(rule):
                raise ValueError(f"{host!r} is not among the hosts that the operator lets code reach.")

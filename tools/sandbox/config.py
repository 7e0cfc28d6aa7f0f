"""How code may run, as the operator sets it."""

from __future__ import annotations

from dataclasses import dataclass

from ..egress.policy import rules


@dataclass(frozen=True)
class SandboxConfig:
    """What the operator wants.

    Args:
        allow_unsafe_code: where nothing isolates, run code without isolation instead of not at all.
        sandbox_allow_hosts: hosts that code may reach by HTTP and HTTPS: ``pypi.org``, ``*.example.com``,
            ``10.0.0.7:8080``. Empty: no network at all.
    """

    allow_unsafe_code: bool = False
    sandbox_allow_hosts: tuple[str, ...] = ()

    def check(self) -> None:
        """Look at what can be judged before anything starts.

        Raises:
            ValueError: a setting cannot be used; the message names it.
        """
        try:
            rules(self.sandbox_allow_hosts)
        except ValueError as error:
            raise ValueError(f"sandbox_allow_hosts: {error}") from error

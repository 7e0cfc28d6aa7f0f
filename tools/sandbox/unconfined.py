"""No isolation: for an operator who trusts what the model writes, on a machine where nothing isolates.

What is left are limits for each process, a user of its own for each session of a root server, and an orderly end.
"""

from __future__ import annotations

from dataclasses import dataclass

from .backend import Backend, Sandbox
from .cgroups import Cgroups
from .kept import start_kept
from .spec import SandboxSpec


@dataclass(frozen=True)
class Unconfined(Backend):
    """Starts a keeper for each session.

    Args:
        python: a Python that the sessions' users may read.
        cgroups: limits for all processes of a session together, where this process may set them.
    """

    python: str
    cgroups: Cgroups | None = None
    name: str = "unconfined"
    lacks: str = "any isolation: code has this machine's network, and all that its user may read and change"

    async def create(self, spec: SandboxSpec) -> Sandbox:
        return await start_kept(spec, self.python, self.cgroups, walls=None)

    def warm_up(self, network: bool = False) -> None:
        """Nothing runs before a session wants it."""

    def close(self) -> None:
        """Nothing runs beside the sessions."""

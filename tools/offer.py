"""The tools that this machine can offer, and in plain words what it cannot."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from .browser.browsing import Browsing
from .code.network import CodeNetwork
from .code.tool import PythonTool
from .files.ripgrep import find_ripgrep
from .files.sets import core_file_tools, full_file_tools
from .sandbox.probe import Verdict, probe
from .spec import Registry, Tool


@dataclass(frozen=True)
class Offer:
    """What an agent gets.

    Args:
        registry: the tools, in the order in which models see them.
        missing: one sentence for each kind of tool that is off here, with what to do about it.
    """

    registry: Registry
    missing: tuple[str, ...] = ()


def default_tools(
    verdict: Verdict | None = None,
    *,
    files: Literal["core", "full"] = "core",
    browsing: Browsing | None = None,
    network: CodeNetwork | None = None,
) -> Offer:
    """The hosted tools that work here.

    Args:
        verdict: what :func:`probe` found; it is asked when None, which starts a sandbox once.
        files: ``core`` is the few file tools that the embedded model is trained on; ``full`` is for MCP clients and
            stronger models.
        browsing: where the browser tools come from, entered already; None for none.
        network: the way out of code, likewise.
    """
    if sys.platform != "linux":
        reason = f"The code and file tools need Linux and are off on {sys.platform}."
        return Offer(Registry(), (reason,))
    verdict = verdict or probe()
    tools: list[Tool] = []
    missing: list[str] = []
    if verdict.backend:
        if network and not verdict.backend.networks:
            network = None
            missing.append(f"Code has no network: isolation by {verdict.backend.name} cannot give it one of its own.")
        verdict.backend.warm_up(network=network is not None)
        tools.append(PythonTool(verdict.backend, network=network))
    else:
        missing.append(f"The python tool is off: {verdict.problem}")
    if files == "full" and find_ripgrep() is None:
        missing.append("The grep tool is off: ripgrep is missing. Install it (apt-get install ripgrep).")
    tools += core_file_tools() if files == "core" else full_file_tools()
    if browsing:
        tools += browsing.tools
        missing += browsing.missing
    return Offer(Registry.of(tools), tuple(missing))

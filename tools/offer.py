"""The tools that this machine can offer, and in plain words what it cannot."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from .code.tool import PythonTool
from .files.edit import EditFile
from .files.folders import CreateDirectory, ListDirectory
from .files.move import MoveFile
from .files.read import ReadTextFile
from .files.search import SearchFiles
from .files.write import WriteFile
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


def default_tools(verdict: Verdict | None = None) -> Offer:
    """All hosted tools that work here.

    Args:
        verdict: what :func:`probe` found; it is asked when None, which starts a sandbox once.
    """
    if sys.platform != "linux":
        reason = f"The code and file tools need Linux and are off on {sys.platform}."
        return Offer(Registry(), (reason,))
    verdict = verdict or probe()
    tools: list[Tool] = []
    missing: list[str] = []
    if verdict.backend:
        tools.append(PythonTool(verdict.backend))
    else:
        missing.append(f"The python tool is off: {verdict.problem}")
    tools += [ReadTextFile(), WriteFile(), EditFile(), ListDirectory(), SearchFiles(), MoveFile(), CreateDirectory()]
    return Offer(Registry.of(tools), tuple(missing))

"""Turns what a user can put right into one line on stderr and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ...engine import EngineError
from ..bench.errors import BenchError
from ..chat.formats import UnknownFormat
from ..chat.template import TemplateError
from ..settings import ConfigError

COULD_NOT_START = 2


def reported(command: str, work: Callable[[], int], *more: type[Exception]) -> int:
    """What ``work`` returns, or :data:`COULD_NOT_START` after saying why; ``more`` are problems of this command's."""
    try:
        return work()
    except Exception as error:
        if not isinstance(error, (*_problems(), *more)):
            raise
        print(f"agenthost {command}: {error}", file=sys.stderr)
        return COULD_NOT_START


def _problems() -> tuple[type[Exception], ...]:
    from ...tools.errors import BrowserUnavailable, WorkspaceError  # not before: the engine's start would wait

    return BenchError, BrowserUnavailable, ConfigError, EngineError, TemplateError, UnknownFormat, WorkspaceError

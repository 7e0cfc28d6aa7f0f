"""Bars that show a person at a terminal how far the start of an engine is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .progress import Stage

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class LoadingBars:
    """A :data:`.progress.Progress` with a bar on standard error for each stage that takes more than a moment.

    Where no terminal shows it there is none. Leave it as a context manager, so that no bar stays half drawn.

    Args:
        soon: seconds in which a stage needs no bar.
    """

    def __init__(self, soon: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._soon, self._clock = soon, clock
        self._shown = sys.stderr.isatty()
        self._stage: Stage | None = None
        self._begun = 0.0
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def __call__(self, stage: Stage, done: int, total: int) -> None:
        if not self._shown:
            return
        if stage != self._stage:
            self._end()
            self._stage, self._begun = stage, self._clock()
        if self._bars is None and done < total and self._clock() - self._begun >= self._soon:
            self._bars = _bars()
            self._bars.start()
            self._bars.add_task(stage)
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[0], total=total, completed=done)
        if done >= total:
            self._end()

    def _end(self) -> None:
        self._stage = None
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = TextColumn("loading {task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(file=sys.stderr))

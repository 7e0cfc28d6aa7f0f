"""What a person sees while an engine starts."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import pytest
from agenthost.engine.loading import LoadingBars
from agenthost.engine.progress import Stage

BOTH: list[tuple[float, Stage, int, int]] = [
    (0.0, "weights", 1, 4), (2.0, "weights", 2, 4), (3.0, "weights", 4, 4), (3.1, "graphs", 1, 2), (3.2, "graphs", 2, 2)
]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def seen(monkeypatch, stderr: io.StringIO, calls: Sequence[tuple[float, Stage, int, int]], soon: float = 1.0) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    now = 0.0
    with LoadingBars(soon, lambda: now) as bars:
        for now, stage, done, total in calls:  # noqa: B007 (the clock reads it)
            bars(stage, done, total)
    return stderr.getvalue()


def test_a_stage_that_takes_long_has_a_bar_until_it_is_over(monkeypatch):
    shown = seen(monkeypatch, Terminal(), BOTH)
    assert "loading weights" in shown
    assert "100%" in shown
    assert "graphs" not in shown


@pytest.mark.parametrize("calls", [BOTH[:2], BOTH[:3]])
def test_the_cursor_comes_back_however_it_ends(monkeypatch, calls):
    shown = seen(monkeypatch, Terminal(), calls)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_a_stage_of_one_long_wait_has_its_bar_from_the_beginning(monkeypatch):
    assert "loading attention" in seen(monkeypatch, Terminal(), [(0.0, "attention", 0, 1)], soon=0.0)


def test_nothing_is_drawn_where_no_terminal_is(monkeypatch):
    assert seen(monkeypatch, io.StringIO(), BOTH) == ""

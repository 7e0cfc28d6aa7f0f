"""Figures with their targets, as a table or JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Args:
        value: the median where it was measured several times.
        best, runs: the smallest of how many.
        target: what the project promises it to be at most, in the same unit; None where it promises nothing.
        peer: the same of ipykernel in the same run, None where it was not measured.
    """

    name: str
    value: float
    unit: str
    best: float | None = None
    runs: int = 1
    target: float | None = None
    peer: float | None = None

    @classmethod
    def of(
        cls, name: str, values: Sequence[float], unit: str, target: float | None = None, peer: Sequence[float] = ()
    ) -> Figure:
        middle = statistics.median(peer) if peer else None
        return cls(name, statistics.median(values), unit, min(values), len(values), target, middle)


def emit(title: str, figures: Sequence[Figure], notes: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"title": title, "figures": [asdict(figure) for figure in figures], "notes": list(notes)}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in ("", "median", "best", "of", "target", "ipykernel"):
        table.add_column(column, justify="left" if not column else "right")
    for figure in figures:
        missed = figure.target is not None and figure.value > figure.target
        table.add_row(
            figure.name,
            f"{figure.value:.4g} {figure.unit}",
            "" if figure.best is None else f"{figure.best:.4g}",
            str(figure.runs),
            "" if figure.target is None else f"{'missed: ' if missed else ''}≤ {figure.target:g}",
            "" if figure.peer is None else f"{figure.peer:.4g}",
        )
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)

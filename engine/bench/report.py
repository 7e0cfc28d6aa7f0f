"""What every benchmark prints: its figures, and on what they were measured; as a table or as one JSON object."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

_PACKAGES = ("agenthost", "torch", "transformers", "tokenizers", "xgrammar", "flashinfer-python")


@dataclass(frozen=True)
class Figure:
    """One measured value. ``note`` says how it was taken, for the table's reader."""

    name: str
    value: float | int | str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Report:
    """A benchmark's outcome. ``settings`` are enough to repeat it."""

    benchmark: str
    settings: dict[str, Any]
    figures: Sequence[Figure]

    def emit(self, as_json: bool) -> None:
        """To standard output."""
        if as_json:
            print(json.dumps(self.json(), ensure_ascii=False))
        else:
            self._table()

    def json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "settings": self.settings,
            "hardware": hardware(),
            "versions": versions(),
            "figures": {figure.name: figure.value for figure in self.figures},
            "units": {figure.name: figure.unit for figure in self.figures if figure.unit},
        }

    def _table(self) -> None:
        console = Console(highlight=False, soft_wrap=True)
        table = Table(title=f"agenthost bench {self.benchmark}", title_justify="left", show_header=False, box=None)
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column()
        table.add_column(style="dim")
        for figure in self.figures:
            table.add_row(figure.name.replace("_", " "), shown(figure.value), figure.unit, figure.note)
        console.print(table)
        machine = ", ".join(str(value) for value in hardware().values() if value)
        console.print(f"{machine}; {', '.join(f'{name} {v}' for name, v in versions().items())}", style="dim")
        console.print(", ".join(f"{name}={value}" for name, value in self.settings.items()), style="dim")


def shown(value: float | int | str) -> str:
    """Three digits that count, thousands separated."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def arguments(name: str, summary: str | None) -> argparse.ArgumentParser:
    """A parser with what all benchmarks take."""
    parser = argparse.ArgumentParser(
        prog=f"agenthost bench {name}", description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def progress(*, quiet: bool = False) -> Progress:
    """A bar on standard error, so that standard output holds the result only."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    console = Console(file=sys.stderr)
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=quiet)


def hardware() -> dict[str, Any]:
    """Of this machine; ``cores`` are those that this process may use."""
    return {
        "cpu": _cpu(),
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu() -> str | None:
    """By the driver's own tool: asking torch would load it into processes that must stay light."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return ", ".join(done.stdout.split("\n")).strip(", ") or None if done.returncode == 0 else None

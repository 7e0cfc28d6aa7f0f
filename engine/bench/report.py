"""What every benchmark prints: its figures, and on what they were measured; as a table or as one JSON object."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from ..cores import usable_cores
from .table import Table, shown

STDOUT = "-"

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
    """A benchmark's outcome.

    Attributes:
        settings: enough to repeat it.
        tables: what was measured several times.
        parts: JSON objects of the benchmarks that it is made of, by their names.
    """

    benchmark: str
    settings: dict[str, Any]
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    parts: Mapping[str, Any] = field(default_factory=dict)

    def emit(self, where: str | None) -> None:
        """To standard output: a table, or with :data:`STDOUT` one JSON object. Any other ``where`` is a file for it."""
        if where != STDOUT:
            self._show()
        if where is not None:
            text = json.dumps(self.json(), ensure_ascii=False) + "\n"
            sys.stdout.write(text) if where == STDOUT else Path(where).write_text(text, encoding="utf-8")

    def json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "settings": self.settings,
            "hardware": hardware(),
            "versions": versions(),
            "figures": {figure.name: figure.value for figure in self.figures},
            "units": {figure.name: figure.unit for figure in self.figures if figure.unit},
            **{table.name: table.json() for table in self.tables},
            **({"parts": dict(self.parts)} if self.parts else {}),
        }

    def _show(self) -> None:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        console.print(f"agenthost bench {self.benchmark}", style="italic")
        for table in (*(table.rich() for table in self.tables), *([self._figures()] if self.figures else ())):
            # As wide as it needs: cut or folded columns help nobody who reads a log.
            wide = console.options.update(max_width=1000)
            console.width = max(console.width, Measurement.get(console, wide, table).maximum)
            console.print(table)
        machine = ", ".join(str(value) for value in hardware().values() if value)
        console.print(f"{machine}; {', '.join(f'{name} {v}' for name, v in versions().items())}", style="dim")
        console.print(", ".join(f"{name}={value}" for name, value in self.settings.items()), style="dim")

    def _figures(self) -> RichTable:
        table = RichTable(show_header=False, box=None)
        table.add_column(style="bold")
        table.add_column(justify="right")
        table.add_column()
        table.add_column(style="dim")
        for figure in self.figures:
            table.add_row(figure.name.replace("_", " "), shown(figure.value), figure.unit, figure.note)
        return table


def arguments(name: str, summary: str | None) -> argparse.ArgumentParser:
    """A parser with what all benchmarks take."""
    parser = argparse.ArgumentParser(
        prog=f"agenthost bench {name}", description=summary, formatter_class=_Help, allow_abbrev=False
    )
    parser.add_argument(
        "--json", nargs="?", const=STDOUT, type=_json_file, metavar="FILE.json",
        help="print one JSON object; or with a file, write it there beside the table",
    )  # fmt: skip
    return parser


def positive(text: str) -> int:
    """A type for arguments that count something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Keeps paragraphs, and shows defaults where there are any."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.replace("``", "").split("\n\n")
        return "\n\n".join(super(_Help, self)._fill_text(paragraph, width, indent) for paragraph in paragraphs)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _json_file(name: str) -> str:
    """Checked before hours of measuring; the suffix keeps ``--json MODEL`` from overwriting the model."""
    if name != STDOUT and not (name.endswith(".json") and Path(name).absolute().parent.is_dir()):
        raise argparse.ArgumentTypeError(f"{name!r} is not the name of a .json file in a folder that exists")
    return name


def progress() -> Progress:
    """A bar on standard error, so that standard output holds the result only; none where no terminal shows it."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    console = Console(file=sys.stderr)
    disable = not console.is_terminal
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=disable)


def hardware() -> dict[str, Any]:
    """Of this machine; ``cores`` are those that this process may use."""
    return {
        "cpu": _cpu(),
        "cores": f"{usable_cores()} cores",
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

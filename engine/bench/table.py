"""What a report is made of beside single figures: values, how they are shown, and rows of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import rich.table


@dataclass(frozen=True)
class Percentiles:
    """Of values that were measured many times; None where there was none."""

    p50: float | None
    p90: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles:
        """Interpolated linearly between neighbours."""
        return cls(*map(float, np.percentile(values, (50, 90, 99)))) if values else cls(None, None, None)


Value = float | int | str | Percentiles | None


@dataclass(frozen=True)
class Table:
    """Rows of values by column name.

    Attributes:
        name: its key in the JSON object.
        units: every column in order, with its unit or an empty text.
        hidden: columns that only the JSON object has.
    """

    name: str
    units: Mapping[str, str]
    rows: Sequence[Mapping[str, Value]]
    hidden: Collection[str] = ()

    def json(self) -> dict[str, Any]:
        return {
            "units": {column: unit for column, unit in self.units.items() if unit},
            "rows": [{column: _json(row[column]) for column in self.units} for row in self.rows],
        }

    def rich(self) -> rich.table.Table:
        table = rich.table.Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        columns = [column for column in self.units if column not in self.hidden]
        texts = {column for column in columns if any(isinstance(row[column], str) for row in self.rows)}
        for column in columns:
            title = f"{column.replace('_', ' ')}\n{self.units[column]}"
            table.add_column(title.strip(), justify="left" if column in texts else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*(shown(row[column]) for column in columns))
        return table


def shown(value: Value) -> str:
    """Three digits that count, thousands separated."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, Percentiles):
        return " / ".join(map(shown, (value.p50, value.p90, value.p99)))
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _json(value: Value) -> Any:
    return asdict(value) if isinstance(value, Percentiles) else value

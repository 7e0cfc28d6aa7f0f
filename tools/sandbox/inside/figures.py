"""What matplotlib has drawn by the end of a cell, as PNG; then the figures are closed, as notebooks do."""

from __future__ import annotations

import base64
import io
import sys
import warnings
from collections.abc import Iterator
from typing import Any

# The host takes no more, see answer.py.
_FIGURES, _BYTES = 8, 2 << 20


def collect(value: object) -> list[str]:
    """Base64 of the open figures' PNGs, and of ``value``'s when it is a figure that is open no more."""
    return [base64.b64encode(png).decode() for png in _draw(value)]


def tolerate_show() -> None:
    """`plt.show()` has nothing to do here, and need not say so."""
    warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")


def _draw(value: object) -> Iterator[bytes]:
    figure = sys.modules.get("matplotlib.figure")
    if figure is None:
        return
    figures: list[Any] = []
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and pyplot.get_fignums():
        figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
        pyplot.close("all")
    if isinstance(value, figure.Figure) and value not in figures:
        figures.append(value)
    for number, drawn in enumerate(figures, start=1):
        if number > _FIGURES:
            print(f"{len(figures) - _FIGURES} more figures are not shown: draw at most {_FIGURES} in one call.")
            return
        buffer = io.BytesIO()
        drawn.savefig(buffer, format="png", bbox_inches="tight")
        if buffer.tell() > _BYTES:
            print(f"Figure {number} is not shown: its image is too large. Use a smaller figsize or dpi.")
        else:
            yield buffer.getvalue()

"""Whether the file tools can be led out of a workspace, beside what checks paths first and opens them afterwards.

Another process swaps a directory and a link that leads out while files are read and written through it. An escape is a
read that returns what is outside, or a write that changes it. The exit status is 0 when the file tools had none.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...engine.bench.report import Figure, Report, arguments, positive
from ...engine.bench.table import Table, Value
from ...tools.bench import race
from ...tools.bench.race import Outcome

_WAYS = {
    ("file tools", "read"): race.read_beneath,
    ("file tools", "write"): race.write_beneath,
    ("check, then open", "read"): race.read_checked,
    ("check, then open", "write"): race.write_checked,
}
_UNITS = {"by": "", "what": "", "attempts": "", "worked": "", "refused": "", "escaped": "", "each": "µs"}


def main(words: Sequence[str]) -> int:
    parser = arguments("files", __doc__)
    parser.add_argument(
        "--attempts", type=positive, default=100_000, metavar="N", help="by the file tools; half read, half write"
    )
    options = parser.parse_args(words)
    each = (options.attempts + 1) // 2
    with race.arena() as place:
        outcomes = {way: race.repeat(attempt, place, each) for way, attempt in _WAYS.items()}
    table = Table("race", _UNITS, [_row(by, what, outcome) for (by, what), outcome in outcomes.items()])
    escapes = {by: sum(o.escaped for (name, _), o in outcomes.items() if name == by) for by, _ in _WAYS}
    figures = [
        Figure("attempts", 2 * each, note="by each of the two"),
        Figure("escapes", escapes["file tools"], note="of the file tools"),
        Figure("escapes_checked", escapes["check, then open"], note="of check, then open"),
    ]
    Report("files", {"attempts": options.attempts}, figures, (table,)).emit(options.json)
    return 1 if escapes["file tools"] else 0


def _row(by: str, what: str, outcome: Outcome) -> dict[str, Value]:
    ends = {"worked": outcome.worked, "refused": outcome.refused, "escaped": outcome.escaped}
    each = outcome.seconds / outcome.attempts * 1e6
    return {"by": by, "what": what, "attempts": outcome.attempts, **ends, "each": each}

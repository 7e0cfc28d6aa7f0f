"""Scores the casual set: sixty prompts as people type them, each with conditions that any correct assistant meets.

Nothing here knows of a model or a server. A run is three things: the final answer, the names of the tools that were
called, and the text files of the workspace afterwards. Directories without files appear in a workspace as a path that
ends in ``/``. Files that a case does not speak of must be left as they were; new ones do no harm.

How an expected item matches:

* A number such as ``"1234.5"`` matches that value in any spelling (``1,234.50``, ``twelve`` for 12), as a whole number
  and not as digits inside another.
* ``"~42.2"`` matches any number that rounds to 42.2 at the one decimal place given.
* Other text matches without regard to case, line breaks, curly quotes and Markdown emphasis; a digit at either end of
  it must not continue in the answer (``14:15`` is not in ``14:150``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

Span = tuple[int, int]

_GROUP = r"[,_'\u00a0\u2009\u202f]"  # what may stand between thousands; a plain space also separates list items
_NUMBER = re.compile(
    rf"""(?<![\w.])[-−]?
    (?:(?:\d{{1,3}}(?:{_GROUP}\d{{3}})+(?!\d)|\d+)(?:\.\d+)?(?:e[+-]?\d{{1,3}})?|\.\d+)""",
    re.VERBOSE,
)
_WORDS = {
    word: Decimal(value)
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")
_EXPECTED_NUMBER = re.compile(r"~?-?\d+(?:\.\d+)?")
_DENIAL = re.compile(
    r"\b(?:no|not|none|nothing|nobody|missing|without|unable|cannot|cant|dont|doesnt|isnt|sorry)\b|n't\b"
)
_FOLDED = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "`": " "})


class CaseError(ValueError):
    """A line of the set that is not a case. The message names the line and what is wrong with it."""


@dataclass(frozen=True)
class FileRule:
    """What a file must hold afterwards: just ``equals`` (spaces at line ends aside), or every item of ``contains``."""

    equals: str | None = None
    contains: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expect:
    """The conditions of a case. All of those that are given must hold."""

    answer_contains: tuple[str, ...] = ()
    answer_contains_any: tuple[str, ...] = ()
    answer_in_order: tuple[str, ...] = ()
    answer_denies: bool = False
    files: Mapping[str, FileRule] = field(default_factory=dict)
    directories: tuple[str, ...] = ()
    absent_files: tuple[str, ...] = ()
    no_tool: bool = False


@dataclass(frozen=True)
class Case:
    """A prompt, the workspace's text files before it (path to text), and what must hold after it."""

    id: str
    prompt: str
    files: Mapping[str, str]
    expect: Expect


def load(path: Path) -> list[Case]:
    """Read a set, one JSON object a line. Raises `CaseError` for a line that is not a case, or an id used twice."""
    cases: list[Case] = []
    seen: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            case = _case(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise CaseError(f"{path.name}:{number} is not a case: {error!r}") from error
        if case.id in seen:
            raise CaseError(f"{path.name}:{number} repeats the id {case.id}. Give each case an id of its own.")
        seen.add(case.id)
        cases.append(case)
    return cases


def passed(case: Case, answer: str, tools_used: Sequence[str], workspace: Mapping[str, str]) -> str | None:
    """Judge one run: None when it passed, or why it did not.

    ``workspace`` is the text of every file after the run, by path relative to the workspace with forward slashes.
    """
    return (
        _judge_answer(case.expect, answer)
        or _judge_workspace(case, workspace)
        or (f"called {tools_used[0]} where no tool helps" if case.expect.no_tool and tools_used else None)
    )


def _judge_answer(expect: Expect, answer: str) -> str | None:
    if not answer.strip():
        return "the answer is empty"
    text = _fold(answer)
    for item in expect.answer_contains:
        if not _spans(item, text):
            return f"the answer lacks {item!r}"
    if expect.answer_contains_any and not any(_spans(item, text) for item in expect.answer_contains_any):
        return f"the answer has none of {list(expect.answer_contains_any)}"
    if not _in_order(expect.answer_in_order, text):
        return f"the answer does not have {list(expect.answer_in_order)} in this order"
    if expect.answer_denies and not _DENIAL.search(text):
        return "the answer does not say that this is not there or not possible"
    return None


def _judge_workspace(case: Case, workspace: Mapping[str, str]) -> str | None:
    expect = case.expect
    for path, rule in expect.files.items():
        if path not in workspace:
            return f"there is no file {path}"
        if rule.equals is not None and _trim(workspace[path]) != _trim(rule.equals):
            return f"{path} is not as expected: {workspace[path]!r}"
        for item in rule.contains:
            if not _spans(item, _fold(workspace[path])):
                return f"{path} lacks {item!r}"
    for path in expect.directories:
        if not any(name.startswith(f"{path}/") for name in workspace):
            return f"there is no directory {path}"
    for path in expect.absent_files:
        if path in workspace:
            return f"the file {path} should not be there"
    for path, before in case.files.items():
        if path in expect.files or path in expect.absent_files:
            continue
        if path not in workspace or _trim(workspace[path]) != _trim(before):
            return f"{path} was changed and should not be"
    return None


def _spans(item: str, folded: str) -> list[Span]:
    """Where ``item`` occurs in folded text."""
    if _EXPECTED_NUMBER.fullmatch(item):
        wanted = Decimal(item.removeprefix("~"))
        # "~42.2" is right within half a unit of its last place, a plain number only exactly.
        exponent = int(wanted.as_tuple().exponent)
        tolerance = Decimal(5).scaleb(exponent - 1) if item.startswith("~") else Decimal(0)
        return [span for span, value in _numbers(folded) if abs(value - wanted) <= tolerance]
    pattern = re.escape(_fold(item))
    if item[0].isdigit():
        pattern = rf"(?<!\d){pattern}"
    if item[-1].isdigit():
        pattern = rf"{pattern}(?!\d)"
    return [match.span() for match in re.finditer(pattern, folded)]


def _numbers(folded: str) -> list[tuple[Span, Decimal]]:
    """Every number in the text, in digits or (up to twelve) in words, with its place."""
    found: list[tuple[Span, Decimal]] = []
    for match in _NUMBER.finditer(folded):
        digits = re.sub(_GROUP, "", match.group()).replace("−", "-")
        found.append((match.span(), Decimal(digits)))
    found.extend((match.span(), _WORDS[match.group()]) for match in _WORD.finditer(folded))
    return found


def _in_order(items: Sequence[str], folded: str) -> bool:
    end = 0
    for item in items:
        later = [span for span in _spans(item, folded) if span[0] >= end]
        if not later:
            return False
        end = min(later)[1]
    return True


def _fold(text: str) -> str:
    """Lower case, plain quotes, no Markdown emphasis, single spaces. No-break spaces stay: they group digits."""
    plain = text.translate(_FOLDED).replace("**", " ").lower()
    return re.sub(r"[ \t\r\n]+", " ", plain)


def _trim(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\r\n").splitlines()).rstrip()


def _case(raw: dict[str, Any]) -> Case:
    _only(raw, {"id", "prompt", "files", "expect"})
    given: dict[str, Any] = dict(raw["expect"])
    _only(given, {known.name for known in fields(Expect)})
    if not given:
        raise ValueError("expect is empty; give at least one condition")
    expect = Expect(
        answer_contains=_items(given.get("answer_contains", [])),
        answer_contains_any=_items(given.get("answer_contains_any", [])),
        answer_in_order=_items(given.get("answer_in_order", [])),
        answer_denies=bool(given.get("answer_denies", False)),
        files={path: _rule(rule) for path, rule in given.get("files", {}).items()},
        directories=_items(given.get("directories", [])),
        absent_files=_items(given.get("absent_files", [])),
        no_tool=bool(given.get("no_tool", False)),
    )
    return Case(id=str(raw["id"]), prompt=str(raw["prompt"]), files=dict(raw["files"]), expect=expect)


def _rule(raw: dict[str, Any]) -> FileRule:
    _only(raw, {"equals", "contains"})
    if len(raw) != 1:
        raise ValueError("a file needs either equals or contains")
    return FileRule(raw.get("equals"), _items(raw.get("contains", [])))


def _items(raw: list[str]) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) and item for item in raw):
        raise TypeError(f"expected a list of non-empty strings, not {raw!r}")
    return tuple(raw)


def _only(raw: dict[str, Any], allowed: set[str]) -> None:
    if unknown := set(raw) - allowed:
        raise ValueError(f"unknown fields {sorted(unknown)}; known are {sorted(allowed)}")

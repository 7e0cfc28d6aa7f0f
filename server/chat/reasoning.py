"""How models mark what they think before they speak: found in the stream, and kept out of every grammar's reach.

Whether a turn begins inside of its thoughts is read off the prompt, which is where templates open or close them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..json_values import JsonObject
from .formats import Delta, ReasoningDelta, StreamParser, TextDelta, UnknownFormat
from .formats.markup import Marks, StateParser

Place = Literal["inside", "before", "after"]
"""Where a prompt leaves the model: in its thoughts, where it may open them, or where they have been closed for it."""

_SPACE = "[ \\n]{0,4}"


@dataclass(frozen=True)
class ReasoningFormat:
    """A pair of marks; ``opens`` and ``closes`` are each one's spellings, the one that models write first."""

    name: str
    opens: tuple[str, ...]
    closes: tuple[str, ...]

    def place(self, prompt: str) -> Place:
        """Where a prompt, of which the end is enough, leaves the model."""
        end = prompt.rstrip()
        if end.endswith(tuple(mark.rstrip() for mark in self.opens)):
            return "inside"
        return "after" if end.endswith(self.closes) else "before"

    def around(self, body: JsonObject, place: Place, budget: int | None = None) -> JsonObject:
        """A structural-tag format under which thoughts are free and ``body`` begins behind them.

        ``budget`` is the most tokens of thought.
        """
        if place == "after":
            return body
        free: JsonObject = {"type": "any_text", "excludes": [*self.opens, *self.closes]}
        if budget is not None:
            free["max_tokens"] = budget
        thoughts: JsonObject = {"type": "tag", "begin": "", "content": free, "end": list(self.closes)}
        gap: JsonObject = {"type": "regex", "pattern": _SPACE}
        if place == "inside":
            return {"type": "sequence", "elements": [thoughts, gap, body]}
        opened: JsonObject = {"type": "sequence", "elements": [gap, {**thoughts, "begin": self.opens[0]}, gap]}
        return {"type": "sequence", "elements": [{"type": "optional", "content": opened}, body]}


def _tags(name: str, open: str = "<think>", close: str = "</think>") -> ReasoningFormat:
    return ReasoningFormat(name, (open,), (close,))


_FORMATS = {
    format.name: format
    for format in (
        _tags("qwen3"), _tags("deepseek_r1"), _tags("glm45"), _tags("kimi_k2"),
        _tags("mistral", "[THINK]", "[/THINK]"), _tags("seed_oss", "<seed:think>", "</seed:think>"),
        _tags("gemma4", "<|channel>thought\n", "<channel|>"),
        ReasoningFormat(
            "granite",
            ("Here is my thought process:", "Here's my thought process:"),
            ("Here is my response:", "Here's my response:"),
        ),
    )
}  # fmt: skip
_ALIASES = {
    "think": "qwen3", "qwen": "qwen3", "qwen3-thinking": "qwen3", "deepseek-r1": "deepseek_r1",
    "deepseek_v3": "deepseek_r1", "deepseek-v3": "deepseek_r1", "deepseek_v31": "deepseek_r1", "glm": "glm45",
    "glm47": "glm45", "kimi": "kimi_k2", "magistral": "mistral", "gemma": "gemma4",
}  # fmt: skip
WHOLE_TURN = ("openai", "gpt-oss", "gpt_oss", "openai_gptoss", "harmony")
"""Names for reasoning that the tool-call format ``openai`` takes apart by itself."""


def named(name: str) -> ReasoningFormat:
    """The format that a user names, or ``OPEN,CLOSE`` for tags of another kind. Raises :class:`UnknownFormat`."""
    found = _FORMATS.get(_ALIASES.get(name, name))
    if found is not None:
        return found
    open, comma, close = name.partition(",")
    if comma and open.strip() and close.strip():
        return _tags(name, open.strip(), close.strip())
    known = ", ".join(sorted([*_FORMATS, *_ALIASES, *WHOLE_TURN]))
    raise UnknownFormat(
        f"there is no reasoning format named {name!r}. Known names: {known}; or two tags as 'OPEN,CLOSE'."
    )


def detect(template: str) -> ReasoningFormat | None:
    """The format that a chat template writes, None when its model does not think aloud."""
    signs = {
        "[THINK]": "mistral", "<seed:think>": "seed_oss", "<|channel>thought": "gemma4",
        "Here is my thought process": "granite", "Here's my thought process": "granite",
    }  # fmt: skip
    for sign, name in signs.items():
        if sign in template:
            return _FORMATS[name]
    if "<think>" not in template and "</think>" not in template:
        return None
    if "<arg_key>" in template:
        return _FORMATS["glm45"]
    return _FORMATS["deepseek_r1" if "<｜Assistant｜>" in template else "qwen3"]


class ReasoningParser(StateParser):
    """Thoughts first, and what follows them goes to ``inner``, or is text.

    White space next to the marks belongs to the format.
    """

    def __init__(self, format: ReasoningFormat, place: Place, inner: StreamParser | None) -> None:
        super().__init__(self._opened if place == "inside" else self._before)
        self._format = format
        self._closes = Marks(format.closes)
        self._inner = inner
        self.thinking = place == "inside"

    def finish(self) -> list[Delta]:
        deltas: list[Delta] = []
        rest, self._buffer = self._buffer, ""
        if self.thinking:
            if rest.strip():
                deltas.append(ReasoningDelta(rest))
        elif self._state != self._gap:
            self._pass(deltas, rest)
        return deltas + self._inner.finish() if self._inner else deltas

    def _before(self, deltas: list[Delta]) -> bool:
        rest = self._buffer.lstrip()
        mark = next((mark for mark in self._format.opens if rest.startswith(mark)), None)
        if mark is not None:
            self._buffer = rest[len(mark) :]
            self.thinking = True
            self._state = self._opened
            return True
        if any(mark.startswith(rest) for mark in self._format.opens):
            return False
        self._state = self._after
        return True

    def _opened(self, deltas: list[Delta]) -> bool:
        """At the beginning of the thoughts, where models repeat the mark that the prompt ended with."""
        self._buffer = rest = self._buffer.lstrip()
        mark = next((mark for mark in self._format.opens if rest.startswith(mark)), None)
        if mark is not None:
            self._buffer = rest[len(mark) :]
            return True
        if any(mark.startswith(rest) for mark in self._format.opens):
            return False
        self._state = self._inside
        return True

    def _inside(self, deltas: list[Delta]) -> bool:
        at, mark = self._closes.look(self._buffer)
        thought = self._buffer[:at].rstrip()
        _think(deltas, thought)
        if not mark:
            self._buffer = self._buffer[len(thought) :]
            return False
        self._buffer = self._buffer[at + len(mark) :]
        self.thinking = False
        self._state = self._gap
        return True

    def _gap(self, deltas: list[Delta]) -> bool:
        self._buffer = self._buffer.lstrip()
        if self._buffer:
            self._state = self._after
        return bool(self._buffer)

    def _after(self, deltas: list[Delta]) -> bool:
        text, self._buffer = self._buffer, ""
        self._pass(deltas, text)
        return False

    def _pass(self, deltas: list[Delta], text: str) -> None:
        if self._inner is not None:
            deltas += self._inner.feed(text)
        elif text:
            deltas.append(TextDelta(text))


def parser(format: ReasoningFormat | None, place: Place, inner: StreamParser | None) -> StreamParser | None:
    """A parser for a turn, None when all of it is text."""
    if format is None or place == "after":
        return inner
    return ReasoningParser(format, place, inner)


def marks(format: ReasoningFormat | None) -> Sequence[str]:
    """The texts that may be special tokens of the model."""
    return (*format.opens, *format.closes) if format is not None else ()


def _think(deltas: list[Delta], text: str) -> None:
    if text:
        deltas.append(ReasoningDelta(text))

"""The person at the terminal: allows calls of external tools, and answers what external servers ask."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import anyio

from ..json_values import JsonObject
from .printable import printable

if TYPE_CHECKING:
    from ...tools.interaction import Question, Reply
    from ..agent.approval import Asked, Verdict


_LONGEST = 4000  # characters of what is shown
_CHUNK = 4096


class Person:
    """Asks on stderr, reads stdin, one question at a time. Waiting for an answer can be cancelled.

    Attributes:
        present: somebody can answer.
    """

    def __init__(self, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        self._source = source or sys.stdin
        self._sink = sink or sys.stderr
        self._turn = anyio.Lock()
        self.present = self._source.isatty()

    async def approve(self, asked: Asked) -> Verdict:
        """Whether a call may run. Anything but a clear yes is a no."""
        changed = " Its definition has CHANGED since it was listed or allowed." if asked.changed else ""
        async with self._turn:
            self._say(f"\n{asked.label} / {asked.tool}: may it be called?{changed}\n  {_shown(asked.text())}")
            answer = (await self._read("[y]es, [a]lways for this tool, [N]o: ")).lower()
        return "once" if answer in ("y", "yes") else "always" if answer in ("a", "always") else "no"

    async def login(self, label: str, url: str) -> None:
        """Show where to log in to an external server. It is known elsewhere when that is done."""
        async with self._turn:
            self._say(f"\nThe external server {label} wants you to log in. Open this page:\n  {printable(url)}")

    async def answer(self, question: Question) -> Reply:
        """What a server wants to know, field by field; an empty line for a required field declines."""
        from ...tools.interaction import Reply  # not before: the engine starts while the tools are loaded

        async with self._turn:
            self._say(f"\nThe external server {question.asker} asks: {_shown(question.message)}")
            if question.url is not None:
                self._say(f"It wants you to visit {_shown(question.url)}. Nothing is opened for you.")
                done = (await self._read("Have you done that? [y/N]: ")).lower() in ("y", "yes")
                return Reply("accept" if done else "decline")
            if (await self._read("Answer it? [y/N]: ")).lower() not in ("y", "yes"):
                return Reply("decline")
            content: JsonObject = {}
            schema = question.schema or {}
            for name, field in schema.get("properties", {}).items():
                found, value = await self._field(name, field)
                if found:
                    content[name] = value
                elif name in schema.get("required", ()):
                    return Reply("decline")
            return Reply("accept", content)

    async def _field(self, name: str, field: JsonObject) -> tuple[bool, Any]:
        choices = _choices(field)
        hint = f" ({', '.join(map(str, choices))})" if choices else ""
        default = f" [{field['default']}]" if "default" in field else ""
        while True:
            text = await self._read(f"{printable(str(field.get('title', name)))}{printable(hint + default)}: ")
            if not text:
                return "default" in field, field.get("default")
            with contextlib.suppress(ValueError):
                value = _converted(text, field)
                if not choices or all(item in choices for item in (value if isinstance(value, list) else [value])):
                    return True, value
            self._say(f"expected {_expected(field, choices)}")

    def _say(self, text: str) -> None:
        print(text, file=self._sink, flush=True)

    async def _read(self, prompt: str) -> str:
        """One line, without its end; empty at the end of input."""
        print(prompt, end="", file=self._sink, flush=True)
        line = b""
        while not line.endswith(b"\n"):
            await anyio.wait_readable(self._source)
            data = os.read(self._source.fileno(), _CHUNK)
            if not data:
                break
            line += data
        return line.decode("utf-8", "replace").strip()


def _shown(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [... {len(text) - _LONGEST} characters more]"


def _choices(field: JsonObject) -> list[Any]:
    if field.get("type") == "array":
        return _choices(field.get("items", {}))
    titled = field.get("oneOf", field.get("anyOf"))
    return [option["const"] for option in titled if "const" in option] if titled else list(field.get("enum", ()))


def _converted(text: str, field: JsonObject) -> Any:
    """Raises ValueError."""
    match field.get("type"):
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "boolean":
            if text.lower() not in ("y", "yes", "true", "n", "no", "false"):
                raise ValueError(text)
            return text.lower() in ("y", "yes", "true")
        case "array":
            return [part.strip() for part in text.split(",")]
        case _:
            return text


def _expected(field: JsonObject, choices: list[Any]) -> str:
    return f"one of {', '.join(map(str, choices))}" if choices else f"a value of type {field.get('type', 'string')}"

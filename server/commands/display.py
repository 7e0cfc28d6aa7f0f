"""Shows an agent at work in the terminal: what it says, each call with its output, tokens, cache hits and times."""

from __future__ import annotations

import json

from rich.console import Console
from rich.text import Text as Styled

from ...tools.interaction import Progress
from ..agent.events import Answer, CallFinished, CallProgress, CallStarted, Event, Failed, StepFinished, Text
from .printable import printable

_MOST_LINES = 20


class Display:
    """Give it every event in order."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._in_line = False

    def show(self, event: Event) -> None:
        match event:
            case Text():
                self._console.print(Styled(printable(event.text)), end="", soft_wrap=True)
                self._in_line = not event.text.endswith("\n")
            case StepFinished():
                self._end_line()
                self._line(_figures(event), "dim")
            case CallStarted():
                self._end_line()
                self._line(f"→ {printable(event.tool)}", "bold cyan")
                self._block(_arguments(event.arguments), "cyan")
            case CallProgress() if event.progress.output is None:  # output is shown whole in the end
                self._block(_news(event.progress), "dim")
            case CallFinished():
                style = "red" if event.is_error else "green"
                self._line(f"← {printable(event.tool)}  {event.seconds:.2f} s", f"bold {style}")
                self._block(event.output, style)
            case Answer():
                self._end_line()
            case Failed():
                self._end_line()
                self._line(f"No answer: {printable(event.message)}", "bold red")

    def stopped(self) -> None:
        """The user has interrupted the agent."""
        self._end_line()
        self._line("Stopped.", "bold red")

    def _end_line(self) -> None:
        if self._in_line:
            self._console.print()
            self._in_line = False

    def _block(self, text: str, style: str) -> None:
        lines = printable(text).splitlines()
        shown = lines[:_MOST_LINES]
        if len(lines) > _MOST_LINES:
            shown.append(f"… {len(lines) - _MOST_LINES} more lines")
        for line in shown:
            self._line(f"  {line}", style)

    def _line(self, text: str, style: str) -> None:
        self._console.print(Styled(text, style=style), soft_wrap=True)


def _news(progress: Progress) -> str:
    parts = [f"{progress.done:g}" if progress.total is None else f"{progress.done:g} of {progress.total:g}"]
    return ": ".join([*parts, *filter(None, [progress.message])])


def _arguments(arguments: str) -> str:
    """One line for each argument; a single one, such as code, stands alone."""
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    if not isinstance(values, dict):
        return arguments
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
    }
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


def _figures(step: StepFinished) -> str:
    usage = step.usage
    return (
        f"  step {step.step}: {usage.prompt_tokens} prompt tokens ({usage.cached_tokens} cached), "
        f"{usage.completion_tokens} generated, first token {step.first_token_seconds:.2f} s, {step.seconds:.2f} s"
    )

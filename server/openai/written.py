"""One choice of an answer as its client gets it, remembered for when the client sends it back."""

from __future__ import annotations

from io import StringIO

from ..chat.conversation import Conversation
from ..chat.formats import CallArguments, CallStart, Delta, ReasoningDelta, TextDelta
from ..chat.generate import Generation
from ..chat.messages import new_call_id
from ..json_values import loads


class WrittenCall:
    """A call as far as the model has written it."""

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self._arguments = StringIO()

    @property
    def arguments(self) -> str:
        """As JSON text."""
        return self._arguments.getvalue()

    def argue(self, text: str) -> None:
        self._arguments.write(text)


class Written:
    """Takes the deltas in order; what a delta costs does not grow with what came before."""

    def __init__(self) -> None:
        self.calls: list[WrittenCall] = []
        self._text = StringIO()
        self._reasoning = StringIO()

    @property
    def text(self) -> str:
        return self._text.getvalue()

    @property
    def reasoning(self) -> str:
        return self._reasoning.getvalue()

    def take(self, delta: Delta) -> None:
        match delta:
            case TextDelta():
                self._text.write(delta.text)
            case ReasoningDelta():
                self._reasoning.write(delta.text)
            case CallStart():
                self.calls.append(WrittenCall(delta.id or new_call_id(), delta.name))
            case CallArguments():
                self.calls[delta.index].argue(delta.text)

    def remember(self, conversation: Conversation, generation: Generation) -> None:
        """The turn is over: note its exact ids."""
        ids = generation.turn_ids
        if ids is not None:
            calls = [(call.id, call.name, call.arguments) for call in self.calls]
            conversation.record(self.text, calls, ids, reasoning=self.reasoning)


def custom_input(arguments: str) -> str:
    """The text that a custom tool is called with, which the model writes as the one argument of a function."""
    try:
        value = loads(arguments)
    except ValueError:
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments

"""One choice of an answer as its client gets it, remembered for when the client sends it back."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..chat.conversation import Conversation
from ..chat.formats import CallArguments, CallStart, Delta, ReasoningDelta, TextDelta
from ..chat.generate import Generation
from ..chat.messages import new_call_id
from ..json_values import loads


@dataclass
class WrittenCall:
    """A call, its arguments as JSON text, as far as the model has written it."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Written:
    """Takes the deltas in order."""

    text: str = ""
    reasoning: str = ""
    calls: list[WrittenCall] = field(default_factory=list)

    def take(self, delta: Delta) -> None:
        match delta:
            case TextDelta():
                self.text += delta.text
            case ReasoningDelta():
                self.reasoning += delta.text
            case CallStart():
                self.calls.append(WrittenCall(delta.id or new_call_id(), delta.name))
            case CallArguments():
                self.calls[delta.index].arguments += delta.text

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

"""One choice of an answer as its client gets it, remembered for when the client sends it back."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..chat.conversation import Conversation
from ..chat.formats import CallArguments, CallStart, Delta, TextDelta
from ..chat.generate import Generation
from ..chat.messages import new_call_id


@dataclass
class WrittenCall:
    id: str
    name: str
    arguments: str = ""


@dataclass
class Written:
    """Takes the deltas in order."""

    text: str = ""
    calls: list[WrittenCall] = field(default_factory=list)

    def take(self, delta: Delta) -> None:
        match delta:
            case TextDelta():
                self.text += delta.text
            case CallStart():
                self.calls.append(WrittenCall(new_call_id(), delta.name))
            case CallArguments():
                self.calls[delta.index].arguments += delta.text

    def remember(self, conversation: Conversation, generation: Generation, *, ended: bool, cut: bool) -> None:
        """Note the turn's exact ids: ``ended`` by its end-of-turn token, or ``cut`` by the limit of tokens."""
        if ended or cut:
            calls = [(call.id, call.name, call.arguments) for call in self.calls]
            conversation.record(self.text, calls, generation.token_ids, ended=ended)

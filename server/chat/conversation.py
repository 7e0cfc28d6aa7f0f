"""A conversation with its exact token ids: what the model has read and written is never rendered or tokenised again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .messages import assistant
from .model import ChatModel

JsonObject = dict[str, Any]


class Conversation:
    """Grows by turns.

    Args:
        model: renders and tokenises what is new.
        tools: as the template gets them; the same throughout, since they stand at the front of every prompt.
        system: the system message's text.

    Attributes:
        messages: the conversation as the template sees it.
        ids: every token so far: prompts, outputs, results.
        rerendered: how often the template did not simply append, so that the past had to be rendered anew.
    """

    def __init__(self, model: ChatModel, tools: Sequence[JsonObject], system: str | None = None) -> None:
        self.messages: list[JsonObject] = [{"role": "system", "content": system}] if system else []
        self.ids: list[int] = []
        self.rerendered = 0
        self._model = model
        self._tools = list(tools)
        self._ended = False

    async def prompt(self, following: Sequence[JsonObject]) -> list[int]:
        """Add messages and return the token ids with which the assistant's next turn begins.

        Raises TemplateError when the template refuses them; the conversation is then as before.
        """
        if self.ids:
            suffix = await self._model.continuation(self.messages[-1], self._ended, following, self._tools)
            ids = self.ids + suffix if suffix is not None else None
            self.rerendered += ids is None
        else:
            ids = None
        self.ids = ids or await self._model.prompt([*self.messages, *following], self._tools)
        self.messages += following
        return self.ids

    def append_turn(
        self, text: str, calls: Sequence[tuple[str, str, str]], token_ids: Sequence[int], *, ended: bool
    ) -> None:
        """Add what the assistant wrote: ``calls`` are (id, name, arguments); ``ended`` by its end-of-turn token."""
        self.messages.append(assistant(text, calls))
        self.ids = [*self.ids, *token_ids]
        self._ended = ended

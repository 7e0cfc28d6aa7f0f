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
        self._answered = False
        self._ended = False

    async def prompt(self, following: Sequence[JsonObject]) -> list[int]:
        """Add messages and return the token ids with which the assistant's next turn begins.

        Raises TemplateError when the template refuses them; the conversation is then as before.
        """
        self.ids = await self._continued(following) or await self._rendered(following)
        self.messages += following
        self._answered = False
        return self.ids

    def append_turn(
        self, text: str, calls: Sequence[tuple[str, str, str]], token_ids: Sequence[int], *, ended: bool
    ) -> None:
        """Add what the assistant wrote: ``calls`` are (id, name, arguments); ``ended`` by its end-of-turn token."""
        self.messages.append(assistant(text, calls))
        self.ids = [*self.ids, *token_ids]
        self._answered = True
        self._ended = ended

    async def _continued(self, following: Sequence[JsonObject]) -> list[int] | None:
        """None when there is no turn to continue from: at the beginning, or when the last one was interrupted."""
        if not self._answered:
            return None
        suffix = await self._model.continuation(self.messages[-1], self._ended, following, self._tools)
        return None if suffix is None else self.ids + suffix

    async def _rendered(self, following: Sequence[JsonObject]) -> list[int]:
        self.rerendered += bool(self.ids)
        return await self._model.prompt([*self.messages, *following], self._tools)

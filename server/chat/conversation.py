"""A conversation with its exact token ids: what the model has read and written is never rendered or tokenised again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..json_values import JsonObject
from .messages import assistant
from .model import ChatModel
from .transcript import Digest, Found, Hidden, Transcript, Turn, beginning, digests_after, ids_of


class Conversation:
    """Grows by turns.

    Args:
        model: renders and tokenises what is new.
        tools: as the template gets them; the same throughout, since they stand at the front of every prompt.
        system: the system message's text.
        transcript: finds the ids of turns that a client replays, and remembers those generated here.
        owner: whose conversation it is; turns are found only by their owner.
        stored: the transcript looks for turns in its store too.
        variables: for the template, as ``enable_thinking``; the same throughout.

    Attributes:
        messages: the conversation as the template sees it.
        ids: every token so far: prompts, outputs, results.
        pending: messages that come before the next ones that are added.
        rerendered: how often the template did not simply append, so that the past had to be rendered anew.
    """

    def __init__(
        self,
        model: ChatModel,
        tools: Sequence[JsonObject],
        system: str | None = None,
        *,
        transcript: Transcript | None = None,
        owner: str = "",
        stored: bool = False,
        variables: Mapping[str, object] | None = None,
    ) -> None:
        self.messages: list[JsonObject] = [{"role": "system", "content": system}] if system else []
        self.ids: list[int] = []
        self.pending: list[JsonObject] = []
        self.rerendered = 0
        self._model = model
        self._tools = list(tools)
        self._variables = dict(variables or {})
        self._transcript = transcript
        self._stored = stored
        self._answered = False
        # The digest of all that was said; the same, and how many messages, when the first prompt was made.
        start = beginning(owner, self._tools, *([self._variables] if self._variables else []))
        self._digest: Digest = [start, *digests_after(start, self.messages)][-1]
        self._asked: tuple[Digest, int] | None = None
        # The last turn in the transcript, and how many ids it covers.
        self._turn: tuple[Digest | None, int] = (None, 0)

    @property
    def turn(self) -> Digest | None:
        """The last turn's place in the transcript, None when it is not there."""
        return self._turn[0]

    async def prompt(self, following: Sequence[JsonObject]) -> list[int]:
        """Add messages and return the token ids with which the assistant's next turn begins.

        Raises TemplateError when the template refuses them; the conversation is then as before.
        """
        added = [*self.pending, *following]
        if self.ids and not added and not self._answered:
            return self.ids
        digests = digests_after(self._digest, added)
        if not self.ids and self._transcript is not None:
            found = await self._transcript.find(digests, added, stored=self._stored)
            if found is not None:
                await self._splice(found, added[found.length :])
                return self._prompted(digests)
        self.ids = await self._continued(added) or await self._rendered(added)
        self.messages += added
        return self._prompted(digests)

    def append_turn(
        self,
        text: str,
        calls: Sequence[tuple[str, str, str]],
        token_ids: Sequence[int] | None,
        *,
        reasoning: str = "",
    ) -> None:
        """Add what the assistant wrote.

        Args:
            calls: (id, name, arguments).
            token_ids: the turn's, see :attr:`Generation.turn_ids`; None when they are not what the message says.
        """
        message = assistant(text, calls, reasoning)
        self.messages.append(message)
        self.ids = [*self.ids, *(token_ids or ())]
        self._answered = token_ids is not None
        self._digest = digests_after(self._digest, [message])[0]
        if self._transcript is not None and token_ids is not None:
            parent, covered = self._turn
            self._transcript.put(self._digest, Turn(parent, ids_of(self.ids[covered:]), reasoning))
            self._turn = (self._digest, len(self.ids))

    def record(
        self,
        text: str,
        calls: Sequence[tuple[str, str, str]],
        token_ids: Sequence[int],
        *,
        reasoning: str = "",
    ) -> None:
        """Remember one of several turns that the assistant might go on with; the conversation stays as it is."""
        if self._transcript is not None:
            digest = digests_after(self._digest, [assistant(text, calls)])[0]
            parent, covered = self._turn
            ids = ids_of([*self.ids[covered:], *token_ids])
            self._transcript.put(digest, Turn(parent, ids, reasoning))

    def show(self, text: str, calls: Sequence[tuple[str, str, str]]) -> None:
        """Say how the client sees the turns since the first prompt: as one, with ``text`` and its own ``calls``.

        When it comes back in that form, the steps that were really taken are found behind it.
        """
        if self._transcript is None or self._asked is None or self.turn is None:
            return
        digest, length = self._asked
        shown = digests_after(digest, [assistant(text, calls)])[0]
        if shown == self._digest:
            return
        hidden = Hidden(self.messages[length:-1], self.messages[-1], list(self.pending))
        self._transcript.put(shown, Turn(self.turn, ids_of(()), "", hidden))
        self._turn = (shown, len(self.ids))

    async def _splice(self, found: Found, rest: list[JsonObject]) -> None:
        real, added = found.messages, [*found.pending, *rest]
        suffix = await self._suffix(real, added)
        if suffix is None:
            assert self._transcript is not None
            self._transcript.counts.mismatched["template"] += 1
            ids = await self._model.prompt([*self.messages, *real, *added], self._tools, variables=self._variables)
        else:
            ids = found.ids + suffix
            self._turn = (found.digest, len(found.ids))
        self.ids = ids
        self.messages += [*real, *added]

    def _prompted(self, digests: list[Digest]) -> list[int]:
        self._digest = digests[-1] if digests else self._digest
        self._asked = self._asked or (self._digest, len(self.messages))
        self.pending = []
        self._answered = False
        return self.ids

    async def _continued(self, added: Sequence[JsonObject]) -> list[int] | None:
        """None when there is no turn to continue from: at the beginning, or when the last one was interrupted."""
        if not self._answered:
            return None
        suffix = await self._suffix(self.messages, added)
        return None if suffix is None else self.ids + suffix

    async def _suffix(self, said: Sequence[JsonObject], added: Sequence[JsonObject]) -> list[int] | None:
        """The ids that lead from the last turn of ``said`` to the next one; None where the template does not append.

        Results of tools are appended to any turn. At a user's message, templates may drop what was thought since the
        last one, and are asked with all of it.
        """
        turns = said[-1:]
        if any(message["role"] == "user" for message in added):
            asked = max((place for place, message in enumerate(said) if message["role"] == "user"), default=-1)
            since = said[asked + 1 :]
            turns = since if any(message.get("reasoning_content") for message in since) else turns
        return await self._model.continuation(turns, added, self._tools, self._variables)

    async def _rendered(self, added: Sequence[JsonObject]) -> list[int]:
        self.rerendered += bool(self.ids)
        self._turn = (None, 0)
        return await self._model.prompt([*self.messages, *added], self._tools, variables=self._variables)

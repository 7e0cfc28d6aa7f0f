"""What the front knows of the served model: its tokenizer, its chat template and its way of calling tools."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...engine import Tokenizer
from .formats import ToolFormat, detect, named
from .messages import hoist_system
from .template import ChatTemplate, TemplateError

JsonObject = dict[str, Any]

# Splits what users and tools say wherever it spells a special token, so that it is tokenised as the text it is.
# A noncharacter: Unicode guarantees that no text means anything by it.
_SPLIT = "\ufdd0"

# Rendering and tokenising this much text takes well under a millisecond: less than a thread's round trip is worth.
_SHORT = 8192


class ChatModel:
    """Turns conversations into token ids.

    Attributes:
        tokenizer: the model's.
        template: its chat template.
        format: how it writes tool calls; None when its template has none that is known.
        defaults: the sampling parameters that the model's makers recommend, by SamplingParams' names.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        format: ToolFormat | None,
        defaults: dict[str, float] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.format = format
        self.defaults = defaults or {}
        specials = (tokenizer.token_bytes(token).decode("utf-8", "replace") for token in tokenizer.special_ids)
        spelled = sorted(text for text in specials if len(text) > 1)
        self._spelled = re.compile(f"(?=(?:{'|'.join(map(re.escape, spelled))}))(.)", re.DOTALL) if spelled else None

    @classmethod
    def load(
        cls, folder: Path, tokenizer: Tokenizer, *, template: str | None = None, format: str | None = None
    ) -> ChatModel:
        """Put together what the model's files say.

        Args:
            template: a file with a chat template, or the template itself, instead of the model's own.
            format: a tool-call format's name, instead of the one that the template shows.

        Raises TemplateError or UnknownFormat.
        """
        source = tokenizer.chat_template if template is None else _template_text(template)
        if source is None:
            raise TemplateError(f"{folder.name} has no chat template. Give one with --chat-template FILE.")
        with_tools = tokenizer.chat_templates.get("tool_use") if template is None else None
        chat_template = ChatTemplate(source, tokenizer.special_tokens, with_tools)
        found = detect(with_tools or source) if format is None else named(format)
        return cls(tokenizer, chat_template, found, _recommended(folder / "generation_config.json"))

    @property
    def markup_is_special(self) -> bool:
        """The calls' markup is made of special tokens, which the output text must therefore show."""
        if self.format is None:
            return False
        return any(self.tokenizer.token_id(marker) in self.tokenizer.special_ids for marker in self.format.markers)

    async def prompt(self, messages: Sequence[JsonObject], tools: Sequence[JsonObject] | None = None) -> list[int]:
        """Token ids of a whole conversation, ready for the assistant's turn. Raises TemplateError."""
        if sum(len(message["content"]) for message in messages) > _SHORT:
            return await asyncio.to_thread(self._prompt, messages, tools)
        return self._prompt(messages, tools)

    async def continuation(
        self, turn: JsonObject, ended: bool, following: Sequence[JsonObject], tools: Sequence[JsonObject] | None = None
    ) -> list[int] | None:
        """Token ids that lead from the end of an assistant turn, through ``following``, to the next assistant turn.

        Appended to the ids that the model has read and written, they make the next prompt without rendering or
        tokenising the past again, so the prefix cache matches to the last token.

        Args:
            turn: the assistant's message, as :func:`messages.assistant` makes it.
            ended: the turn's ids include the token that ends a turn.
            following: what came after it: tool results or a user's message.

        Returns None when the template does not simply append (some strip old reasoning at a user's message): then the
        conversation has to be rendered anew.
        """
        opening = {"role": "user", "content": "."}
        try:
            before = self._render([opening, turn], tools, add_generation_prompt=False)
            after = self._render([opening, turn, *following], tools)
        except TemplateError:
            return None
        end = self._turn_end(before)
        if end is None or not after.startswith(before):
            return None
        return self._encode(after[end[1] if ended else end[0] :])

    def _turn_end(self, rendered: str) -> tuple[int, int] | None:
        """Where the last end-of-turn token stands in a rendered conversation."""
        ends = [self.tokenizer.token_bytes(token).decode("utf-8", "replace") for token in self.tokenizer.eos_token_ids]
        found = [(rendered.rfind(end), end) for end in ends if end]
        position, end = max(found, default=(-1, ""))
        return (position, position + len(end)) if position >= 0 else None

    def _prompt(self, messages: Sequence[JsonObject], tools: Sequence[JsonObject] | None) -> list[int]:
        try:
            text = self._render(messages, tools)
        except TemplateError:
            if not any(message["role"] == "system" for message in messages[1:]):
                raise
            text = self._render(hoist_system(messages), tools)
        return self._encode(text)

    def _render(
        self, messages: Sequence[JsonObject], tools: Sequence[JsonObject] | None, *, add_generation_prompt: bool = True
    ) -> str:
        said = [self._as_text(message) for message in messages]
        return self.template.render(said, tools or None, add_generation_prompt=add_generation_prompt)

    def _as_text(self, message: JsonObject) -> JsonObject:
        if message["role"] not in ("user", "tool") or self._spelled is None:
            return message
        content = self._spelled.sub(rf"\1{_SPLIT}", message["content"].replace(_SPLIT, ""))
        return message if content == message["content"] else {**message, "content": content}

    def _encode(self, text: str) -> list[int]:
        return [token for piece in text.split(_SPLIT) for token in self.tokenizer.encode(piece)]


def _template_text(template: str) -> str:
    if "{" in template:
        return template
    file = Path(template)
    if not file.is_file():
        raise TemplateError(f"there is no chat template file {template!r}.")
    return file.read_text(encoding="utf-8")


def _recommended(file: Path) -> dict[str, float]:
    """Sampling from generation_config.json, as other servers take it; greedy where it says not to sample."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if config.get("do_sample") is False:
        return {"temperature": 0.0}
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    return {name: config[name] for name in names if isinstance(config.get(name), int | float)}

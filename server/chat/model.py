"""What the front knows of the served model: its tokenizer, its chat template and its way of calling tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from ...engine import Grammar, Tokenizer
from ..json_values import JsonObject
from . import reasoning
from .formats import FunctionTool, StreamParser, ToolChoice, ToolFormat, detect, named
from .markup import Markup
from .messages import easier_messages
from .probes import observe
from .reasoning import Place, ReasoningFormat
from .template import ChatTemplate, TemplateError

T = TypeVar("T")

# Stands where a turn that is to be continued ends. A noncharacter: no text means anything by it.
_CUT = "\ufdd1"
# Stands for all that was said before a turn.
_ASKED = {"role": "user", "content": _CUT}

# Tokens at the end of a prompt that show whether a template has opened the model's thoughts.
_TAIL = 16

# Rendering and tokenising this much text takes well under a millisecond: less than a thread's round trip is worth.
_SHORT = 8192


class ChatModel:
    """Turns conversations into token ids.

    Attributes:
        tokenizer: the model's.
        template: its chat template.
        format: how it writes tool calls; None when its template has none that is known.
        reasoning: how it marks its thoughts; None when it has none, or where ``format`` knows.
        defaults: the sampling parameters that the model's makers recommend, by SamplingParams' names.
        context: tokens that the engine has room for; text that is longer is not tokenised. None: there is no limit.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        format: ToolFormat | None,
        defaults: dict[str, float] | None = None,
        reasoning: ReasoningFormat | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.format = format
        self.reasoning = None if format is not None and format.whole_turn else reasoning
        self.defaults = defaults or {}
        self.context: int | None = None
        self._habits = observe(template)
        # What ends a turn: for the model, and in templates.
        ends = [tokenizer.token_bytes(token).decode("utf-8", "replace") for token in tokenizer.eos_token_ids]
        self._ends = [*filter(None, ends), *(format.ends if format is not None else ())]
        self._markup = Markup(tokenizer, (*self._ends, *self._marks))

    @classmethod
    def load(
        cls,
        folder: Path,
        tokenizer: Tokenizer,
        *,
        template: str | None = None,
        format: str | None = None,
        reasoning_format: str | None = None,
    ) -> ChatModel:
        """Put together what the model's files say.

        Args:
            template: a file with a chat template, or the template itself, instead of the model's own.
            format: a tool-call format's name, instead of the one that the template shows.
            reasoning_format: likewise for the marks around thoughts.

        Raises TemplateError or UnknownFormat.
        """
        source = tokenizer.chat_template if template is None else _template_text(template)
        if source is None:
            raise TemplateError(f"{folder.name} has no chat template. Give one with --chat-template FILE.")
        with_tools = tokenizer.chat_templates.get("tool_use") if template is None else None
        chat_template = ChatTemplate(source, tokenizer.special_tokens, with_tools)
        shown = with_tools or source
        if format is None and reasoning_format in reasoning.WHOLE_TURN:
            format = "openai"
        found = detect(shown) if format is None else named(format, shown)
        thoughts = reasoning.detect(shown)
        if reasoning_format is not None and reasoning_format not in reasoning.WHOLE_TURN:
            thoughts = reasoning.named(reasoning_format)
        return cls(tokenizer, chat_template, found, _recommended(folder / "generation_config.json"), thoughts)

    @property
    def markup_is_special(self) -> bool:
        """The markup of calls or thoughts is made of special tokens, which the output text must therefore show."""
        return any(self.tokenizer.token_id(mark) in self.tokenizer.special_ids for mark in self._marks)

    @property
    def _marks(self) -> list[str]:
        """Of calls and of thoughts."""
        return [*(self.format.markers if self.format else ()), *reasoning.marks(self.reasoning)]

    def parser(self, prompt: Sequence[int], tools: Sequence[FunctionTool] = ()) -> StreamParser | None:
        """What takes the turn behind ``prompt`` apart, when ``tools`` may be called; None when all of it is text."""
        format = self.format
        inner = format.parser(tools) if format is not None and (tools or format.whole_turn) else None
        return reasoning.parser(self.reasoning, self.place(prompt), inner)

    def place(self, prompt: Sequence[int]) -> Place:
        """Where a prompt leaves the model: in its thoughts, before or behind them."""
        if self.reasoning is None:
            return "after"
        return self.reasoning.place(self.tokenizer.decode(prompt[-_TAIL:], skip_special_tokens=False))

    def grammar(
        self,
        prompt: Sequence[int],
        tools: Sequence[FunctionTool] = (),
        choice: ToolChoice | None = None,
        text: JsonObject | None = None,
        budget: int | None = None,
    ) -> Grammar | None:
        """What the turn behind ``prompt`` must be, None for any text. Thoughts are free.

        Args:
            text: the structural-tag format of what is said when nothing is called.
            budget: the most tokens of thought.
        """
        place = self.place(prompt)
        format = self.format
        if format is not None and (tools or (format.whole_turn and text is not None)):
            thoughts = reasoning.marks(self.reasoning) if place == "before" else ()
            body = format.body(tools, self._choice(choice or ToolChoice()), text, thoughts)
        elif text is not None:
            if place == "after":
                return text_grammar(text)
            body = text
        elif budget is not None and place != "after":
            body = {"type": "any_text", "excludes": list(reasoning.marks(self.reasoning))}  # thoughts are no answer
        else:
            return None
        if self.reasoning is not None:
            body = self.reasoning.around(body, place, budget)
        return text_grammar(body)

    async def prompt(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None = None,
        *,
        variables: Mapping[str, object] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> list[int]:
        """Token ids of a whole conversation, ready for the assistant's turn.

        Args:
            variables: for the template, as ``enable_thinking``.
            continue_final_message: the last message is the assistant's, and its turn goes on where its text ends.

        Raises TemplateError or ContextOverflow.
        """

        def work() -> list[int]:
            text = self._conversation(
                messages, tools, variables or {}, add_generation_prompt and not continue_final_message,
                continue_final_message,
            )  # fmt: skip
            return self._markup.encode(text, self.context)

        return await _beside(work, messages, tools)

    async def continuation(
        self,
        turns: Sequence[JsonObject],
        following: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None = None,
        variables: Mapping[str, object] | None = None,
    ) -> list[int] | None:
        """Token ids that lead from the end of an assistant turn, through ``following``, to the next assistant turn.

        Appended to the ids that the model has read and written, they make the next prompt without rendering or
        tokenising the past again, so the prefix cache matches to the last token. They begin with the template's end of
        a turn, whichever token the model has ended its turn with.

        Args:
            turns: messages of which the last is the assistant's, as :func:`messages.assistant` makes it.
            following: what came after them: tool results or a user's message.
            variables: for the template.

        Returns None when the template does not append, or drops what was thought or said at a user's message: then the
        conversation has to be rendered anew. Raises ContextOverflow.
        """
        return await _beside(
            lambda: self._continuation(turns, following, tools, variables or {}), [*turns, *following], tools
        )

    def _continuation(
        self,
        turns: Sequence[JsonObject],
        following: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None,
        variables: Mapping[str, Any],
    ) -> list[int] | None:
        said = [_ASKED, *turns]
        try:
            before = self._render(said, tools, add_generation_prompt=False, **variables)
            after = self._render([*said, *following], tools, **variables)
            kept = [turn["reasoning_content"].strip() for turn in turns if turn.get("reasoning_content")]
            if after.startswith(before):
                end = self._turn_end(before)
            else:
                end = self._end_in(after, said, following, tools, variables)
                kept += [turn["content"].strip() for turn in turns]
        except TemplateError:
            return None
        new_turn = any(message["role"] == "user" for message in following)
        if end is None or (new_turn and not all(text in after for text in kept)):
            return None
        return self._markup.encode(after[end:], self.context)

    def _turn_end(self, rendered: str) -> int:
        """Where the last turn of a rendered conversation is over. Some templates write no mark there.

        Then the next speaker's mark is what ends a turn.
        """
        words = rendered.rstrip()
        end = next((end for end in self._ends if words.endswith(end)), None)
        return len(rendered) if end is None else len(words) - len(end)

    def _end_in(
        self,
        after: str,
        said: Sequence[JsonObject],
        following: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None,
        variables: Mapping[str, Any],
    ) -> int | None:
        """Where the last turn of ``said`` is over in ``after``, where it is written unlike a conversation's last one.

        Some templates put an empty block of thoughts into the last turn only, or a token behind it. None where what
        came before the turn is written differently too, or no mark ends it.
        """
        if not following:
            return None
        first, *rest = following
        marked = self._render([*said, {**first, "content": _CUT + first["content"]}, *rest], tools, **variables)
        prompt = self._render(said[:1], tools, **variables)
        same = "".join(char for char, _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, after, strict=False)))
        head = marked[: marked.rfind(_CUT)]
        end = max(head.rfind(mark) for mark in self._ends) if self._ends else -1
        return end if _CUT in same and after.startswith(head) and end >= len(same) else None

    def _choice(self, choice: ToolChoice) -> ToolChoice:
        """``choice`` without what the template could not print."""
        return replace(choice, parallel=choice.parallel and not self._habits.one_call)

    def _conversation(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None,
        variables: Mapping[str, Any],
        add_generation_prompt: bool,
        continued: bool,
    ) -> str:
        if continued:
            *before, last = messages
            messages = [*before, {**last, "content": last["content"] + _CUT}]
        try:
            text = self._render(messages, tools, add_generation_prompt=add_generation_prompt, **variables)
        except TemplateError:
            easier = easier_messages(messages)
            if easier is None:
                raise
            text = self._render(easier, tools, add_generation_prompt=add_generation_prompt, **variables)
        if not continued:
            return text
        text, cut, _ = text.rpartition(_CUT)
        if not cut:
            raise TemplateError("The chat template does not print the last message, so it cannot be continued.")
        return text

    def _render(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None,
        *,
        add_generation_prompt: bool = True,
        **variables: object,
    ) -> str:
        offered: Any = self._markup.all_as_text(list(tools or ()))
        said = [self._as_text(message) for message in self._habits.fit(messages, offered, self.format)]
        shown = offered or ([] if self._habits.no_tools else None)
        text = self.template.render(said, shown, add_generation_prompt=add_generation_prompt, **variables)
        return text if offered == list(tools or ()) else self._markup.unescaped(text)

    def _as_text(self, message: JsonObject) -> JsonObject:
        if message["role"] not in ("user", "tool"):
            return message
        return {**message, "content": self._markup.as_text(message["content"])}


async def _beside(work: Callable[[], T], messages: Sequence[JsonObject], tools: Sequence[JsonObject] | None) -> T:
    """``work``, which reads these: in a thread where there is so much of them that other streams would feel it."""
    return await asyncio.to_thread(work) if _longer(_SHORT, messages, tools) else work()


def _longer(size: int, messages: Sequence[JsonObject], tools: Sequence[JsonObject] | None) -> bool:
    """Whether they have more than about ``size`` characters."""
    for message in messages:
        size -= len(message["content"]) + len(message.get("reasoning_content") or "")
        size -= len(str(message["tool_calls"])) if message.get("tool_calls") else 0
        if size < 0:
            return True
    return len(str(tools or "")) > size


def text_grammar(text: JsonObject) -> Grammar:
    """The grammar of a structural-tag format, of its own kind where there is one: there special tokens are no text."""
    match text:
        case {"type": "json_schema", "json_schema": schema}:
            return Grammar("json_schema", json.dumps(schema, ensure_ascii=False))
        case {"type": "regex", "pattern": pattern}:
            return Grammar("regex", pattern)
        case {"type": "grammar", "grammar": source}:
            return Grammar("ebnf", source)
    return Grammar("structural_tag", json.dumps({"type": "structural_tag", "format": text}, ensure_ascii=False))


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

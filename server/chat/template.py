"""Hugging Face chat templates: messages in, prompt text out, rendered in a sandbox as transformers renders them.

A template is code that came with the model, so it runs in jinja2's immutable sandbox and sees plain JSON values only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from ..json_values import JsonObject

# All that an expression of a template can raise: what a template cannot do with these messages is a refusal.
_REFUSALS = (
    jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


class TemplateError(ValueError):
    """The template cannot be compiled, or refuses these messages; the message is the template's own."""


class ChatTemplate:
    """A model's chat template with the special tokens it may print.

    Args:
        source: jinja2 text.
        special_tokens: variables such as ``bos_token`` and ``eos_token``.
        tools_source: another template for conversations with tools, which a few models have.
    """

    def __init__(
        self, source: str, special_tokens: dict[str, str] | None = None, tools_source: str | None = None
    ) -> None:
        self.source = source
        self.tools_source = tools_source
        self.special_tokens = special_tokens or {}
        environment = _environment()
        self._plain = _compile(environment, source)
        self._with_tools = _compile(environment, tools_source) if tools_source else self._plain

    def render(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None = None,
        *,
        add_generation_prompt: bool = True,
        **variables: object,
    ) -> str:
        """The prompt's text. Raises :class:`TemplateError` when the template refuses the messages."""
        template = self._with_tools if tools else self._plain
        context = {**self.special_tokens, **variables}
        try:
            return template.render(
                messages=messages, tools=tools, documents=None, add_generation_prompt=add_generation_prompt, **context
            )
        except _REFUSALS as error:
            raise TemplateError(f"The chat template cannot render these messages: {error}") from error


class _GenerationBlocks(Extension):
    """``{% generation %}`` marks assistant text for training; in a prompt it is only its content."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """Takes no names of Python's own, which would let a template dress it up as another kind of object."""

    def __init__(*args: Any, **names: Any) -> None:
        self, *given = args
        Namespace.__init__(self)
        for name, value in dict(*given, **names).items():
            self[name] = value

    def __setitem__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a namespace cannot hold the name {name!r}")
        super().__setitem__(name, value)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["namespace"] = _Namespace
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _compile(environment: ImmutableSandboxedEnvironment, source: str) -> jinja2.Template:
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise TemplateError(f"The chat template is not valid: {error}") from error


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike jinja2's own filter this escapes nothing for HTML; the defaults are those of training."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)

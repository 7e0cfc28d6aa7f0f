"""What clients of Anthropic's messages may send. Unknown fields are ignored, wrong types are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..json_values import JsonObject


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Tool(_Lenient):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: JsonObject | None = None


class Choice(_Lenient):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(_Lenient):
    type: str
    budget_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class OutputFormat(_Lenient):
    type: str
    json_schema: JsonObject | None = Field(default=None, alias="schema")


class OutputConfig(_Lenient):
    effort: str | None = None
    format: OutputFormat | None = None


class Metadata(_Lenient):
    user_id: str | None = None


class CountRequest(_Lenient):
    """The body of ``POST /v1/messages/count_tokens``."""

    model: str
    messages: list[JsonObject]
    system: str | list[JsonObject] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(CountRequest):
    """The body of ``POST /v1/messages``."""

    max_tokens: Annotated[int, Field(ge=1, lt=2**63)]
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**63)] | None = None
    metadata: Metadata | None = None

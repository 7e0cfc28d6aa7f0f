"""What clients send to ``/v1/responses``. Unknown fields are ignored; wrong types are refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ...json_values import JsonObject

# Fields of chat completions that are taken here too, by the same names: OpenAI's and peers' extras.
EXTRAS = (
    "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "stop", "stop_token_ids",
    "min_tokens", "ignore_eos", "include_stop_str_in_output", "logit_bias", "priority", "cache_salt", "program",
    "chat_template_kwargs", "thinking_token_budget",
)  # fmt: skip


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class ConversationReference(_Lenient):
    id: str


class ReasoningSettings(_Lenient):
    effort: str | None = None
    summary: str | None = None


class TextFormat(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    type: str = "text"


class TextSettings(_Lenient):
    format: TextFormat | None = None
    verbosity: str | None = None


class InputRequest(_Lenient):
    """What makes up the model's input: the body of ``POST /v1/responses/input_tokens``."""

    model: str | None = None
    input: str | list[JsonObject] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationReference | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningSettings | None = None
    text: TextSettings | None = None
    truncation: str | None = None

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, ConversationReference) else self.conversation


class ResponseRequest(InputRequest):
    """The body of ``POST /v1/responses``."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    background: bool | None = None
    include: list[str] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tool_calls: Annotated[int, Field(ge=0)] | None = None
    metadata: dict[str, str] | None = None
    prompt: JsonObject | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: float | None = None
    user: str | None = None

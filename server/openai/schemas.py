"""What clients of chat completions may send: OpenAI's fields, and the sampling extras of vLLM and SGLang.

Unknown fields are ignored, as clients send many; wrong types are refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..json_values import JsonObject

MAX_CHOICES = 128
_INT64 = 2**63


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True, protected_namespaces=())


class FunctionDefinition(_Lenient):
    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class CustomGrammar(_Lenient):
    definition: str
    syntax: Literal["lark", "regex"]


class CustomFormat(_Lenient):
    type: Literal["text", "grammar"] = "text"
    grammar: CustomGrammar | None = None


class CustomDefinition(_Lenient):
    """A tool whose input is plain text, which a grammar may bind."""

    name: str
    description: str | None = None
    format: CustomFormat | None = None


class ToolDefinition(_Lenient):
    type: str = "function"
    function: FunctionDefinition | None = None
    custom: CustomDefinition | None = None


class NamedTool(_Lenient):
    name: str


class NamedChoice(_Lenient):
    type: Literal["function", "custom"]
    function: NamedTool | None = None
    custom: NamedTool | None = None


class AllowedTools(_Lenient):
    mode: Literal["auto", "required"] = "auto"
    tools: list[NamedChoice]


class AllowedChoice(_Lenient):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class StreamOptions(_Lenient):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class JsonSchemaFormat(_Lenient):
    name: str | None = None
    json_schema: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(_Lenient):
    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    format: JsonObject | None = None


class StructuredOutputs(_Lenient):
    """vLLM's way of holding the answer to something; one field at a time."""

    json_: JsonObject | str | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: JsonObject | str | None = None


Count = Annotated[int, Field(ge=-_INT64, lt=_INT64)]


class GenerationRequest(_Lenient):
    """What every request that generates text may say."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    max_tokens: Count | None = None
    stop: str | list[str] | None = None
    seed: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    prompt_cache_key: str | None = None

    # Extras of vLLM and SGLang.
    top_k: Count | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: Count | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[Count] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: JsonObject | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    regex: str | None = None
    ebnf: str | None = None
    return_token_ids: bool | None = None
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    cache_salt: str | None = None
    session_id: str | None = None
    program: str | None = None


class ChatRequest(GenerationRequest):
    """The body of ``POST /v1/chat/completions``."""

    messages: list[JsonObject]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    functions: list[FunctionDefinition] | None = None
    function_call: Literal["none", "auto"] | NamedTool | None = None

    # Extras of vLLM and SGLang.
    chat_template: str | None = None
    chat_template_kwargs: JsonObject | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    include_reasoning: bool | None = None
    separate_reasoning: bool | None = None
    thinking_token_budget: Annotated[int, Field(ge=0, lt=2**31)] | None = None

    # Our own: tools that run here, see hosted.py.
    hosted_tools: list[str] | None = None
    max_tool_calls: Annotated[int, Field(ge=0)] | None = None

    # Of responses, see shorten.py.
    truncation: Literal["auto", "disabled"] | None = None


class CompletionRequest(GenerationRequest):
    """The body of ``POST /v1/completions``."""

    prompt: str | list[str] | list[int] | list[list[int]]
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None
    best_of: int | None = None
    add_special_tokens: bool | None = None

"""A chat request's tools, tool choice and response format: checked, and brought into the formats' terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..chat.formats import FunctionTool, ToolChoice
from ..chat.model import ChatModel
from ..chat.schema_check import MAX_TOOLS, NAME, SchemaError, check_object_schema, check_schema
from .errors import ApiError
from .schemas import ChatRequest, NamedChoice, ResponseFormat, ToolDefinition

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Tools:
    """
    Attributes:
        rendered: the tools as the chat template gets them.
        functions: the same as the grammar needs them.
        choice: how the model is to use them.
        parsed: the answer may hold calls.
    """

    rendered: list[JsonObject]
    functions: list[FunctionTool]
    choice: ToolChoice
    parsed: bool


def read_tools(chat: ChatRequest, model: ChatModel) -> Tools:
    """An empty list is the same as none. Raises :class:`ApiError`."""
    definitions = chat.tools or []
    if len(definitions) > MAX_TOOLS:
        raise ApiError(f"There are {len(definitions)} tools, at most {MAX_TOOLS} may be given.", param="tools")
    functions = [_function(tool, index) for index, tool in enumerate(definitions)]
    names = [function.name for function in functions]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _bad_tool(index, "function.name", f"another tool is named {name!r} too")
    choice = _choice(chat, names)
    if choice.mode in ("required", "named") and model.format is None:
        raise ApiError(
            "The model's chat template shows no known tool-call format, so calls cannot be forced. "
            "The operator can name one with --tool-call-parser.",
            code="unsupported_value",
            param="tool_choice",
        )
    rendered = [_rendered(tool) for tool in definitions]
    return Tools(rendered, functions, choice, parsed=bool(functions) and choice.mode != "none")


def response_grammar(format: ResponseFormat) -> JsonObject | None:
    """The structural-tag format of the wanted text, None for any text. Raises :class:`ApiError`."""
    if format.type == "text":
        return None
    schema: JsonObject = {"type": "object"}
    if format.type == "json_schema":
        if format.json_schema is None or format.json_schema.json_schema is None:
            raise ApiError(
                "response_format of type json_schema needs json_schema.schema.",
                code="missing_required_parameter",
                param="response_format.json_schema.schema",
            )
        schema = format.json_schema.json_schema
        try:
            check_schema(schema)
        except SchemaError as error:
            raise ApiError(
                f"Invalid schema for response_format: {error}.",
                code="invalid_json_schema",
                param="response_format.json_schema.schema",
            ) from error
    return {"type": "json_schema", "json_schema": schema}


def _function(tool: ToolDefinition, index: int) -> FunctionTool:
    if tool.type != "function" or tool.function is None:
        raise _bad_tool(index, "type", f"it is {tool.type!r}; here only functions can be called")
    name = tool.function.name
    if not NAME.fullmatch(name):
        raise _bad_tool(index, "function.name", f"{name[:100]!r} must be 1 to 128 letters, digits or _ - . : /")
    parameters = tool.function.parameters or {"type": "object", "properties": {}}
    try:
        check_object_schema(parameters)
    except SchemaError as error:
        raise ApiError(
            f"Invalid schema for function {name!r}: {error}.",
            code="invalid_function_parameters",
            param=f"tools[{index}].function.parameters",
        ) from error
    return FunctionTool(name, parameters)


def _rendered(tool: ToolDefinition) -> JsonObject:
    """As the template prints it. ``strict`` is about decoding and no business of the model's."""
    assert tool.function is not None
    function: JsonObject = {"name": tool.function.name}
    if tool.function.description is not None:
        function["description"] = tool.function.description
    function["parameters"] = tool.function.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def _choice(chat: ChatRequest, names: list[str]) -> ToolChoice:
    wanted = chat.tool_choice
    parallel = chat.parallel_tool_calls is not False
    if isinstance(wanted, NamedChoice):
        if wanted.function.name not in names:
            raise ApiError(
                f"tool_choice names {wanted.function.name[:100]!r}, which is not among the tools.",
                code="invalid_value",
                param="tool_choice",
            )
        return ToolChoice("named", wanted.function.name, parallel)
    if wanted == "required" and not names:
        raise ApiError("tool_choice is 'required', but there are no tools.", code="invalid_value", param="tool_choice")
    return ToolChoice(wanted or "auto", parallel=parallel)


def _bad_tool(index: int, field: str, problem: str) -> ApiError:
    param = f"tools[{index}].{field}"
    return ApiError(f"Invalid '{param}': {problem}.", code="invalid_value", param=param)

"""A chat request's tools and tool choice: checked, and brought into the formats' terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..chat.formats import FunctionTool, ToolChoice
from ..chat.languages import LanguageError, language_of
from ..chat.model import ChatModel
from ..chat.schema_check import MAX_TOOLS, NAME, SchemaError, check_object_schema
from ..json_values import JsonObject
from .errors import ApiError
from .schemas import AllowedChoice, ChatRequest, CustomDefinition, NamedChoice, NamedTool, ToolDefinition

_ONE_TEXT: JsonObject = {
    "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": False,
}  # fmt: skip
_NO_PARAMETERS: JsonObject = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Tools:
    """
    Attributes:
        rendered: the tools as the chat template gets them.
        functions: the same as the grammar needs them.
        choice: how the model is to use them.
        parsed: the answer may hold calls.
        custom: names of tools whose input is plain text.
        legacy: the request has ``functions``, so the answer has ``function_call``.
    """

    rendered: list[JsonObject]
    functions: list[FunctionTool]
    choice: ToolChoice
    parsed: bool
    custom: frozenset[str] = frozenset()
    legacy: bool = False


def definitions(chat: ChatRequest) -> list[ToolDefinition]:
    """The tools, by whichever field they came."""
    return [*(chat.tools or ()), *(ToolDefinition(function=function) for function in chat.functions or ())]


def read_tools(chat: ChatRequest, model: ChatModel) -> Tools:
    """An empty list is the same as none. Raises :class:`ApiError`."""
    given = definitions(chat)
    if len(given) > MAX_TOOLS:
        raise ApiError(f"There are {len(given)} tools, at most {MAX_TOOLS} may be given.", param="tools")
    functions = [_function(tool, index, model) for index, tool in enumerate(given)]
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
    rendered = [_rendered(tool, function.parameters) for tool, function in zip(given, functions, strict=True)]
    return Tools(
        rendered,
        functions,
        choice,
        parsed=bool(functions) and choice.mode != "none",
        custom=frozenset(tool.custom.name for tool in given if tool.custom is not None),
        legacy=not chat.tools and bool(chat.functions),
    )


def _function(tool: ToolDefinition, index: int, model: ChatModel) -> FunctionTool:
    if tool.type == "custom" and tool.custom is not None:
        return _custom(tool.custom, index, model)
    if tool.type != "function" or tool.function is None:
        problem = f"it is {tool.type!r} without a definition; expected a function or a custom tool"
        raise _bad_tool(index, "type", problem)
    name = _name(tool.function.name, index, "function")
    parameters = tool.function.parameters or _NO_PARAMETERS
    try:
        check_object_schema(parameters)
    except SchemaError as error:
        raise ApiError(
            f"Invalid schema for function {name!r}: {error}.",
            code="invalid_function_parameters",
            param=f"tools[{index}].function.parameters",
        ) from error
    return FunctionTool(name, parameters)


def _name(name: str, index: int, kind: str) -> str:
    if not NAME.fullmatch(name):
        raise _bad_tool(index, f"{kind}.name", f"{name[:100]!r} must be 1 to 128 letters, digits or _ - . : /")
    return name


def _custom(tool: CustomDefinition, index: int, model: ChatModel) -> FunctionTool:
    """Models call functions only, so a custom tool is a function with one text. Its grammar binds that."""
    function = FunctionTool(_name(tool.name, index, "custom"), _ONE_TEXT)
    if tool.format is None or tool.format.type == "text":
        return function
    grammar = tool.format.grammar
    if grammar is None:
        raise _bad_tool(index, "custom.format.grammar", "a format of type grammar needs its definition and syntax")
    try:
        function = function._replace(language=language_of(grammar.syntax, grammar.definition))
        if model.format is not None:
            model.format.tags([function], one=True)  # some formats cannot write every text
    except LanguageError as error:
        problem = f"the {grammar.syntax} grammar of {tool.name!r} cannot be used: {error}"
        raise _bad_tool(index, "custom.format.grammar.definition", problem) from error
    return function


def _rendered(tool: ToolDefinition, parameters: JsonObject) -> JsonObject:
    """As the template prints it. ``strict`` is about decoding and no business of the model's."""
    definition = tool.custom if tool.type == "custom" else tool.function
    assert definition is not None
    function: JsonObject = {"name": definition.name}
    description = _described(definition) if isinstance(definition, CustomDefinition) else definition.description
    if description is not None:
        function["description"] = description
    function["parameters"] = parameters
    return {"type": "function", "function": function}


def _described(tool: CustomDefinition) -> str | None:
    grammar = tool.format.grammar if tool.format is not None else None
    if grammar is None:
        return tool.description
    rule = f"The input must match this {grammar.syntax} grammar:\n{grammar.definition}"
    return f"{tool.description}\n{rule}" if tool.description else rule


def _choice(chat: ChatRequest, names: list[str]) -> ToolChoice:
    wanted = chat.tool_choice
    parallel = chat.parallel_tool_calls is not False
    if wanted is None and chat.function_call is not None:
        legacy = chat.function_call
        wanted = NamedChoice(type="function", function=legacy) if isinstance(legacy, NamedTool) else legacy
        parallel = False
    elif wanted is None and not chat.tools and chat.functions:
        parallel = False
    if isinstance(wanted, NamedChoice):
        return ToolChoice("named", _known([wanted], names)[0], parallel)
    if isinstance(wanted, AllowedChoice):
        allowed = _known(wanted.allowed_tools.tools, names)
        if not allowed:
            raise ApiError("allowed_tools lists no tool.", code="invalid_value", param="tool_choice")
        return ToolChoice(wanted.allowed_tools.mode, None, parallel, tuple(dict.fromkeys(allowed)))
    if wanted == "required" and not names:
        raise ApiError("tool_choice is 'required', but there are no tools.", code="invalid_value", param="tool_choice")
    return ToolChoice(wanted or "auto", parallel=parallel)


def _known(choices: Iterable[NamedChoice], names: list[str]) -> list[str]:
    """The names that are chosen. Raises :class:`ApiError` for one that is no tool's."""
    chosen = []
    for choice in choices:
        tool = choice.function if choice.type == "function" else choice.custom
        if tool is None:
            message = f"tool_choice of type {choice.type!r} needs {choice.type}.name."
            raise ApiError(message, code="missing_required_parameter", param="tool_choice")
        if tool.name not in names:
            raise ApiError(
                f"tool_choice names {tool.name[:100]!r}, which is not among the tools.",
                code="invalid_value",
                param="tool_choice",
            )
        chosen.append(tool.name)
    return chosen


def _bad_tool(index: int, field: str, problem: str) -> ApiError:
    param = f"tools[{index}].{field}"
    return ApiError(f"Invalid '{param}': {problem}.", code="invalid_value", param=param)

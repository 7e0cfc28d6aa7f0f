"""What the answer must be when it calls nothing: OpenAI's response_format, and the names that vLLM and SGLang use."""

from __future__ import annotations

import json
from typing import Any

from ..chat.schema_check import SchemaError, check_schema
from ..json_values import JsonObject
from .errors import ApiError
from .schemas import GenerationRequest, ResponseFormat


def wanted_text(chat: GenerationRequest) -> JsonObject | None:
    """The structural-tag format of the wanted text, None for any text. Raises :class:`ApiError`.

    Takes as long as checking a new schema does.
    """
    asked = {name: value for name, value in _asked(chat).items() if value is not None and value is not False}
    formats = {name: _format(name, value) for name, value in asked.items()}
    given = {name: format for name, format in formats.items() if format is not None}
    if len(given) > 1:
        raise ApiError(
            f"Only one of {' and '.join(given)} can be asked for at a time.", code="invalid_value", param=list(given)[1]
        )
    return next(iter(given.values()), None)


def _asked(chat: GenerationRequest) -> dict[str, Any]:
    outputs = chat.structured_outputs
    return {
        "response_format": chat.response_format,
        "guided_json": chat.guided_json,
        "guided_regex": chat.guided_regex,
        "guided_choice": chat.guided_choice,
        "guided_grammar": chat.guided_grammar,
        "regex": chat.regex,
        "ebnf": chat.ebnf,
        "structured_outputs.json": outputs and outputs.json_,
        "structured_outputs.regex": outputs and outputs.regex,
        "structured_outputs.choice": outputs and outputs.choice,
        "structured_outputs.grammar": outputs and outputs.grammar,
        "structured_outputs.json_object": outputs and outputs.json_object,
        "structured_outputs.structural_tag": outputs and outputs.structural_tag,
    }


def _format(name: str, value: Any) -> JsonObject | None:
    match name.rpartition(".")[2].removeprefix("guided_"):
        case "response_format":
            return _response_format(value)
        case "json":
            return _schema(_loaded(value, name), name, name)
        case "json_object":
            return {"type": "json_schema", "json_schema": {"type": "object"}}
        case "regex":
            return {"type": "regex", "pattern": value}
        case "choice":
            return _choice(value, name)
        case "structural_tag":
            tag = _loaded(value, name)
            return _tag(tag.get("format") if isinstance(tag, dict) else None, name)
        case _:
            return {"type": "grammar", "grammar": value}


def _response_format(format: ResponseFormat) -> JsonObject | None:
    match format.type:
        case "text":
            return None
        case "json_object":
            return {"type": "json_schema", "json_schema": {"type": "object"}}
        case "structural_tag":
            return _tag(format.format, "response_format")
    if format.json_schema is None or format.json_schema.json_schema is None:
        raise ApiError(
            "response_format of type json_schema needs json_schema.schema.",
            code="missing_required_parameter",
            param="response_format.json_schema.schema",
        )
    return _schema(format.json_schema.json_schema, "response_format", "response_format.json_schema.schema")


def _schema(schema: object, name: str, param: str) -> JsonObject:
    try:
        check_schema(schema)
    except SchemaError as error:
        raise ApiError(f"Invalid schema for {name}: {error}.", code="invalid_json_schema", param=param) from error
    return {"type": "json_schema", "json_schema": schema}


def _choice(choices: list[str], name: str) -> JsonObject:
    if not choices or "" in choices:
        raise ApiError(f"{name} must list texts that are not empty.", code="invalid_value", param=name)
    if len(choices) == 1:
        return {"type": "const_string", "value": choices[0]}
    return {"type": "or", "elements": [{"type": "const_string", "value": choice} for choice in choices]}


def _tag(format: object, name: str) -> JsonObject:
    if not isinstance(format, dict):
        message = f'{name} must be a structural tag: {{"type": "structural_tag", "format": {{...}}}}.'
        raise ApiError(message, code="invalid_value", param=name)
    return format


def _loaded(value: object, name: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ApiError(f"{name} is not valid JSON.", code="invalid_value", param=name) from error

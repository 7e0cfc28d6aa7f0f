"""What routes answer, for the OpenAPI description: clients check against it, and so do our own tests."""

from __future__ import annotations

from fastapi import FastAPI

from ..anthropic.answer import AnthropicMessage
from ..anthropic.errors import PATH as ANTHROPIC
from ..anthropic.errors import AnthropicError
from ..anthropic.messages import TokenCount
from ..http.answers import REFERENCE, schemas
from ..json_values import JsonObject
from ..operations import CacheReset, Health, Load, ServerInfo, Text, Tokens, Version
from . import wire
from .completions import TextCompletion
from .containers import Container, ContainerFile
from .conversations import Conversation
from .errors import Error
from .files import FileObject
from .models import ModelList
from .pages import Deleted, Page
from .responses.body import ResponseBody
from .responses.compaction import Compaction
from .responses.items import Item
from .responses.routes import InputTokens

_ANSWERS = (
    wire.Completion, TextCompletion, AnthropicMessage, TokenCount, ResponseBody, InputTokens, Compaction, Page[Item],
    Conversation, FileObject, Page[FileObject], Container, Page[Container], ContainerFile, Page[ContainerFile], Deleted,
    ModelList, Health, Version, Load, ServerInfo, CacheReset, Tokens, Text, Error, AnthropicError,
)  # fmt: skip


def describe_answers(app: FastAPI) -> None:
    """Add the schemas that routes name, and the shape of errors, which all have in common."""
    original = app.openapi

    def openapi() -> JsonObject:
        description = original()
        description["components"]["schemas"] |= schemas(*_ANSWERS)
        for path, operations in description["paths"].items():
            error = AnthropicError if path.startswith(ANTHROPIC) else Error
            schema = {"$ref": REFERENCE.format(name=error.__name__)}
            for operation in operations.values():
                operation["responses"].pop("422", None)  # FastAPI's own, which nobody gets
                content = {"application/json": {"schema": schema}}
                operation["responses"]["4XX"] = {"description": "What was wrong with the request", "content": content}
        return description

    app.openapi = openapi

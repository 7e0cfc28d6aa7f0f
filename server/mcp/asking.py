"""Questions of running calls, put to the person behind an MCP client."""

from __future__ import annotations

import secrets

import mcp.types as types
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from ...tools.interaction import Ask, Question, Reply
from .tasks import Task
from .visits import Context

_DECLINED = Reply("decline")


def asks_over_connection(context: Context) -> Ask | None:
    """Asks while the call waits. Only a connection with a handshake has a way back to the client."""
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS or not _understands(context):
        return None

    async def ask(question: Question) -> Reply:
        message, related = _message(question), context.request_id
        try:
            if question.url is not None:
                given = await context.session.elicit_url(message, question.url, secrets.token_hex(16), related)
            else:
                given = await context.session.elicit_form(message, question.schema or {}, related)
        except MCPError:  # the client cannot, or went away
            return _DECLINED
        return _reply(given)

    return ask


def asks_by_task(context: Context, task: Task) -> Ask | None:
    """Asks by letting the task wait for input."""
    if not _understands(context):
        return None

    async def ask(question: Question) -> Reply:
        key, message = secrets.token_hex(8), _message(question)
        if question.url is not None:
            wanted = types.ElicitRequestURLParams(message=message, url=question.url, elicitation_id=key)
        else:
            wanted = types.ElicitRequestFormParams(message=message, requested_schema=question.schema or {})
        request = types.ElicitRequest(params=wanted).model_dump(by_alias=True, mode="json", exclude_none=True)
        answers = await task.ask({key: request})
        try:
            return _reply(types.ElicitResult.model_validate(answers[key]))
        except ValidationError:
            return _DECLINED

    return ask


def _understands(context: Context) -> bool:
    declared = context.session.client_capabilities
    return declared is not None and declared.elicitation is not None


def _message(question: Question) -> str:
    return f"{question.asker}: {question.message}"


def _reply(given: types.ElicitResult) -> Reply:
    return Reply(given.action, dict(given.content or {}) if given.action == "accept" else None)

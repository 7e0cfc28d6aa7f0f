"""Fixtures that answer with a question and go on when the client calls again with the answer (revision 2026-07-28)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import mcp.types as types
from mcp.shared.exceptions import MCPError

from ...json_values import JsonObject
from ..visits import Context
from .fixture import Fixture, Given, form, sample, text

Params = types.CallToolRequestParams

NAME = form("What is your name?", {"name": {"type": "string"}}, ["name"])
_CONFIRM = form("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])
_STEPS = (
    ("step1", form("Step 1: What is your name?", {"name": {"type": "string"}}, ["name"])),
    ("step2", form("Step 2: What is your favorite color?", {"color": {"type": "string"}}, ["color"])),
)
_GREETING = sample("Generate a greeting", 50)
_CAPITAL = sample("What is the capital of France?", 100)
_ROOTS = types.ListRootsRequest()


def asking(requests: dict[str, Any], state: str | None = None) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def answers(params: Params | types.GetPromptRequestParams) -> JsonObject:
    """What the client answers, by key, as plain JSON."""
    given = params.input_responses or {}
    return {key: value.model_dump(by_alias=True, mode="json", exclude_none=True) for key, value in given.items()}


def _once(requests: dict[str, Any], answer: Callable[[JsonObject], str], state: str | None = None):  # noqa: ANN202
    """Asks until there is an answer to everything; further answers are ignored."""

    async def call(context: Context, params: Params) -> Given:
        given = answers(params)
        if not requests.keys() <= given.keys():
            return asking(requests, state)
        if state is not None and params.request_state != state:
            raise MCPError(types.INVALID_PARAMS, "requestState is missing or not ours")
        return text(answer(given))

    return call


async def _rounds(context: Context, params: Params) -> Given:
    """Two questions, one after the other; the state holds how many were answered."""
    given, done = answers(params), int(params.request_state or 0)
    if done < len(_STEPS) and _STEPS[done][0] in given:
        done += 1
    if done == len(_STEPS):
        return text(f"All steps are done: {json.dumps(given)}")
    key, request = _STEPS[done]
    return asking({key: request}, str(done))


async def _capabilities(context: Context, params: Params) -> Given:
    """Asks only what the client says it can answer."""
    if params.input_responses:
        return text("Answered.")
    declared = context.session.client_capabilities or types.ClientCapabilities()
    requests: dict[str, Any] = {}
    if declared.sampling is not None:
        requests["capital_question"] = _CAPITAL
    if declared.elicitation is not None:
        requests["user_name"] = NAME
    if declared.roots is not None:
        requests["client_roots"] = _ROOTS
    return asking(requests) if requests else text("The client can answer nothing.")


def _name(given: JsonObject) -> str:
    return f"Hello, {given['user_name'].get('content', {}).get('name')}!"


_PREFIX = "test_input_required_result_"
_ALL = {"user_name": NAME, "greeting": _GREETING, "client_roots": _ROOTS}
QUESTIONS = [
    Fixture(f"{_PREFIX}elicitation", _once({"user_name": NAME}, _name)),
    Fixture(f"{_PREFIX}sampling", _once({"capital_question": _CAPITAL}, lambda given: json.dumps(given))),
    Fixture(f"{_PREFIX}list_roots", _once({"client_roots": _ROOTS}, lambda given: json.dumps(given))),
    Fixture(f"{_PREFIX}request_state", _once({"confirm": _CONFIRM}, lambda given: "state-ok", "confirming")),
    Fixture(f"{_PREFIX}multiple_inputs", _once(_ALL, lambda given: json.dumps(given), "three things")),
    Fixture(f"{_PREFIX}multi_round", _rounds),
    Fixture(f"{_PREFIX}tampered_state", _once({"confirm": _CONFIRM}, lambda given: "state-ok", "sealed")),
    Fixture(f"{_PREFIX}capabilities", _capabilities),
]

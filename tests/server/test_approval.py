"""Calls of external tools need somebody's approval: whose, when, and for how long."""

from __future__ import annotations

import io
import os
import pty
from types import SimpleNamespace
from typing import Any, cast

import pytest
from agenthost.server.agent.approval import ApprovalPolicy, ApprovedTool, Asked
from agenthost.server.commands.person import Person
from agenthost.tools import Question, ToolContext, ToolResult, ToolSpec
from agenthost.tools.spec import parameters

pytestmark = pytest.mark.anyio
CONTEXT = cast(ToolContext, None)  # these tools use no session


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class External:
    """What the policy sees of an external tool; a server behind it is not needed here."""

    def __init__(self, *, approved=False) -> None:
        self.label = "shop"
        self.definition = SimpleNamespace(name="buy", fingerprint="1")
        self.fingerprint: str | None = "1"
        self._approved = approved
        self.spec = ToolSpec("shop__buy", "Buy.", parameters({}))
        self.calls = 0

    @property
    def approved(self) -> bool:
        return self._approved and self.fingerprint in (None, "1")

    async def call(self, arguments, context):
        self.calls += 1
        return ToolResult("bought")


class Asker:
    def __init__(self, *verdicts) -> None:
        self.verdicts = list(verdicts)
        self.asked: list[Asked] = []

    async def __call__(self, asked):
        self.asked.append(asked)
        return self.verdicts.pop(0)


def behind(tool: External, policy: ApprovalPolicy, ask) -> ApprovedTool:
    return ApprovedTool(cast(Any, tool), policy, ask)


async def test_each_call_is_asked_for():
    tool, ask = External(), Asker("once", "no")
    guarded = behind(tool, ApprovalPolicy(), ask)
    assert (await guarded.call({"what": "tea"}, CONTEXT)).text == "bought"
    refused = await guarded.call({}, CONTEXT)
    assert refused.is_error
    assert "was not approved" in refused.text
    assert tool.calls == 1
    assert ask.asked[0] == Asked("shop", "buy", {"what": "tea"})


async def test_always_holds_until_the_definition_changes():
    tool, ask = External(), Asker("always", "no", "always")
    guarded = behind(tool, ApprovalPolicy(), ask)
    for _ in range(3):
        await guarded.call({}, CONTEXT)
    assert len(ask.asked) == 1
    tool.fingerprint = "2"
    assert (await guarded.call({}, CONTEXT)).is_error
    assert ask.asked[1].changed
    await guarded.call({}, CONTEXT)
    await guarded.call({}, CONTEXT)
    assert len(ask.asked) == 3
    assert tool.calls == 5


async def test_what_changes_while_somebody_is_asked_is_not_called():
    tool, policy = External(), ApprovalPolicy()

    async def ask(asked):
        tool.fingerprint = "2"
        return "always"

    assert "was changed while" in (await behind(tool, policy, ask).call({}, CONTEXT)).text
    assert tool.calls == 0
    assert policy.asks(cast(Any, tool), {}) is not None


@pytest.mark.parametrize(("tool", "mode"), [(External(approved=True), "ask"), (External(), "never")])
async def test_what_is_approved_beforehand_runs_unasked_until_its_definition_changes(tool, mode):
    guarded = behind(tool, ApprovalPolicy(mode), None)
    assert not (await guarded.call({}, CONTEXT)).is_error
    tool.fingerprint = "2"
    assert (await guarded.call({}, CONTEXT)).is_error


async def test_where_nobody_can_be_asked_nothing_is_allowed():
    tool = External()
    assert (await behind(tool, ApprovalPolicy(), None).call({}, CONTEXT)).is_error
    assert tool.calls == 0


@pytest.fixture
def terminal():
    """A person at a terminal: the test writes to its other end, and sees what is shown."""
    outer, inner = pty.openpty()
    shown = io.StringIO()
    with os.fdopen(inner) as source:
        yield SimpleNamespace(outer=outer, shown=shown, person=Person(source, shown))
    os.close(outer)


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [
        ("y\n", "once"),
        ("YES\n", "once"),
        ("a\n", "always"),
        ("n\n", "no"),
        ("\n", "no"),
        ("yy\n", "no"),
        ("\x04", "no"),
    ],
)
async def test_only_a_clear_yes_at_the_terminal_is_one(terminal, typed, verdict):
    assert terminal.person.present
    os.write(terminal.outer, typed.encode())
    asked = Asked("shop", "buy", {"what": "\x1b[2Jtea"})
    assert await terminal.person.approve(asked) == verdict
    assert "shop / buy" in terminal.shown.getvalue()
    assert "\x1b" not in terminal.shown.getvalue()


async def test_a_form_is_asked_field_by_field(terminal):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "count": {"type": "integer"},
            "size": {"type": "string", "enum": ["S", "L"]},
            "gift": {"type": "boolean", "default": False},
        },
        "required": ["name", "count"],
    }
    os.write(terminal.outer, b"y\nAda\nmany\n3\nXL\nL\n\n")
    reply = await terminal.person.answer(Question("shop", "What?", schema))
    assert reply.action == "accept"
    assert reply.content == {"name": "Ada", "count": 3, "size": "L", "gift": False}


async def test_a_page_is_never_opened(terminal):
    os.write(terminal.outer, b"\n")
    reply = await terminal.person.answer(Question("shop", "Pay here", url="https://evil.example"))
    assert reply.action == "decline"


def test_a_pipe_is_nobody():
    reading, writing = os.pipe()
    with os.fdopen(reading) as source, os.fdopen(writing, "w") as sink:
        assert not Person(source, sink).present

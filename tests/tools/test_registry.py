"""The registry: every failure of a call becomes something that a model can read."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from agenthost.tools import Registry, Session, Tool, ToolContext, ToolError, ToolResult, ToolSpec, default_tools
from agenthost.tools.browser.specs import BROWSER_SPECS
from agenthost.tools.files.specs import FILE_SPECS
from agenthost.tools.spec import parameters

pytestmark = pytest.mark.anyio


class Echo(Tool):
    spec = ToolSpec("echo", "Says it again.", parameters({"text": {"type": "string"}}, ["text"]), timeout=0.05)

    async def call(self, arguments, context):
        match arguments["text"]:
            case "wait":
                await asyncio.sleep(60)
            case "fail":
                raise ToolError("it failed. Try again.", state_lost=True)
        return ToolResult(arguments["text"])


@pytest.fixture
def registry() -> Registry:
    return Registry.of([Echo()])


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("echo", {"text": "hello"}, "hello"),
        ("echo", {"text": "wait"}, "Error: echo did not finish within 0.05 seconds and was stopped."),
        ("echo", {"text": "fail"}, "Error: it failed. Try again."),
        ("other", {}, "Error: there is no tool named 'other'. Available tools: echo."),
        ("echo", {}, "Error: wrong arguments for echo: 'text' is a required property."),
        ("echo", {"text": 1}, "Error: wrong arguments for echo: ['text']: 1 is not of type 'string'."),
        ("echo", [1], "Error: wrong arguments for echo: expected a JSON object."),
        ("echo", None, "Error: wrong arguments for echo: expected a JSON object."),
        (
            "echo",
            {"text": "x", "more": 1},
            "Error: wrong arguments for echo: Additional properties are not allowed ('more' was unexpected).",
        ),
    ],
)
async def test_calls(registry: Registry, session: Session, name, arguments, text):
    result = await registry.call(name, arguments, ToolContext(session))
    assert result.text == text
    assert result.is_error == text.startswith("Error")
    assert result.state_lost == (arguments == {"text": "fail"})


async def test_cancellation_passes_through(registry: Registry, session: Session):
    task = asyncio.create_task(registry.call("echo", {"text": "wait"}, ToolContext(session)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_names_are_unique():
    with pytest.raises(ValueError, match="two tools"):
        Registry.of([Echo(), Echo()])


def test_the_offer_holds_the_tools_that_the_model_knows(offer):
    known = {spec.name: spec for spec in (*FILE_SPECS, *BROWSER_SPECS)}
    assert offer.missing == ()
    assert list(offer.registry.tools) == [
        "python",
        "read_text_file",
        "write_file",
        "edit_file",
        "list_directory",
        "search_files",
        "move_file",
        "create_directory",
    ]
    for spec in offer.registry.specs()[1:]:
        assert spec is known[spec.name]


def test_without_a_sandbox_the_python_tool_is_off_and_says_why(verdict):
    broken = type(verdict)(None, "bubblewrap is missing. Install it.")
    offer = default_tools(broken)
    assert "python" not in offer.registry.tools
    assert "read_text_file" in offer.registry.tools
    assert offer.missing == ("The python tool is off: bubblewrap is missing. Install it.",)


def test_elsewhere_than_linux_tools_are_off(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    offer = default_tools()
    assert offer.registry.tools == {}
    assert "need Linux" in offer.missing[0]


@pytest.mark.parametrize("foreign", [True, False])
async def test_only_schemas_of_others_are_applied_beside_the_event_loop(registry, session, monkeypatch, foreign):
    def problem_of(arguments, schema):
        places.append(threading.current_thread() is threading.main_thread())

    places: list[bool] = []
    monkeypatch.setattr("agenthost.tools.spec.problem_of", problem_of)
    tool = registry.tools["echo"]
    monkeypatch.setattr(tool, "spec", replace(tool.spec, foreign=foreign), raising=False)
    assert (await registry.call("echo", {"text": "hello"}, ToolContext(session))).text == "hello"
    assert places == [not foreign]

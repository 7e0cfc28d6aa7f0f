"""The `agent` tool with external servers: who gives it a task by MCP is asked and told what comes up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import mcp.types as types
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig as Config
from agenthost.server.external.config import ExternalConfig
from agenthost.server.mcp.asking import asks_by_task
from agenthost.server.mcp.tasks import Task
from agenthost.tools import Question, Reply
from agenthost.tools.remote import ServerConfig
from mcp import Client

from .calls import call

pytestmark = pytest.mark.anyio
TRICKY = Path(__file__).parents[1] / "tools" / "servers" / "tricky.py"
SHOP = ServerConfig("shop", (sys.executable, str(TRICKY)), approved=frozenset({"steps"}))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(model_folder, make_engine, make_server):
    engine = make_engine(model_folder, lambda request: "hello")
    engine.context = 20_000  # all our tools, and the server's
    config = Config(engine=EngineConfig(model=str(model_folder)), external=ExternalConfig((SHOP,)))
    with make_server(config, engine) as url:

        def says(*script) -> str:
            said = list(script)
            engine.play = lambda request: said.pop(0)
            return url + "/mcp"

        yield says


class Person:
    """Who sits before the MCP client; allows calls or not, and wears XL."""

    def __init__(self, *, allows: bool) -> None:
        self.allows = allows
        self.asked: list[str] = []

    async def __call__(self, context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        if "be called?" in params.message:
            return types.ElicitResult(action="accept", content={"allow": self.allows})
        return types.ElicitResult(action="accept", content={"size": "XL"})


async def test_approval_and_a_servers_question_reach_the_person_behind_the_client(server):
    person = Person(allows=True)
    async with Client(server(call("shop__order"), "Ordered."), mode="legacy", elicitation_callback=person) as client:
        result: Any = await client.call_tool("agent", {"task": "order a shirt"})
    assert result.content[0].text == "Ordered."
    assert person.asked == ["shop: May the tool order be called?\n{}", "shop: Which size?"]


async def test_what_the_person_refuses_is_not_called(server):
    person = Person(allows=False)
    async with Client(server(call("shop__order"), "Then not."), mode="legacy", elicitation_callback=person) as client:
        result: Any = await client.call_tool("agent", {"task": "order a shirt"})
    assert result.content[0].text == "Then not."
    assert len(person.asked) == 1


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_without_a_person_only_what_is_allowed_is_there_and_progress_is_told(server, mode):
    told: list[str | None] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    url = server(call("shop__order"), call("shop__steps"), "Done.")
    async with Client(url, mode=mode) as client:
        result: Any = await client.call_tool("agent", {"task": "go"}, progress_callback=tell)
    assert result.content[0].text == "Done."
    assert "shop__order failed" in " ".join(map(str, told))
    assert "shop__steps: half" in told


async def test_a_task_waits_for_the_answer():
    class Client:
        protocol_version = "2026-07-28"

        class session:
            client_capabilities = types.ClientCapabilities(elicitation=types.ElicitationCapability())

    client: Any = Client
    task = Task("me")
    ask = asks_by_task(client, task)
    assert ask is not None

    async def answer() -> None:
        while not task.questions:
            await anyio.lowlevel.checkpoint()
        [(key, question)] = task.detailed()["inputRequests"].items()
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"] == "shop: Which size?"
        task.answer({key: {"action": "accept", "content": {"size": "L"}}})

    async with anyio.create_task_group() as group:
        group.start_soon(answer)
        question = Question("shop", "Which size?", {"type": "object", "properties": {}})
        assert await ask(question) == Reply("accept", {"size": "L"})
    assert task.status == "working"

"""Calls that outlive their request: the Tasks extension, for the clients that declare it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from agenthost.server.mcp import tasks
from agenthost.server.mcp.server import create_server
from agenthost.server.mcp.tools import CallLimits
from agenthost.server.mcp.visits import Visits
from agenthost.tools import Progress, Registry, Sessions, Tool, ToolResult, ToolSpec
from agenthost.tools.spec import parameters
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

pytestmark = pytest.mark.anyio
VERSION = "2026-07-28"
EXTENSION = "io.modelcontextprotocol/tasks"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Slow(Tool):
    """Waits until it is let go."""

    spec = ToolSpec("slow", "Waits.", parameters({}), timeout=60)

    def __init__(self) -> None:
        self.told = anyio.Event()
        self.go = anyio.Event()
        self.stopped = anyio.Event()

    async def call(self, arguments, context):
        assert context.report is not None
        try:
            await context.report(Progress(1, message="waiting"))
            self.told.set()
            await self.go.wait()
        except anyio.get_cancelled_exc_class():
            self.stopped.set()
            raise
        return ToolResult("waited")


class Talk:
    """Raw requests, as the extension is none of the SDK's."""

    def __init__(self, http: httpx.AsyncClient, slow: Slow) -> None:
        self.http = http
        self.slow = slow

    async def ask(self, method: str, params: dict, *, tasks: bool = True, name: str | None = None, caller: str = "me"):
        capabilities = {"extensions": {EXTENSION: {}}} if tasks else {}
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        }
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": method,
            "Mcp-Name": name or params.get("name") or params.get("taskId", ""),
            "x-caller": caller,
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        return (await self.http.post("/mcp", json=body, headers=headers)).json()

    async def start(self) -> dict:
        return (await self.ask("tools/call", {"name": "slow", "arguments": {}}))["result"]

    async def until(self, task_id: str, status: str) -> dict:
        with anyio.fail_after(10):
            while (found := (await self.ask("tasks/get", {"taskId": task_id}))["result"])["status"] != status:
                await anyio.lowlevel.checkpoint()
        return found


@asynccontextmanager
async def talking(limits: CallLimits):
    from agenthost.server.http.caller import Caller, set_caller

    slow = Slow()
    async with Sessions() as sessions:
        server = create_server(Registry.of([slow]), Visits(sessions), limits)
        manager = StreamableHTTPSessionManager(
            server, security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False)
        )

        async def app(scope, receive, send):
            set_caller(scope, Caller(dict(scope["headers"])[b"x-caller"].decode()))
            await manager.handle_request(scope, receive, send)

        transport = httpx.ASGITransport(app)
        async with manager.run(), httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Talk(http, slow)


@pytest.fixture
async def talk():
    async with talking(CallLimits(task_after=0.05)) as talk:
        yield talk


async def test_a_slow_call_becomes_a_task_that_gives_its_result(talk):
    created = await talk.start()
    assert created["resultType"] == "task"
    assert created["status"] == "working"
    assert {type(created[key]) for key in ("ttlMs", "pollIntervalMs")} == {int}
    with anyio.fail_after(10):
        await talk.slow.told.wait()
    assert (await talk.until(created["taskId"], "working"))["statusMessage"] == "waiting"
    talk.slow.go.set()
    done = await talk.until(created["taskId"], "completed")
    assert done["resultType"] == "complete"
    assert done["result"]["content"][0]["text"] == "waited"
    assert "error" not in done


async def test_a_quick_call_is_answered_at_once():
    async with talking(CallLimits(task_after=60)) as talk:
        talk.slow.go.set()
        result = await talk.start()
    assert result["resultType"] == "complete"
    assert result["content"][0]["text"] == "waited"


async def test_cancelling_a_task_stops_the_tool(talk):
    created = await talk.start()
    for _ in range(2):
        acknowledged = (await talk.ask("tasks/cancel", {"taskId": created["taskId"]}))["result"]
        assert set(acknowledged) == {"resultType", "_meta"}
    assert talk.slow.stopped.is_set()
    await talk.until(created["taskId"], "cancelled")


async def test_a_client_without_the_extension_waits_for_its_result(talk):
    async with anyio.create_task_group() as group:

        async def call() -> None:
            answer = await talk.ask("tools/call", {"name": "slow", "arguments": {}}, tasks=False)
            assert answer["result"]["content"][0]["text"] == "waited"

        group.start_soon(call)
        await anyio.sleep(0.2)
        talk.slow.go.set()
    refused = await talk.ask("tasks/get", {"taskId": "x"}, tasks=False)
    assert refused["error"]["code"] == -32021
    assert EXTENSION in refused["error"]["data"]["requiredCapabilities"]["extensions"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel"])
async def test_somebody_elses_task_is_unknown(talk, method):
    created = await talk.start()
    other = await talk.ask(method, {"taskId": created["taskId"]}, caller="somebody else")
    unknown = await talk.ask(method, {"taskId": "x" * 32})
    assert other == unknown
    assert unknown["error"]["code"] == -32602


async def test_the_routing_header_must_name_the_task(talk):
    created = await talk.start()
    answer = await talk.ask("tasks/get", {"taskId": created["taskId"]}, name="another")
    assert answer["error"]["code"] == -32020


async def test_beyond_the_limit_a_call_is_no_task_but_is_answered(talk, monkeypatch):
    monkeypatch.setattr(tasks, "_MOST", 2)
    for _ in range(2):  # those that are over do not count
        created = [await talk.start() for _ in range(2)]
        assert {one["resultType"] for one in created} == {"task"}
        async with anyio.create_task_group() as group:

            async def call() -> None:
                answer = await talk.start()
                assert answer["resultType"] == "complete"
                assert answer["content"][0]["text"] == "waited"

            group.start_soon(call)
            await anyio.sleep(0.2)
            talk.slow.go.set()
        for one in created:
            await talk.until(one["taskId"], "completed")
        talk.slow.go = anyio.Event()


@pytest.mark.parametrize("limited", ["number", "size"])
async def test_the_newest_results_are_kept(talk, monkeypatch, limited):
    running = await talk.start()
    ids = []
    for _ in range(3):
        earlier, talk.slow.go = talk.slow.go, anyio.Event()
        ids.append((await talk.start())["taskId"])
        talk.slow.go.set()
        done = await talk.until(ids[-1], "completed")
        talk.slow.go = earlier
        if limited == "number":
            monkeypatch.setattr(tasks, "_MOST_OVER", 2)
        else:
            monkeypatch.setattr(tasks, "_MOST_BYTES", int(2.5 * len(json.dumps(done["result"]))))
    assert (await talk.ask("tasks/get", {"taskId": ids[0]}))["error"]["code"] == -32602
    for task_id in ids[1:]:
        await talk.until(task_id, "completed")
    await talk.until(running["taskId"], "working")


async def test_calls_beyond_the_rate_are_told_when_to_try_again():
    async with talking(CallLimits(per_second=0.1, burst=2, task_after=60)) as talk:
        talk.slow.go.set()
        results = [await talk.start() for _ in range(3)]
        assert [result["isError"] for result in results] == [False, False, True]
        assert "Try again in" in results[2]["content"][0]["text"]
        other = await talk.ask("tools/call", {"name": "slow", "arguments": {}}, caller="somebody else")
        assert other["result"]["isError"] is False


async def test_a_result_that_is_too_large_is_an_error_with_advice():
    async with talking(CallLimits(max_result=3, task_after=60)) as talk:
        talk.slow.go.set()
        result = await talk.start()
        assert result["isError"] is True
        assert "6 bytes, more than the 3" in result["content"][0]["text"]

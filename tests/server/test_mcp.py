"""Our tools as an MCP server over HTTP, with the official client of both kinds of protocol."""

from __future__ import annotations

import json
import re

import anyio
import httpx
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig
from agenthost.tools import default_tools
from mcp import Client
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
ASK = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
JSON = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def url(server) -> str:
    return server.url + "/mcp"


@pytest.fixture(scope="module")
def locked(model_folder, make_engine, make_server):
    """A server with a key."""
    config = ServerConfig(engine=EngineConfig(model=str(model_folder)), api_key="secret")
    with make_server(config, make_engine(model_folder, lambda request: "hello")) as url:
        yield url + "/mcp"


def text(result, block: int = 0) -> str:
    return result.content[block].text


def session_of(result) -> str:
    return result.meta["agenthost/session_id"]


@ERAS
async def test_the_tools_are_those_of_the_hosted_loop_and_take_a_session(url, mode):
    async with Client(url, mode=mode) as client:
        listed = (await client.list_tools()).tools
    specs = default_tools(files="full").registry.specs()
    assert [tool.name for tool in listed] == [*(spec.name for spec in specs), "agent"]
    for tool, spec in zip(listed[:-1], specs, strict=True):
        assert tool.description == spec.description
        assert tool.input_schema["properties"].pop("session_id")["type"] == "string"
        assert tool.input_schema == {**spec.parameters, "properties": spec.parameters.get("properties", {})}
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint == spec.annotations.read_only
        assert (tool.output_schema is None) == (spec.output is None)


@ERAS
async def test_calls_that_name_a_session_share_its_files_and_variables(url, mode):
    async with Client(url, mode=mode) as client:
        first = await client.call_tool("python", {"code": "x = 41\nopen('note.txt', 'w').write('kept')\nx"})
        session_id = session_of(first)
        assert re.search(f"session_id: {re.escape(session_id)}", text(first, -1))
        second = await client.call_tool("python", {"code": "x + 1", "session_id": session_id})
        assert text(second) == "42"
        assert len(second.content) == 1
        read = await client.call_tool("read_text_file", {"path": "note.txt", "session_id": session_id})
        assert text(read) == "kept"
        assert read.structured_content["content"].strip() == "kept"


async def test_calls_without_a_session_never_meet(url):
    async with Client(url) as client:
        wrote = await client.call_tool("write_file", {"path": "a.txt", "content": "mine"})
        assert wrote.structured_content["session_id"] == session_of(wrote)
        listed = await client.call_tool("list_directory", {"path": "."})
    assert text(listed) == "(empty directory)"
    assert session_of(listed) != session_of(wrote)


@ERAS
async def test_an_unknown_tool_is_invalid_params(url, mode):
    async with Client(url, mode=mode) as client:
        with pytest.raises(MCPError) as failure:
            await client.call_tool("nothing", {})
    assert failure.value.error.code == -32602


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "'code' is a required property"),
        ({"code": 3}, "['code']: 3 is not of type 'string'"),
        ({"code": "1", "more": 1}, "'more' was unexpected"),
        ({"code": "1", "session_id": 3}, "['session_id']: expected a string"),
        ({"code": "1", "session_id": "x" * 32}, "there is no such session"),
        ({"code": "1", "session_id": ""}, "there is no such session"),
    ],
)
async def test_what_the_model_can_put_right_is_a_result_and_makes_no_session(url, arguments, problem):
    async with Client(url) as client:
        result = await client.call_tool("python", arguments)
    assert result.is_error
    assert problem in text(result)
    assert result.meta is None or "agenthost/session_id" not in result.meta


async def test_a_client_that_gives_up_stops_the_code(url):
    async with Client(url) as client:
        first = await client.call_tool("python", {"code": "import time"})
        session = {"session_id": session_of(first)}
        with anyio.move_on_after(1.0):
            await client.call_tool("python", {"code": "time.sleep(50)", **session})
        with anyio.fail_after(20):
            assert text(await client.call_tool("python", {"code": "'free'", **session})) == "'free'"


def test_the_key_of_the_openai_side_opens_mcp_too(locked):
    assert httpx.post(locked, json=ASK, headers=JSON).status_code == 401
    wrong = {**JSON, "Authorization": "Bearer wrong"}
    assert httpx.post(locked, json=ASK, headers=wrong).status_code == 401
    right = {**JSON, "Authorization": "Bearer secret"}
    assert httpx.post(locked, json=ASK, headers=right).status_code == 200


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_web_pages_cannot_reach_it(url, headers):
    assert httpx.post(url, json=ASK, headers={**JSON, **headers}).status_code == 403


def test_a_slash_at_the_end_is_no_other_endpoint(url):
    assert httpx.post(url, json=ASK, headers=JSON, follow_redirects=False).status_code == 200


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_handshake_version_is_spoken(url, version):
    ask = {**ASK, "params": {**ASK["params"], "protocolVersion": version}}
    answer = httpx.post(url, json=ask, headers=JSON)
    assert f'"protocolVersion":"{version}"' in answer.text


@ERAS
async def test_the_agent_tool_gives_a_task_to_the_served_model(scripted, url, mode):
    code = "open('a.txt', 'w').write('x'); 6 * 7"
    call = {"name": "python", "arguments": {"code": code}}
    scripted.says(f"<tool_call>\n{json.dumps(call)}\n</tool_call>", "It is 42.")
    told = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async with Client(url, mode=mode) as client:
        result = await client.call_tool("agent", {"task": "6 * 7?"}, progress_callback=tell)
        assert text(result) == "It is 42."
        assert result.structured_content["tool_calls"] == 1
        listed = await client.call_tool("list_directory", {"path": ".", "session_id": session_of(result)})
        assert "a.txt" in text(listed)
    assert "calls python" in told


async def test_an_agent_that_fails_says_why(scripted, url):
    scripted.says("")
    async with Client(url) as client:
        result = await client.call_tool("agent", {"task": "go"})
    assert result.is_error
    assert "without an answer" in text(result)


@ERAS
async def test_what_python_prints_reaches_the_client_while_it_runs(url, mode):
    heard = anyio.Event()
    told: list[str] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        assert total is not None
        assert 0 < progress <= total
        told.append(message or "")
        heard.set()

    wait = "while not os.path.exists('heard'): time.sleep(0.01)"
    code = f"import os, time\nprint('early', flush=True)\n{wait}\nprint('late')"
    results = []
    async with Client(url, mode=mode) as client, anyio.create_task_group() as group:
        session = {"session_id": session_of(await client.call_tool("list_allowed_directories", {}))}

        async def run() -> None:
            results.append(await client.call_tool("python", {"code": code, **session}, progress_callback=tell))

        group.start_soon(run)
        with anyio.fail_after(30):
            await heard.wait()
        await client.call_tool("write_file", {"path": "heard", "content": "", **session})
    assert "".join(told).startswith("early\n")
    assert text(results[0]) == "early\nlate"


async def test_calls_are_counted_and_audited_without_what_they_said(server, url, caplog):
    with caplog.at_level("INFO", logger="agenthost.audit"):
        async with Client(url) as client:
            made = await client.call_tool("python", {"code": "print('hush')"})
            await client.call_tool("python", {"code": "1/0", "session_id": session_of(made)})
            with pytest.raises(MCPError):
                await client.call_tool("made_up", {})
    entries = [json.loads(record.message) for record in caplog.records if record.name == "agenthost.audit"]
    assert [(entry["door"], entry["owner"], entry["tool"], entry["verdict"]) for entry in entries] == [
        ("mcp", "local", "python", "ok"), ("mcp", "local", "python", "error"), ("mcp", "local", "(unknown)", "refused"),
    ]  # fmt: skip
    ok = entries[0]
    assert (ok["arguments_size"], ok["session"]) == (len('{"code": "print(\'hush\')"}'), session_of(made)[:8])
    assert ok["output_size"] > len("hush")
    assert "hush" not in json.dumps(entries)
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"{server.url}/metrics")).text
    assert 'agenthost_tool_calls_total{door="mcp",tool="(unknown)",verdict="refused"}' in metrics
    assert "made_up" not in metrics

"""``agenthost mcp``: one client over stdin and stdout, and what it writes into clients' configurations."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from agenthost.server.mcp.client_config import CLIENTS, client_config, own_command
from agenthost.server.mcp.stdio import Lines, LineTooLong
from mcp import Client
from mcp.client.stdio import StdioServerParameters

pytestmark = pytest.mark.anyio
COMMAND = [sys.executable, "-m", "agenthost.server.cli", "mcp"]
ASK = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def parameters(*arguments: str) -> StdioServerParameters:
    return StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *arguments], env=dict(os.environ))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_calls_share_the_process_own_session(mode, tmp_path):
    async with Client(parameters("--workspace", str(tmp_path)), mode=mode) as client:
        first = await client.call_tool("python", {"code": "open('here.txt', 'w').write('kept'); x = 41"})
        second = await client.call_tool("python", {"code": "x + 1"})
    assert not first.is_error
    assert [block.text for block in second.content if block.type == "text"] == ["42"]
    assert (tmp_path / "here.txt").read_text() == "kept"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that the users of a root server's sandboxes can pass, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="agenthost-tests-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("end", ["eof", "term", "int"])
def test_it_leaves_nothing_behind_when_it_ends(end, folder):
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        call = {"name": "python", "arguments": {"code": "1 + 1"}}
        for number, (method, params) in enumerate([("initialize", ASK), ("tools/call", call)]):
            print(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}), file=process.stdin)
            answer = json.loads(process.stdout.readline())
            assert answer["id"] == number
        assert list(folder.iterdir()) != []
        if end == "eof":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM if end == "term" else signal.SIGINT)
        assert process.wait(30) == 0
    assert list(folder.iterdir()) == []


async def test_lines_are_whole_however_they_come():
    source, sink = os.pipe()
    try:
        for piece in (b'{"a"', b":1}\n\n", "é".encode()[:1], "é".encode()[1:] + b"\nlast"):
            os.write(sink, piece)
        os.close(sink)
        assert [line async for line in Lines(source)] == ['{"a":1}', "é", "last"]
    finally:
        os.close(source)


async def test_a_line_without_an_end_is_given_up():
    source, sink = os.pipe()
    os.write(sink, b"x" * 2000)
    with pytest.raises(LineTooLong):
        _ = [line async for line in Lines(source, longest=1000)]
    os.close(source)
    os.close(sink)


async def test_waiting_for_a_line_can_be_given_up():
    source, sink = os.pipe()
    with anyio.move_on_after(0.05) as scope:
        _ = [line async for line in Lines(source)]
    assert scope.cancelled_caught
    os.close(source)
    os.close(sink)


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_configurations_start_this_command(client):
    command = ["/opt/bin/agenthost", "mcp", "--workspace", '/data/a "b"']
    text = client_config(client, command)
    found = re.findall(r'"(?:[^"\\]|\\.)*"', text)
    words = [json.loads(word) for word in found]
    assert [word for word in words if word in command][-len(command) :] == command
    if client == "codex":
        assert tomllib.loads(text)["mcp_servers"]["agenthost"]["args"] == command[1:]
    elif text.startswith("{"):
        json.loads(text)


@pytest.mark.parametrize("client", sorted(CLIENTS.keys() - {"claude-desktop"}))
def test_configurations_name_a_running_server(client):
    assert "http://127.0.0.1:8000/mcp" in client_config(client, ["agenthost", "mcp"], "http://127.0.0.1:8000/mcp")


def test_without_the_program_python_starts_the_server_and_takes_no_modules_from_the_clients_folder(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    python = ["/nowhere/python", "-P", "-m", "agenthost.server.cli", "mcp"]
    assert own_command({}) == python
    options = {"print_config": "zed", "sandbox_allow_hosts": ["a.example", "b.example"], "overlap": False, "threads": 2}
    kept = ["--sandbox-allow-hosts", "a.example", "b.example", "--disable-overlap-schedule", "--threads", "2"]
    assert own_command(options) == [*python, *kept]


def test_the_command_prints_a_configuration_alone_on_stdout():
    done = subprocess.run([*COMMAND, "--print-config", "cursor"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["mcpServers"]["agenthost"]["args"][-1] == "mcp"
    assert "mcp.json" in done.stderr
    refused = subprocess.run(
        [*COMMAND, "--print-config", "claude-desktop", "--url", "http://x/mcp"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "Leave --url out" in refused.stderr

"""`agenthost serve --mcp-config` as an operator starts it: the embedded model solves a task with an external tool."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

SHOP = Path(__file__).parent / "servers" / "shop.py"
TASK = "What is the price of coffee in the shop?"
TOOL: Any = {"type": "mcp", "server_label": "shop"}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    shop = {"command": sys.executable, "args": [str(SHOP)], "autoApprove": ["get_price"]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"shop": shop}}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "agenthost.server.cli", "serve", "--port", port]
    environment = {**os.environ, "AGENTHOST_STATE_DIR": str(folder / "state")}
    with subprocess.Popen([*command, "--mcp-config", str(folder / "mcp.json")], env=environment) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0) as client:
            yield client
        process.terminate()


def test_in_a_chat(client):
    answer = client.chat.completions.create(
        model="pocket",
        messages=[{"role": "user", "content": TASK}],
        temperature=0,
        extra_body={"hosted_tools": ["shop"]},
    )
    [step] = answer.choices[0].message.steps
    assert step["name"] == "shop__get_price"
    assert "7.25" in answer.choices[0].message.content


def test_in_a_response_without_approval(client):
    tool = {**TOOL, "require_approval": "never"}
    response = client.responses.create(model="pocket", input=TASK, tools=[tool], temperature=0)
    assert [item.type for item in response.output] == ["mcp_list_tools", "mcp_call", "message"]
    assert "7.25" in response.output_text


@pytest.mark.parametrize("approve", [True, False])
def test_in_a_response_when_it_is_approved(client, approve):
    first = client.responses.create(model="pocket", input=TASK, tools=[TOOL], temperature=0)
    request = first.output[-1]
    assert (request.type, request.name) == ("mcp_approval_request", "get_price")
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": approve}
    second = client.responses.create(
        model="pocket", input=[answer], previous_response_id=first.id, tools=[TOOL], temperature=0
    )
    assert ("7.25" in second.output_text) == approve
    assert second.output_text
    usage = second.usage
    assert usage.input_tokens_details.cached_tokens >= first.usage.input_tokens

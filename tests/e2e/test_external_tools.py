"""The embedded model solves a task with the tool of an external MCP server, when it may."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

SHOP = Path(__file__).parent / "servers" / "shop.py"
TASK = "What is the price of coffee in the shop?"


@pytest.fixture
def command(tmp_path) -> list[str]:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"shop": {"command": sys.executable, "args": [str(SHOP)]}}}))
    return [sys.executable, "-m", "agenthost.server.cli", "run", TASK, "--mcp-config", str(file), "--json"]


@pytest.mark.slow
def test_without_asking_when_the_operator_says_so(command):
    done = subprocess.run([*command, "--mcp-approval", "never"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert "7.25" in report["answer"]
    assert [step["tool"] for step in report["steps"]] == ["shop__get_price"]


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "called"), [("y", True), ("n", False)])
def test_when_the_person_at_the_terminal_allows_it(command, typed, called):
    outer, inner = pty.openpty()
    with subprocess.Popen(command, stdin=inner, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.close(inner)
        os.write(outer, f"{typed}\n".encode() * 5)
        out, err = process.communicate(timeout=240)
    os.close(outer)
    assert process.returncode == 0
    assert "shop / get_price: may it be called?" in err
    output = json.loads(out)["steps"][0]["output"]
    assert ("7.25" in output) == called
    assert ("was not approved" in output) != called


def test_a_configuration_that_cannot_be_used_is_one_line(tmp_path):
    command = [sys.executable, "-m", "agenthost.server.cli", "run", "x", "--mcp-config", str(tmp_path / "nothing.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot read" in done.stderr
    assert len(done.stderr.splitlines()) == 1

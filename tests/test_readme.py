"""The README's examples do what it says: every block under a ``<!-- tested -->`` mark runs, in the README's order.

They run as a reader would run them, against a server started by ``agenthost serve``; only its port is another one.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"<!-- tested -->\n```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
PORT = "8000"

# What a block must print, at least; in the README's order.
EXPECTED = [
    ["1016.35"], ['"object":"chat.completion"', '"role":"assistant"'], ["get_weather", "Lisbon", "18"],
    ["['391']", "python 5535"], ['"mcp"'], [""],
]  # fmt: skip


def test_there_is_an_expectation_for_every_block():
    assert len(BLOCKS) == len(EXPECTED)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """The port of a server with the built-in model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "agenthost.server.cli", "serve", "--port", port]
    environment = {**os.environ, "AGENTHOST_STATE_DIR": str(tmp_path_factory.mktemp("state"))}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/health", process)
            yield port
        finally:
            process.terminate()


def wait_until_ready(url: str, process: subprocess.Popen[str]) -> None:
    """There is no event to wait for across processes: ask until it answers or has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended: {process.stderr.read() if process.stderr else ''}")
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the server was not ready within two minutes")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_example_works(number, server):
    language, code = BLOCKS[number]
    code = code.replace(f"127.0.0.1:{PORT}", f"127.0.0.1:{server}")
    command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in EXPECTED[number]:
        assert text in done.stdout

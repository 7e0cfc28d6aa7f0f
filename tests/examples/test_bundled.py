"""The examples do what they say, with the embedded model behind a real server, as a reader would run them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agenthost.server.bench.own_server import own_server

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Run an example against a server with the embedded model; returns what came of it."""
    with own_server("pocket") as endpoint:

        def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            where = ("--base-url", endpoint.url, "--api-key", endpoint.key or "none")
            command = [sys.executable, str(EXAMPLES / name), *where, *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        yield run


@pytest.mark.slow
def test_code_interpreter(run: Run, tmp_path: Path):
    chart = tmp_path / "chart.png"
    done = run("code_interpreter.py", "--chart", str(chart))
    said = done.stdout
    assert (done.returncode == 0) == chart.exists(), said + done.stderr
    for total in ("travel 280.9", "food 118.15", "office 545.35", "books 71.95"):
        assert f"\n{total}\n" in said
    assert '  draw_chart {"path": "expenses.csv", "column": "category"}' in said
    assert said.endswith("The result is 121932631112635269.\n")
    if "No module named 'pandas'" in said:
        pytest.skip("the sandbox that works here has no scientific packages, so there is no chart")
    assert chart.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_filesystem(run: Run):
    done = run("filesystem.py")
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert "\ndebug is mentioned in app/settings.ini.\n" in said
    assert "-debug = true\\n+debug = false" in said
    assert "\nhost = localhost\nport = 8000\ndebug = false\n" in said
    assert said.endswith("\ntodo.txt says: buy stamps\n")


@pytest.mark.slow
def test_errand():
    """It starts a server of its own, with a web site to search."""
    done = subprocess.run([sys.executable, str(EXAMPLES / "errand.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The price of Lux Lamp is $48.90.") == 2
    assert done.stdout.count("total.txt says: 146.7") == 2
    for tool in ("search", "open", "python", "write_file", "read_text_file"):
        assert done.stdout.count(f"\n  {tool} {{") == 2

"""The official suites judge our MCP server: conformance of both protocol eras, and the Inspector in strict mode.

They come from npm (`make node`); where they are not installed these tests are skipped, and pytest says so.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig

MODULES = Path(__file__).parents[2] / ".node" / "node_modules"
NODE = MODULES / ".bin" / "node"
SUITE = MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
INSPECTOR = MODULES / ".bin" / "mcp-inspector"

pytestmark = [
    pytest.mark.skipif(not SUITE.exists(), reason="MCP's conformance suite is not installed: run `make node`"),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),  # fixtures of older revisions
]

# What needs no fixture: our own tools must pass it too.
GENERIC = [
    ("2025-11-25", "server-initialize"), ("2025-11-25", "ping"), ("2025-11-25", "tools-list"),
    ("2025-11-25", "server-sse-multiple-streams"), ("2025-11-25", "resources-list"), ("2025-11-25", "prompts-list"),
    ("2025-11-25", "dns-rebinding-protection"), ("2025-11-25", "server-session-lifecycle"),
    ("2026-07-28", "tools-list"), ("2026-07-28", "server-sse-multiple-streams"), ("2026-07-28", "resources-list"),
    ("2026-07-28", "sep-2164-resource-not-found"), ("2026-07-28", "prompts-list"),
    ("2026-07-28", "dns-rebinding-protection"), ("2026-07-28", "caching"),
    ("2026-07-28", "input-required-result-unsupported-methods"), ("2026-07-28", "http-header-validation"),
]  # fmt: skip
TASKS = [
    "lifecycle", "capability-negotiation", "wire-fields", "request-state-removal", "mrtr-input", "request-headers",
    "dispatch-and-envelope", "required-task-error", "mrtr-composition",
]  # fmt: skip


@pytest.fixture(scope="module")
def fixtures(model_folder, make_engine, make_server):
    config = ServerConfig(engine=EngineConfig(model=str(model_folder)), conformance_fixtures=True)
    with make_server(config, make_engine(model_folder, lambda request: "hello")) as url:
        yield url + "/mcp"


def judge(folder: Path, url: str, *options: str) -> str:
    command = [str(NODE), str(SUITE), "server", "--url", url, "-o", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    report = re.sub(r"\x1b\[\d+m", "", done.stdout)
    assert done.returncode == 0, report + done.stderr
    return report


@pytest.mark.parametrize(
    ("revision", "scored"), [pytest.param("2025-11-25", 30, marks=pytest.mark.slow), ("2026-07-28", 37)]
)
def test_every_scored_scenario_of_the_fixtures_passes(fixtures, tmp_path, revision, scored):
    report = judge(tmp_path, fixtures, "--requirements", revision)
    results = dict(re.findall(r"^✓ ([a-z0-9-]+): (\d+) passed, 0 failed", report, re.MULTILINE))
    assert "✗" not in report
    assert re.search(r"Total: \d+ passed, 0 failed", report)
    assert len(results) >= scored
    if revision == "2026-07-28":
        assert all(int(results[f"tasks-{name}"]) > 0 for name in TASKS)


@pytest.mark.slow
@pytest.mark.parametrize(("revision", "scenario"), GENERIC)
def test_our_own_tools_pass_what_needs_no_fixture(server, tmp_path, revision, scenario):
    judge(tmp_path, server.url + "/mcp", "--scenario", scenario, "--spec-version", revision)


@pytest.mark.slow
def test_our_own_tools_need_no_session(server, tmp_path):
    untestable = [  # these call the suite's own tools, which are with the fixtures
        "sep-2575-server-rejects-undeclared-capability", "sep-2575-missing-capability-http-400",
        "sep-2575-http-server-no-independent-requests-on-stream", "sep-2575-server-no-log-without-loglevel",
    ]  # fmt: skip
    expected = tmp_path / "expected.yml"
    expected.write_text("server:\n" + "".join(f"  - server-stateless:{check}\n" for check in untestable))
    options = ("--scenario", "server-stateless", "--spec-version", "2026-07-28", "--expected-failures", str(expected))
    judge(tmp_path, server.url + "/mcp", *options)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_finds_nothing_to_criticise(server, era):
    command = [
        str(NODE), str(INSPECTOR), "--cli", "--server-url", server.url + "/mcp", "--transport", "http",
        "--protocol-era", era, "--format", "json", "-q",
    ]  # fmt: skip
    listed = subprocess.run(
        [*command, "--method", "tools/list", "--strict"], capture_output=True, text=True, check=True
    )
    assert {"python", "read_text_file", "agent"} <= {
        tool["name"] for tool in json.loads(listed.stdout)["result"]["tools"]
    }
    call = ["--method", "tools/call", "--tool-name", "python", "--tool-args-json", '{"code": "6 * 7"}']
    called = subprocess.run([*command, *call], capture_output=True, text=True, check=True)
    assert json.loads(called.stdout)["result"]["content"][0]["text"] == "42"

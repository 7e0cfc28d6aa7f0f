"""The official suite judges our client, logging in included. It comes from npm (`make node`)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / ".node" / "node_modules"
NODE = MODULES / ".bin" / "node"
SUITE = MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
CLIENT = Path(__file__).parent / "conformance_client.py"

pytestmark = pytest.mark.skipif(not SUITE.exists(), reason="MCP's conformance suite is not installed: run `make node`")


def judge(folder: Path, *options: str) -> str:
    command = [str(NODE), str(SUITE), "client", "--command", f"{sys.executable} {CLIENT}", "-o", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=os.environ)
    report = re.sub(r"\x1b\[\d+m", "", done.stdout + done.stderr)
    assert done.returncode == 0, report
    return report


@pytest.mark.slow
@pytest.mark.parametrize(("revision", "scored"), [("2025-11-25", 18), ("2026-07-28", 32)])
def test_every_scored_scenario_passes(tmp_path, revision, scored):
    # All clients run at once, each a process that imports the SDK.
    report = judge(tmp_path, "--requirements", revision, "--timeout", "300000")
    unscored = re.findall(r"^  [✓✗] (\S+)", report.partition("Not scored")[2], re.MULTILINE)
    lines = re.findall(r"^([✓✗]) (\S+): (\d+) passed", report, re.MULTILINE)
    results = {name: mark for mark, name, passed in lines if name not in unscored and int(passed) > 0}
    assert set(results.values()) == {"✓"}
    assert len(results) == scored


@pytest.mark.parametrize(
    ("scenario", "revision"),
    [("auth/token-endpoint-auth-basic", "2025-11-25"), ("sep-2322-client-request-state", "2026-07-28")],
)
def test_one_of_each_kind(tmp_path, scenario, revision):
    assert "OVERALL: PASSED" in judge(tmp_path, "--scenario", scenario, "--spec-version", revision)

"""Which cores the model's threads are for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to cores")
def test_cores_that_a_process_may_not_use_do_not_count():
    code = "import os; os.sched_setaffinity(0, {next(iter(os.sched_getaffinity(0)))})\n"
    code += "from agenthost.engine.cores import usable_cores; print(usable_cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"

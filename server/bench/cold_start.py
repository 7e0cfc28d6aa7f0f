"""How long ``agenthost run`` takes from the start of its process to the first character that its model says."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time

from .errors import BenchError

_TASK = "Hello, who are you?"
_GRACE = 20.0  # seconds that a process has to stop


def cold_start(model: str) -> float:
    """Seconds; the process is stopped then. Raises BenchError when it says nothing.

    Should the model call a tool at once, which the terminal shows when the call is complete, it is the time until then.
    """
    command = [sys.executable, "-m", "agenthost.server.cli", "run", _TASK, "--model", model]
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        with process.stdout:
            try:
                said = process.stdout.read(1)
                seconds = time.perf_counter() - begun
            finally:
                _stop(process)
        if said:
            return seconds
        log.seek(0)
        problem = log.read().decode("utf-8", "replace").strip()
    raise BenchError(
        f"`agenthost run` ended with status {process.returncode} before its model said anything: {problem}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """As a user would, so that it removes its workspace."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

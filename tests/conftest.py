"""Set before anything imports torch or Triton, which look once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Without a GPU, Triton's kernels run in its interpreter.
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"

# Workers share the processors: with more threads than those, each waits at its barriers for threads that do not run.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Servers keep nothing in the state directory of who runs the tests, and those of two workers do not meet there.
_state = tempfile.TemporaryDirectory(prefix="agenthost-tests-")
os.chmod(_state.name, 0o711)  # the users of a root server's sandboxes pass through it
os.environ["XDG_STATE_HOME"] = _state.name


def pytest_unconfigure() -> None:
    _state.cleanup()

"""Set before anything imports torch or Triton, which look once."""

from __future__ import annotations

import os
from pathlib import Path

# Without a GPU, Triton's kernels run in its interpreter.
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"

# Workers share the processors: with more threads than those, each waits at its barriers for threads that do not run.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

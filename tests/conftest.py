"""Without a GPU, Triton's kernels run in its interpreter. Triton wants to know before anything imports it."""

from __future__ import annotations

import os
from pathlib import Path

if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"

"""``agenthost doctor``: what this machine has and lacks, and how to get it.

The exit status is 1 if something essential is missing.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from ...engine.cores import usable_cores
from ..settings import state_dir

GIB = 2**30
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")

# Importing torch takes seconds and much memory, and this room does not do it.
_TORCH = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__,
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
}))
"""


@dataclass(frozen=True)
class Finding:
    """``lacking`` is essential, ``limited`` switches something off; ``advice`` says how to get it."""

    what: str
    state: Literal["ok", "limited", "lacking"]
    found: str
    advice: str = ""


def main(options: Mapping[str, Any]) -> int:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    marks = {"ok": ("ok", "green"), "limited": ("limited", "yellow"), "lacking": ("LACKING", "bold red")}
    worst = 0
    for finding in findings():
        mark, style = marks[finding.state]
        line = Text.assemble((f"{mark:<8}", style), (f"{finding.what:<15}", "bold"), finding.found)
        console.print(line, soft_wrap=True)
        if finding.advice:
            console.print(Text(f"{'':<23}{finding.advice}", style="dim"), soft_wrap=True)
        worst = max(worst, finding.state == "lacking")
    return worst


def findings() -> Iterator[Finding]:
    yield _python()
    yield from _torch()
    yield _cpu()
    yield _memory()
    yield from _tools()
    yield _ripgrep()
    yield _chromium()
    yield _model()
    yield _disk()


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _torch() -> Iterator[Finding]:
    done = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding("torch", "lacking", f"cannot be imported: {reason}", "pip install torch")
        return
    found = json.loads(done.stdout)
    yield Finding("torch", "ok", found["version"])
    if found["devices"]:
        yield Finding("CUDA", "ok", ", ".join(found["devices"]))
    else:
        advice = "On a machine with an NVIDIA GPU: pip install 'agenthost[cuda]' and a CUDA build of torch."
        yield Finding("CUDA", "limited", "no device; models run on the CPU", advice)


def _cpu() -> Finding:
    flags = _cpu_flags()
    features = " ".join(feature for feature in _CPU_FEATURES if feature in flags) or "no known vector features"
    return Finding("CPU", "ok", f"{usable_cores()} cores; {features}")


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB"
    if memory.available < GIB:
        return Finding("memory", "limited", found, "The embedded model wants 1 GiB, larger ones their size and more.")
    return Finding("memory", "ok", found)


def _tools() -> Iterator[Finding]:
    from ...tools import default_tools, probe

    verdict = probe()
    if verdict.backend is None:
        yield Finding("sandbox", "limited", "the python tool is off", verdict.problem or "")
    else:
        facts = "; ".join(f"{name}: {value}" for name, value in verdict.facts.items())
        yield Finding("sandbox", "limited" if verdict.backend.lacks else "ok", facts)
    yield Finding("tools", "ok", ", ".join(default_tools(verdict).registry.tools) or "none")


def _ripgrep() -> Finding:
    path = shutil.which("rg")
    if path is None:
        return Finding("ripgrep", "limited", "not found; the grep tool is off", "apt install ripgrep")
    return Finding("ripgrep", "ok", path)


def _chromium() -> Finding:
    from ...tools.browser.chromium.launch import find
    from ...tools.errors import BrowserUnavailable

    try:
        found = find()
    except BrowserUnavailable as error:
        what, _, advice = str(error).partition(": " if "pip" in str(error) else ". ")
        return Finding("Chromium", "limited", f"{what}; pages are read without a browser", advice.strip())
    if not found.isolated:
        return Finding("Chromium", "limited", f"{found.program}, without a network namespace", "apt install bubblewrap")
    return Finding("Chromium", "ok", f"{found.program}, in a network namespace of its own")


def _model() -> Finding:
    from ...engine import EngineError, resolve_model

    try:
        folder = resolve_model("pocket")
    except EngineError as error:
        return Finding("embedded model", "lacking", str(error), "Install agenthost again, or serve another model.")
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not size:
        return Finding("embedded model", "lacking", "its weights are missing", "Install agenthost again.")
    return Finding("embedded model", "ok", f"{size / 1e6:.1f} MB")


def _disk() -> Finding:
    """Where workspaces are: ``serve`` keeps them in its state directory, the other commands in temporary places."""
    kept = Path(state_dir(os.environ))
    while not os.path.exists(kept):
        kept = kept.parent
    places = {tempfile.gettempdir(): "TMPDIR", str(kept): "serve's --state-dir"}
    free = {place: shutil.disk_usage(place).free for place in places}
    found = ", ".join(f"{free[place] / GIB:.1f} GiB free in {place}" for place in places)
    small = [name for place, name in places.items() if free[place] < GIB]
    if small:
        return Finding("disk", "limited", found, f"Workspaces are kept there; set {' and '.join(small)}.")
    return Finding("disk", "ok", found)

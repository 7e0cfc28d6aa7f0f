"""examples/browser.py, as a user runs it: the embedded model behind a real server answers from a real site."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "browser.py"


@pytest.mark.slow
def test_the_model_answers_from_the_site():
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The price of Lux Lamp is $48.90.") == 2
    assert done.stdout.count("open {") == 4
    assert done.stderr == ""

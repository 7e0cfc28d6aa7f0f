"""Checkpoints between parts of a run, in files that travel easily.

Weights are kept in 24 bits (fp32 without its last mantissa byte): 46 MB, where fp32 with optimiser state would be
160 MB. Momentum starts anew with each part, behind a short warm-up; it refills within some tens of steps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FILE_LIMIT = 15_500_000  # bytes


def save(directory: Path, weights: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Write progress.json and weights-N.bin."""
    directory.mkdir(parents=True, exist_ok=True)
    flat = torch.cat([tensor.detach().float().cpu().flatten() for tensor in weights.values()]).numpy()
    kept = np.ascontiguousarray(flat.view(np.uint8).reshape(-1, 4)[:, 1:]).tobytes()
    for index, start in enumerate(range(0, len(kept), FILE_LIMIT)):
        (directory / f"weights-{index}.bin").write_bytes(kept[start : start + FILE_LIMIT])
    shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
    (directory / "progress.json").write_text(json.dumps({"shapes": shapes, "progress": progress}))


def load(directory: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights in fp32, and the progress."""
    head = json.loads((directory / "progress.json").read_text())
    files = sorted(directory.glob("weights-*.bin"), key=lambda file: int(file.stem.split("-")[1]))
    kept = np.frombuffer(b"".join(file.read_bytes() for file in files), np.uint8).reshape(-1, 3)
    wide = np.zeros((len(kept), 4), np.uint8)
    wide[:, 1:] = kept
    flat = torch.from_numpy(wide.reshape(-1).view(np.float32).copy())
    weights, start = {}, 0
    for name, shape in head["shapes"].items():
        count = int(np.prod(shape))
        weights[name] = flat[start : start + count].view(shape)
        start += count
    return weights, head["progress"]

"""Where the kernels' tests run, and random tensors there."""

from __future__ import annotations

import torch

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
DTYPE = torch.bfloat16 if CUDA else torch.float32
ERROR = 2e-2 if CUDA else 1e-4


def randn(*shape, dtype=DTYPE):
    return torch.randn(*shape, device=DEVICE).to(dtype)


def ints(values):
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)

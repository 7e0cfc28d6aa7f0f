"""Choose the attention backend for a device."""

from __future__ import annotations

import importlib.util

import torch

from ..config import EngineConfig
from ..errors import InvalidConfig
from ..memory import KVSize
from ..models.config import ModelConfig
from .base import AttentionBackend
from .paged import PagedAttention
from .torch_sdpa import TorchAttention


def build_attention(
    config: EngineConfig,
    model: ModelConfig,
    size: KVSize,
    dtype: torch.dtype,
    device: torch.device,
    max_rows: int,
    max_model_len: int,
) -> AttentionBackend:
    """The backend that ``config.attention`` names; ``auto`` is torch on CPU, FlashInfer on CUDA, else Triton.

    Raises InvalidConfig for a backend that is not there.
    """
    (group,) = model.kv_groups
    name = config.attention
    narrow = size.dtype != dtype  # only our own kernels read a cache of another type
    if name == "auto":
        name = "torch" if device.type == "cpu" else "flashinfer" if _has_flashinfer() and not narrow else "triton"
    if narrow and name != "triton":
        raise InvalidConfig(
            f"kv_dtype={config.kv_dtype} needs CUDA and attention=triton; it is {name} on {device.type}."
        )
    if name == "torch":
        return TorchAttention(group, size.pages, config.page_size, dtype, device)
    if device.type != "cuda":
        raise InvalidConfig(f"attention={name} needs CUDA; use attention=torch on {device.type}.")
    if group.head_dim & (group.head_dim - 1):
        raise InvalidConfig(
            f"the model's heads have {group.head_dim} numbers, and attention={name} takes powers of two only. "
            "Use attention=torch."
        )
    if name == "flashinfer" and not _has_flashinfer():
        raise InvalidConfig("attention=flashinfer, but FlashInfer is not installed: pip install 'agenthost[cuda]'.")
    most = max_rows * -(-max_model_len // config.page_size)
    arguments = (group, model.num_heads, size.pages, config.page_size, dtype, size.dtype, device)
    if name == "triton":
        return PagedAttention(*arguments, max_rows=max_rows, max_pages=most)
    from .flashinfer import FlashInferAttention

    hopper = torch.cuda.get_device_capability(device)[0] == 9
    return FlashInferAttention(*arguments, max_rows=max_rows, max_pages=most, prefill="fa3" if hopper else "fa2")


def _has_flashinfer() -> bool:
    return importlib.util.find_spec("flashinfer") is not None

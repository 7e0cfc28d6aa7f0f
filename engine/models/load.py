"""Build a decoder and fill it: from safetensors, one tensor at a time, or with random weights for benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open

from ..errors import ModelNotFound
from ..layers.linear import FusedLinear
from ..parallel.group import ALONE, Group
from ..parallel.shard import Cut
from ..progress import Progress
from .config import ModelConfig
from .decoder import Decoder

_WHOLE = "model.safetensors"
_DTYPES = ("F32", "F16", "BF16")  # as safetensors names them

# Checkpoint matrices that share one of our parameters: name -> (our module, place in it).
_FUSED = {
    "q_proj": ("qkv_proj", 0),
    "k_proj": ("qkv_proj", 1),
    "v_proj": ("qkv_proj", 2),
    "gate_proj": ("gate_up_proj", 0),
    "up_proj": ("gate_up_proj", 1),
}
_LAYER = re.compile(r"(?P<parent>layers\.\d+\.(?:self_attn|mlp))\.(?P<module>\w+)\.(?P<parameter>weight|bias)")


def build_decoder(
    folder: Path,
    config: ModelConfig,
    max_position: int,
    dtype: torch.dtype,
    device: torch.device,
    progress: Progress | None = None,
    group: Group = ALONE,
) -> Decoder:
    """This rank's part of a Hugging Face folder's model. Raises ModelNotFound where weights are missing or misfit."""
    decoder = _empty(config, group, max_position, dtype, device)
    local = group.shard.local(config)
    parts = {name: 0 for name, _ in decoder.named_parameters()}
    for name, stored in _tensors(folder, progress):
        if (name == "lm_head.weight" and config.tie_embeddings) or name.endswith(".rotary_emb.inv_freq"):
            continue  # old conversions store these frequencies, which config.json gives
        target = _target(decoder, local, name, parts)
        if target is None:
            raise ModelNotFound(f"{folder} holds the tensor {name}, which {config.architecture} does not have.")
        cut = group.shard.cut(config, name.removeprefix("model."))
        expected = list(target.shape)
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            expected = expected[1:]  # one norm for all heads fills a row for each
        if cut is not None:
            expected[cut.dim] = cut.whole
        if stored.get_shape() != expected:
            shapes = f"{tuple(stored.get_shape())}, expected {tuple(expected)}"
            raise ModelNotFound(f"{folder}: tensor {name} has shape {shapes} by config.json.")
        if stored.get_dtype() not in _DTYPES:
            kinds = f"{stored.get_dtype()}, not as one of {', '.join(_DTYPES)}"
            raise ModelNotFound(f"{folder}: tensor {name} is stored as {kinds}. Take the unquantized model.")
        _fill(target, stored, cut)
    missing = sorted(name for name, filled in parts.items() if filled < _places(name))
    if missing:
        raise ModelNotFound(f"{folder} lacks weights of {', '.join(missing[:3])}{' and more' * (len(missing) > 3)}.")
    return decoder


def dummy_decoder(
    config: ModelConfig, max_position: int, dtype: torch.dtype, device: torch.device, seed: int, group: Group
) -> Decoder:
    """The same model with random weights of a size that keeps activations finite; each rank has its own."""
    decoder = _empty(config, group, max_position, dtype, device)
    generator = torch.Generator(device).manual_seed(seed + group.shard.rank)
    for name, parameter in decoder.named_parameters():
        if parameter.ndim == 1 or name.endswith("qk_norm"):
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        else:
            parameter.normal_(0.0, 0.02, generator=generator)
    return decoder


def _empty(config: ModelConfig, group: Group, max_position: int, dtype: torch.dtype, device: torch.device) -> Decoder:
    with _defaults(dtype, device):
        return Decoder(config, group, max_position, dtype, device).eval()


@contextmanager
def _defaults(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def _target(decoder: Decoder, config: ModelConfig, name: str, parts: dict[str, int]) -> torch.Tensor | None:
    """The place of a checkpoint tensor in the decoder, counted in ``parts``; None if there is none."""
    name = name.removeprefix("model.")
    if name == "embed_tokens.weight":
        name = "embed_tokens"
    match = _LAYER.fullmatch(name)
    if match and match["module"] in ("q_norm", "k_norm") and config.qk_norm:
        name = f"{match['parent']}.qk_norm"
        parts[name] += 1
        rows = slice(config.num_heads) if match["module"] == "q_norm" else slice(config.num_heads, None)
        return decoder.get_parameter(name)[rows]
    if match and match["module"] in _FUSED:
        module, place = _FUSED[match["module"]]
        name = f"{match['parent']}.{module}.{match['parameter']}"
        if name not in parts:
            return None
        parts[name] += 1
        linear = decoder.get_submodule(f"{match['parent']}.{module}")
        assert isinstance(linear, FusedLinear)
        return linear.part(match["parameter"], place)
    if name not in parts:
        return None
    parts[name] += 1
    return decoder.get_parameter(name)


def _places(name: str) -> int:
    """How many checkpoint tensors fill a parameter."""
    if name.endswith("qk_norm"):
        return 2
    return {"qkv_proj": 3, "gate_up_proj": 2}.get(name.split(".")[-2], 1) if "." in name else 1


def _fill(target: torch.Tensor, stored: Any, cut: Cut | None) -> None:
    """Read a tensor, or the part of it that ``cut`` names. Rows that the part leaves become zero."""
    if cut is None:
        target.copy_(stored[...])
        return
    part = slice(cut.start, cut.stop)
    rows = stored[part] if cut.dim == 0 else stored[:, part]
    target[: len(rows)] = rows
    target[len(rows) :] = 0


def _tensors(folder: Path, progress: Progress | None) -> Iterator[tuple[str, Any]]:
    """All tensors of a folder, shard by shard, mapped from disk: names, and what is read where it is indexed."""
    files = _shards(folder)
    total = sum(file.stat().st_size for file in files)
    done = 0
    for file in files:
        size = file.stat().st_size
        try:
            with safe_open(file, framework="pt") as shard:
                names = list(shard.keys())
                for index, name in enumerate(names, 1):
                    yield name, shard.get_slice(name)
                    if progress:
                        progress("weights", done + size * index // len(names), total)
        except SafetensorError as error:
            raise ModelNotFound(f"{file} is not a usable safetensors file: {error}") from error
        done += size


class _Index(msgspec.Struct):
    """Which file holds which tensor."""

    weight_map: dict[str, str]


def _shards(folder: Path) -> list[Path]:
    """The files that hold the weights; what lies beside those that Hugging Face names is another copy."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(msgspec.json.decode(index.read_bytes(), type=_Index).weight_map.values()))
        except msgspec.DecodeError as error:
            raise ModelNotFound(f"{index} cannot be read: {error}") from error
    elif (folder / _WHOLE).exists():
        names = [_WHOLE]
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    files = [folder / name for name in names]
    absent = [file.name for file in files if not file.exists()]
    if not files or absent:
        raise ModelNotFound(f"{folder} has no {absent[0] if absent else '*.safetensors files'}.")
    return files

"""What a decoder is made of, read from a Hugging Face ``config.json``. Needs neither torch nor transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from ..errors import ModelNotFound

Json = dict[str, Any]


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding: its base, and how it is stretched to longer texts.

    Attributes:
        kind: ``default`` does not stretch; ``linear`` divides every frequency by ``factor`` (arXiv:2306.15595);
            ``llama3`` only the low ones, as its other fields say (arXiv:2407.21783, section 3.4.3).
    """

    theta: float
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position: int = 8192
    kind: str = "default"


@dataclass(frozen=True)
class KVGroup:
    """Layers that keep the same kind of KV state; pages are counted per group."""

    kind: str  # full
    layers: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class ModelConfig:
    """A pre-norm decoder with rotary attention and a gated MLP (the Llama and Qwen3 families)."""

    architecture: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    norm_eps: float
    max_position: int
    rope: RopeConfig
    tie_embeddings: bool
    qk_norm: bool
    attention_bias: bool
    mlp_bias: bool
    dtype: str

    @property
    def kv_groups(self) -> tuple[KVGroup, ...]:
        return (KVGroup("full", self.num_layers, self.num_kv_heads, self.head_dim),)

    @property
    def layer_parameters(self) -> int:
        """Weights that every token passes through, head excluded: the linear part of a token's cost."""
        attention = self.hidden_size * self.head_dim * 2 * (self.num_heads + self.num_kv_heads)
        return self.num_layers * (attention + 3 * self.hidden_size * self.intermediate_size)

    @property
    def parameters(self) -> int:
        """Weights in all, but for norms and biases."""
        return self.layer_parameters + (1 if self.tie_embeddings else 2) * self.vocab_size * self.hidden_size

    @property
    def attention_unit(self) -> float:
        """Depth of context at which attention costs as much as all linear layers: both count 2 FLOP per multiply."""
        return self.layer_parameters / (2 * self.num_layers * self.num_heads * self.head_dim)

    @classmethod
    def load(cls, folder: Path) -> ModelConfig:
        """Read ``folder/config.json``. Raises ModelNotFound for a missing file or an unsupported model."""
        try:
            raw: Json = msgspec.json.decode((folder / "config.json").read_bytes(), type=Json)
        except (OSError, msgspec.DecodeError) as error:
            raise ModelNotFound(f"{folder} has no readable config.json: {error}") from error
        return cls.parse(raw)

    @classmethod
    def parse(cls, raw: Json) -> ModelConfig:
        names = raw.get("architectures") or ["(none)"]
        if names[0] not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ModelNotFound(f"architecture {names[0]} is not supported. Supported: {known}.")
        if raw.get("use_sliding_window") or raw.get("hidden_act", "silu") != "silu":
            raise ModelNotFound("sliding-window attention and activations other than silu are not supported yet.")
        if quantized := raw.get("quantization_config"):
            method = quantized.get("quant_method") if isinstance(quantized, dict) else None
            raise ModelNotFound(
                f"weights quantized by {method} are not supported. Take the unquantized model's weights."
            )
        said = _read(raw, _File)
        heads, kv_heads = said.num_attention_heads, said.num_key_value_heads or said.num_attention_heads
        if heads % kv_heads:
            raise ModelNotFound(f"config.json names {heads} heads and {kv_heads} KV heads, which do not divide them.")
        return cls(
            architecture=names[0],
            vocab_size=said.vocab_size,
            hidden_size=said.hidden_size,
            num_layers=said.num_hidden_layers,
            num_heads=heads,
            num_kv_heads=kv_heads,
            head_dim=said.head_dim or said.hidden_size // heads,
            intermediate_size=said.intermediate_size,
            norm_eps=said.rms_norm_eps,
            max_position=said.max_position_embeddings,
            rope=_rope(said),
            tie_embeddings=said.tie_word_embeddings,
            qk_norm=ARCHITECTURES[names[0]],
            attention_bias=said.attention_bias,
            mlp_bias=said.mlp_bias,
            dtype=said.dtype or said.torch_dtype or "bfloat16",
        )


# Supported architectures, and whether queries and keys are normalised per head before the rotation.
ARCHITECTURES: dict[str, bool] = {"Qwen3ForCausalLM": True, "LlamaForCausalLM": False}


_Size = Annotated[int, msgspec.Meta(ge=1)]


class _File(msgspec.Struct, frozen=True):
    """What is read of a ``config.json``."""

    vocab_size: _Size
    hidden_size: _Size
    num_hidden_layers: _Size
    num_attention_heads: _Size
    intermediate_size: _Size
    num_key_value_heads: _Size | None = None
    head_dim: _Size | None = None
    rms_norm_eps: float = 1e-6
    max_position_embeddings: _Size = 2048
    rope_parameters: Json | None = None
    rope_scaling: Json | None = None
    rope_theta: float | None = None
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    dtype: str | None = None
    torch_dtype: str | None = None


class _Rope(msgspec.Struct, frozen=True):
    rope_theta: float | None = None
    rope_type: str | None = None
    type: str | None = None


class _Linear(msgspec.Struct, frozen=True):
    factor: float


class _Llama3(_Linear, frozen=True):
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: _Size


_Fields = TypeVar("_Fields")


def _read(raw: Json, fields: type[_Fields]) -> _Fields:
    try:
        return msgspec.convert(raw, fields)
    except msgspec.ValidationError as error:
        raise ModelNotFound(f"config.json is incomplete or wrong: {error}.") from error


def _rope(said: _File) -> RopeConfig:
    """Old files keep ``rope_theta`` and ``rope_scaling`` at the top, new ones both in ``rope_parameters``."""
    scaling = said.rope_parameters or said.rope_scaling or {}
    rope = _read(scaling, _Rope)
    theta, kind = rope.rope_theta or said.rope_theta or 10000.0, rope.rope_type or rope.type or "default"
    if kind == "default":
        return RopeConfig(theta)
    if kind == "linear":
        return RopeConfig(theta, factor=_read(scaling, _Linear).factor, kind=kind)
    if kind == "llama3":
        llama3 = _read(scaling, _Llama3)
        return RopeConfig(
            theta,
            factor=llama3.factor,
            low_freq_factor=llama3.low_freq_factor,
            high_freq_factor=llama3.high_freq_factor,
            original_max_position=llama3.original_max_position_embeddings,
            kind=kind,
        )
    raise ModelNotFound(f"rotary scaling {kind!r} is not supported. Supported: default, linear, llama3.")

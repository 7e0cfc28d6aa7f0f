"""What a decoder is made of, read from a Hugging Face ``config.json``. Needs neither torch nor transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelNotFound

Json = dict[str, Any]


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding: base, and the llama3 rule of scaling when ``factor`` is not 1 (Llama 3.1, section 3.4.3)."""

    theta: float
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position: int = 8192
    kind: str = "default"  # default | linear | llama3


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
    def attention_unit(self) -> float:
        """Depth of context at which attention costs as much as all linear layers: both count 2 FLOP per multiply."""
        return self.layer_parameters / (2 * self.num_layers * self.num_heads * self.head_dim)

    @classmethod
    def load(cls, folder: Path) -> ModelConfig:
        """Read ``folder/config.json``. Raises ModelNotFound for a missing file or an unsupported model."""
        try:
            raw: Json = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError) as error:
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
        heads = raw["num_attention_heads"]
        return cls(
            architecture=names[0],
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            num_layers=raw["num_hidden_layers"],
            num_heads=heads,
            num_kv_heads=raw.get("num_key_value_heads") or heads,
            head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
            intermediate_size=raw["intermediate_size"],
            norm_eps=raw.get("rms_norm_eps", 1e-6),
            max_position=raw.get("max_position_embeddings", 2048),
            rope=_rope(raw),
            tie_embeddings=raw.get("tie_word_embeddings", False),
            qk_norm=ARCHITECTURES[names[0]],
            attention_bias=raw.get("attention_bias", False),
            mlp_bias=raw.get("mlp_bias", False),
            dtype=raw.get("dtype") or raw.get("torch_dtype") or "bfloat16",
        )


# Supported architectures, and whether queries and keys are normalised per head before the rotation.
ARCHITECTURES: dict[str, bool] = {"Qwen3ForCausalLM": True, "LlamaForCausalLM": False}


def _rope(raw: Json) -> RopeConfig:
    """Old files keep ``rope_theta`` and ``rope_scaling`` at the top, new ones both in ``rope_parameters``."""
    scaling: Json = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    theta = scaling.get("rope_theta") or raw.get("rope_theta") or 10000.0
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind == "default":
        return RopeConfig(theta)
    if kind == "linear":
        return RopeConfig(theta, factor=scaling["factor"], kind=kind)
    if kind == "llama3":
        return RopeConfig(
            theta,
            factor=scaling["factor"],
            low_freq_factor=scaling["low_freq_factor"],
            high_freq_factor=scaling["high_freq_factor"],
            original_max_position=scaling["original_max_position_embeddings"],
            kind=kind,
        )
    raise ModelNotFound(f"rotary scaling {kind!r} is not supported. Supported: default, linear, llama3.")

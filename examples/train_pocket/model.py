"""The model in plain torch: a Qwen3 decoder, for training and for the evaluation loop.

Parameter names are those of ``Qwen3ForCausalLM`` without the ``model.`` prefix, so that export is a renaming.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(batch, heads, tokens, head_dim) queries, keys and values, keys of fewer heads, to the queries' shape."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes. The defaults are the shipped model: 15.3 M parameters."""

    vocabulary: int = 4096
    hidden: int = 384
    layers: int = 8
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 64
    intermediate: int = 1152
    rope_base: float = 100_000.0
    context: int = 8192
    epsilon: float = 1e-6

    def huggingface(self) -> dict[str, object]:
        """config.json of a Hugging Face folder."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rope_theta": self.rope_base,
            "rope_scaling": None,
            "rms_norm_eps": self.epsilon,
            "tie_word_embeddings": True,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_sliding_window": False,
            "sliding_window": None,
            "max_window_layers": self.layers,
            "use_cache": True,
            "initializer_range": 0.02,
            "bos_token_id": None,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "torch_dtype": "bfloat16",
        }

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


class RMSNorm(nn.Module):
    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return (wide * self.weight).to(x.dtype)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary position embedding; the halves of a head are paired, as Hugging Face does it."""
    first, second = x.chunk(2, -1)
    return (x * cosines + torch.cat((-second, first), -1) * sines).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.q_proj = nn.Linear(config.hidden, config.heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.hidden, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.epsilon)
        self.k_norm = RMSNorm(config.head_dim, config.epsilon)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, attend: Attend) -> Tensor:
        batch, tokens, _ = x.shape
        query = self.q_norm(self.q_proj(x).view(batch, tokens, -1, self.config.head_dim)).transpose(1, 2)
        key = self.k_norm(self.k_proj(x).view(batch, tokens, -1, self.config.head_dim)).transpose(1, 2)
        value = self.v_proj(x).view(batch, tokens, -1, self.config.head_dim).transpose(1, 2)
        mixed = attend(rotate(query, cosines, sines), rotate(key, cosines, sines), value)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, tokens, -1))


class MLP(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.intermediate, bias=False)
        self.down_proj = nn.Linear(config.intermediate, config.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden, config.epsilon)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, attend: Attend) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cosines, sines, attend)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    """The decoder. The output head is the embedding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary, config.hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.epsilon)
        self._initialize()

    def _initialize(self) -> None:
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                scale = 0.5 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                nn.init.normal_(parameter, std=scale * parameter.shape[1] ** -0.5)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, fp32, of ``positions`` with one more dimension of size head_dim."""
        half = self.config.head_dim // 2
        steps = torch.arange(half, device=positions.device, dtype=torch.float32) / half
        angles = positions.float()[..., None] * self.config.rope_base**-steps
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()

    def parameters_millions(self) -> float:
        return sum(parameter.numel() for parameter in self.parameters()) / 1e6


def weighted_loss(hidden: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy under ``weights``, and over the assistant's tokens alone (weight 1), for the log."""
    logits = F.linear(hidden, head).float().flatten(0, 1)
    losses = F.cross_entropy(logits, targets.flatten(), reduction="none")
    flat = weights.flatten()
    spoken = (flat == 1.0).float()
    loss = (losses * flat).sum() / flat.sum().clamp(min=1.0)
    return loss, (losses.detach() * spoken).sum() / spoken.sum().clamp(min=1.0)

"""The decoder of the Llama and Qwen3 families: fused projections, one attention call a layer, logits where asked.

Works on a flat batch: tokens of all rows one after another, no padding. What differs between the families is in
:class:`ModelConfig`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..attention.base import Attend, Heads
from ..layers.linear import FusedLinear, RMSNorm, pack_all
from ..layers.rotary import Rotary, Rotation
from ..parallel.group import Group
from .config import ModelConfig


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, and per-head norms of q and k where the family has them."""

    def __init__(self, config: ModelConfig, group: Group, layer: int) -> None:
        super().__init__()
        self.group = group
        self.layer = layer
        self.head_dim = config.head_dim
        self.num_q, self.num_kv = config.num_heads, config.num_kv_heads
        sizes = tuple(heads * config.head_dim for heads in (self.num_q, self.num_kv, self.num_kv))
        self.qkv_proj = FusedLinear(config.hidden_size, sizes, config.attention_bias)
        self.o_proj = FusedLinear(sizes[0], (config.hidden_size,), config.attention_bias)
        self.eps = config.norm_eps
        # One weight row for each head of q and k, so that a single product serves both norms.
        norm = torch.empty(self.num_q + self.num_kv, config.head_dim) if config.qk_norm else None
        self.qk_norm = nn.Parameter(norm, requires_grad=False) if norm is not None else None

    def forward(
        self,
        norm: RMSNorm,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        rotation: Rotation,
        attend: Attend,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        projected, summed = self.qkv_proj.after(norm, x, residual)
        projected = projected.view(projected.shape[0], -1, self.head_dim)
        heads = Heads(projected, self.num_q, self.num_kv, self.qk_norm, self.eps, rotation)
        return self.group.sum(self.o_proj(attend(self.layer, heads))), summed


class MLP(nn.Module):
    """SwiGLU (arXiv:2002.05202)."""

    def __init__(self, config: ModelConfig, group: Group) -> None:
        super().__init__()
        self.group = group
        inner = config.intermediate_size
        self.gate_up_proj = FusedLinear(config.hidden_size, (inner, inner), config.mlp_bias)
        self.down_proj = FusedLinear(inner, (config.hidden_size,), config.mlp_bias)

    def forward(self, norm: RMSNorm, x: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inner, summed = self.gate_up_proj.gated_after(norm, x, residual)
        return self.group.sum(self.down_proj(inner)), summed


class Layer(nn.Module):
    """Takes and gives what the last layer added, and the sum of all before it, so that sum and norm are one pass."""

    def __init__(self, config: ModelConfig, group: Group, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config, group, layer)
        self.mlp = MLP(config, group)
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(
        self, x: torch.Tensor, residual: torch.Tensor | None, rotation: Rotation, attend: Attend
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, summed = self.self_attn(self.input_layernorm, x, residual, rotation, attend)
        return self.mlp(self.post_attention_layernorm, x, summed)


class Decoder(nn.Module):
    """Token ids to logits. Its parameters are made with torch's default dtype and device, and hold nothing yet.

    They are this rank's part of the model's, which all ranks of ``group`` run together.
    """

    def __init__(
        self, config: ModelConfig, group: Group, max_position: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.config = config
        self.group = group
        local = group.shard.local(config)
        self.embed_tokens = nn.Parameter(torch.empty(local.vocab_size, config.hidden_size), requires_grad=False)
        self.layers = nn.ModuleList(Layer(local, group, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.lm_head = FusedLinear(config.hidden_size, (local.vocab_size,))
        if config.tie_embeddings:
            self.lm_head.weight = self.embed_tokens
        self.rotary = Rotary(config.rope, config.head_dim, max_position, dtype, device)

    @property
    def weights(self) -> int:
        """Weights that a token is multiplied with."""
        return sum(module.size for module in self.modules() if isinstance(module, FusedLinear))

    def optimize(self) -> None:
        """Bring the loaded weights into the form that the device multiplies fastest. Nothing can be loaded after it."""
        if self.embed_tokens.device.type == "cpu" and torch.backends.mkldnn.is_available():
            pack_all([module for module in self.modules() if isinstance(module, FusedLinear)])

    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor | None, attend: Attend
    ) -> torch.Tensor:
        """Logits of the tokens ``wanted``.

        ids, positions: (tokens,) integers. wanted: (rows,) indices of tokens, or None for all. Returns (rows,
        vocabulary) in the model's dtype.
        """
        return self.logits(*self.layered(ids, positions, attend), wanted)

    def layered(
        self, ids: torch.Tensor, positions: torch.Tensor, attend: Attend, layers: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the last layer added, and the sum of all before it: both (tokens, hidden size). layers: only so many."""
        x, residual = self._embed(ids), None
        rotation = self.rotary.at(positions)
        for layer in self.layers[:layers]:
            x, residual = layer(x, residual, rotation, attend)
        assert residual is not None
        return x, residual

    def logits(self, x: torch.Tensor, residual: torch.Tensor, wanted: torch.Tensor | None) -> torch.Tensor:
        """From :meth:`layered` to logits; see :meth:`forward`."""
        if wanted is not None:
            x, residual = x[wanted], residual[wanted]
        logits = self.group.concatenate(self.lm_head(self.norm(x, residual)[0]))
        return logits[:, : self.config.vocab_size]

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden size); each rank knows the rows of its part of the vocabulary."""
        shard, rows = self.group.shard, len(self.embed_tokens)
        if shard.size == 1:
            return F.embedding(ids, self.embed_tokens)
        ids = ids - shard.rank * rows
        known = (ids >= 0) & (ids < rows)
        return self.group.sum(F.embedding(ids * known, self.embed_tokens) * known.unsqueeze(1))

"""Which part of a model a rank holds (tensor parallelism as in Megatron-LM, arXiv:1909.08053).

Heads, the MLP's inner size and the vocabulary are divided among the ranks. A product whose outputs are divided needs
no exchange; the next one has its inputs divided, and the ranks add up what they get.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..errors import InvalidConfig
from ..models.config import ModelConfig

_INNER = re.compile(r"layers\.\d+\.(?:self_attn|mlp)\.(?P<module>\w+)\.(?P<parameter>weight|bias)")
_OUTPUTS, _INPUTS = 0, 1  # dimensions of a weight


@dataclass(frozen=True)
class Cut:
    """The part ``[start, stop)`` of dimension ``dim``, which has ``whole`` entries in the checkpoint."""

    dim: int
    whole: int
    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
    """Rank ``rank`` of ``size``."""

    rank: int = 0
    size: int = 1

    def check(self, model: ModelConfig) -> None:
        """Raise InvalidConfig where the model cannot be divided so. The vocabulary is padded, so it always can."""
        parts, heads = self.size, model.num_kv_heads
        even = model.num_heads % parts == 0 and model.intermediate_size % parts == 0
        if not even or (heads % parts and parts % heads):
            raise InvalidConfig(
                f"tensor_parallel_size is {parts}, which must divide the model's {model.num_heads} heads and its inner "
                f"size {model.intermediate_size}, and divide its {heads} KV heads or be a multiple of them."
            )

    def local(self, model: ModelConfig) -> ModelConfig:
        """The model's sizes on this rank. KV heads are replicated where there are more ranks than heads."""
        return replace(
            model,
            num_heads=model.num_heads // self.size,
            num_kv_heads=max(1, model.num_kv_heads // self.size),
            intermediate_size=model.intermediate_size // self.size,
            vocab_size=-(-model.vocab_size // self.size),
        )

    def cut(self, model: ModelConfig, name: str) -> Cut | None:
        """What this rank holds of a checkpoint tensor; None for all of it."""
        if self.size == 1:
            return None
        if name in ("embed_tokens.weight", "lm_head.weight"):
            return self._cut(_OUTPUTS, model.vocab_size, -(-model.vocab_size // self.size))
        match = _INNER.fullmatch(name)
        if match is None:
            return None
        module, dim = match["module"], model.head_dim
        if module in ("o_proj", "down_proj"):
            whole = model.num_heads * dim if module == "o_proj" else model.intermediate_size
            if match["parameter"] == "weight":
                return self._cut(_INPUTS, whole, whole // self.size)
            # The bias is added once: by rank 0.
            return Cut(_OUTPUTS, model.hidden_size, 0, 0 if self.rank else model.hidden_size)
        if module in ("k_proj", "v_proj"):
            first = self.rank * model.num_kv_heads // self.size
            heads = max(1, model.num_kv_heads // self.size)
            return Cut(_OUTPUTS, model.num_kv_heads * dim, first * dim, (first + heads) * dim)
        if module in ("q_proj", "gate_proj", "up_proj"):
            whole = model.num_heads * dim if module == "q_proj" else model.intermediate_size
            return self._cut(_OUTPUTS, whole, whole // self.size)
        return None

    def _cut(self, dim: int, whole: int, part: int) -> Cut:
        start = self.rank * part
        return Cut(dim, whole, min(start, whole), min(start + part, whole))

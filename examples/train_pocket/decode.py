"""Greedy batched decoding with a KV cache, in plain torch: what the evaluation runs where no engine is installed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .model import Model

END = 2  # <|im_end|>
_PREFILL_TOKENS = 200_000  # of one prefill batch, padding included


class Decoder:
    """Continues prompts greedily."""

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        self._model = model.to(dtype).eval()
        self._dtype = dtype
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def generate(self, prompts: Sequence[list[int]], limit: int) -> list[list[int]]:
        """Token ids after each prompt, without the end token, at most ``limit`` each."""
        config, device = self._model.config, self._device
        count, longest = len(prompts), max(map(len, prompts))
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        shape = (config.layers, count, config.kv_heads, longest + limit, config.head_dim)
        keys, values = (
            torch.zeros(shape, device=device, dtype=self._dtype),
            torch.zeros(shape, device=device, dtype=self._dtype),
        )
        logits = self._prefill(prompts, lengths, keys, values)
        current = logits.argmax(-1)
        alive = current != END
        rows, places = torch.arange(count, device=device), torch.arange(longest + limit, device=device)
        positions = lengths.clone()
        pending = [current]
        for step in range(1, limit):
            if step % 8 == 0 and not bool(alive.any()):
                break
            used = longest + step
            mask = (places[:used] <= positions[:, None])[:, None, None, :]
            cosines, sines = self._model.rotary(positions[:, None, None])
            x = self._model.embed_tokens(current[:, None])
            for index, layer in enumerate(self._model.layers):

                def attend(
                    query: Tensor,
                    key: Tensor,
                    value: Tensor,
                    index: int = index,
                    positions: Tensor = positions,
                    used: int = used,
                    mask: Tensor = mask,
                ) -> Tensor:
                    keys[index, rows, :, positions] = key[:, :, 0]
                    values[index, rows, :, positions] = value[:, :, 0]
                    return F.scaled_dot_product_attention(
                        query, keys[index, :, :, :used], values[index, :, :, :used], attn_mask=mask, enable_gqa=True
                    )

                x = layer(x, cosines, sines, attend)
            logits = F.linear(self._model.norm(x[:, 0]), self._model.embed_tokens.weight).float()
            current = torch.where(alive, logits.argmax(-1), END)
            alive &= current != END
            pending.append(current)
            positions += 1
        return [_until_end(row) for row in torch.stack(pending, 1).tolist()]

    def _prefill(self, prompts: Sequence[list[int]], lengths: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Fill the cache and give the logits after each prompt."""
        model, device = self._model, self._device
        logits = torch.zeros(len(prompts), model.config.vocabulary, device=device)
        size = max(1, _PREFILL_TOKENS // int(lengths.max()))
        for start in range(0, len(prompts), size):
            part = prompts[start : start + size]
            width = max(map(len, part))
            ids = torch.zeros(len(part), width, dtype=torch.long)
            for row, prompt in enumerate(part):
                ids[row, : len(prompt)] = torch.tensor(prompt)
            cosines, sines = model.rotary(torch.arange(width, device=device))
            x = model.embed_tokens(ids.to(device))
            for index, layer in enumerate(model.layers):

                def attend(query: Tensor, key: Tensor, value: Tensor, index: int = index, start: int = start) -> Tensor:
                    stop, width = start + len(query), query.shape[2]
                    keys[index, start:stop, :, :width], values[index, start:stop, :, :width] = key, value
                    return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

                x = layer(x, cosines, sines, attend)
            last = x[torch.arange(len(part), device=device), lengths[start : start + len(part)] - 1]
            logits[start : start + len(part)] = F.linear(model.norm(last), model.embed_tokens.weight).float()
        return logits


def _until_end(row: list[int]) -> list[int]:
    return row[: row.index(END)] if END in row else row

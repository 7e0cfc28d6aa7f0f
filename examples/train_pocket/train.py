"""Train the model: ``python -m train_pocket.train --out DIR``. See README.md for the real run and the toy run.

A run has a budget of seconds and may be done in parts: each part trains for its seconds, writes a checkpoint, and the
next one resumes. The schedule (warm-up, stable, linear decay) follows the share of the budget that is spent, so it does
not depend on the machine's speed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import checkpoint
from .model import Model, ModelConfig, weighted_loss
from .optimizer import Optimizer
from .packing import Rows, Stream, StreamConfig

CONTEXT_WEIGHT_STEP = 100.0  # rows carry weights in percent


@dataclass(frozen=True)
class TrainConfig:
    """One part of a run.

    Args:
        seconds: training time of this part, after compilation.
        budget: training time of all parts.
        rows: rows a step; times the row length is the tokens a step.
        matrix_rate, other_rate: peak learning rates of Muon and AdamW.
        warmup: steps at the start of every part.
        decay: the last share of the budget, over which rates fall to zero.
    """

    seconds: float
    budget: float
    rows: int = 16
    matrix_rate: float = 0.02
    other_rate: float = 0.003
    warmup: int = 60
    decay: float = 0.4

    def scale(self, spent: float, step: int) -> float:
        """The factor on the peak rates."""
        share = min(1.0, spent / self.budget)
        falling = max(0.0, (1 - share) / self.decay)
        return min(1.0, (step + 1) / self.warmup, falling)


LossStep = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(token ids, targets, weights, documents) to the two losses of :func:`weighted_loss`."""


def plain_step(model: Model) -> LossStep:
    """For CPU, and for checking the fast one."""

    def step(ids: Tensor, targets: Tensor, weights: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
        length = ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        mask = causal & (documents[:, None, :, None] == documents[:, None, None, :])

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)

        cosines, sines = model.rotary(torch.arange(length, device=ids.device))
        x = model.embed_tokens(ids)
        for layer in model.layers:
            x = layer(x, cosines, sines, attend)
        return weighted_loss(model.norm(x), model.embed_tokens.weight, targets, weights)

    return step


def flex_step(model: Model) -> LossStep:
    """For CUDA: compiled flex attention that skips what lies in other conversations, one compiled layer for all."""
    from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

    def layer_step(layer: torch.nn.Module, x: Tensor, cosines: Tensor, sines: Tensor, mask: BlockMask) -> Tensor:
        return layer(x, cosines, sines, lambda q, k, v: flex_attention(q, k, v, block_mask=mask, enable_gqa=True))

    fast_layer = torch.compile(layer_step, dynamic=False)
    fast_loss = torch.compile(weighted_loss, dynamic=False)
    fast_mask = torch.compile(create_block_mask)

    def step(ids: Tensor, targets: Tensor, weights: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
        def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (query >= key) & (documents[batch, query] == documents[batch, key])

        rows, length = ids.shape
        mask = fast_mask(visible, rows, None, length, length, device=ids.device)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            cosines, sines = model.rotary(torch.arange(length, device=ids.device))
            x = model.embed_tokens(ids).bfloat16()
            for layer in model.layers:
                x = fast_layer(layer, x, cosines, sines, mask)
            return fast_loss(model.norm(x), model.embed_tokens.weight, targets, weights)

    return step


def _batch(rows: Rows, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs, targets, loss weights and conversation numbers from a step's rows."""
    table = torch.from_numpy(rows.astype("int32"))
    if device.type == "cuda":
        table = table.pin_memory().to(device, non_blocking=True)
    ids, weights, documents = table[0], table[1], table[2]
    same = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] > 0)
    weight = torch.where(same, weights[:, 1:].float() / CONTEXT_WEIGHT_STEP, 0.0)
    return ids[:, :-1].long(), ids[:, 1:].long(), weight, documents[:, :-1].contiguous()


def train(model: Model, stream: Stream, config: TrainConfig, device: torch.device, progress: dict[str, Any]) -> None:
    """Train for ``config.seconds``; ``progress`` is read and updated."""
    fast = device.type == "cuda"
    step_losses = flex_step(model) if fast else plain_step(model)
    optimizer = Optimizer(model, compiled=fast)
    spent_before, began = float(progress["seconds"]), time.perf_counter()
    start: float | None = None
    step, tokens, waited, recent = 0, 0, 0.0, []
    while True:
        waiting = time.perf_counter()
        rows = stream.take()
        waited += time.perf_counter() - waiting
        batch = _batch(rows, device)
        if step == 2:  # compilation is over
            if fast:
                torch.cuda.synchronize()
            start, tokens, waited = time.perf_counter(), 0, 0.0
            print(f"set up in {start - began:.0f} s", flush=True)
        elapsed = time.perf_counter() - start if start else 0.0
        scale = config.scale(spent_before + elapsed, step)
        loss, assistant_loss = step_losses(*batch)
        loss.backward()
        optimizer.step(config.matrix_rate * scale, config.other_rate * scale, min(0.95, 0.85 + 0.1 * step / 200))
        step += 1
        tokens += batch[0].numel()
        recent.append(assistant_loss.detach())
        if step % (100 if fast else 10) == 0:
            value = torch.stack(recent).mean().item()
            recent = []
            elapsed = time.perf_counter() - (start or began)
            progress["curve"].append([progress["tokens"] + tokens, round(value, 5)])
            print(f"step {step}  {elapsed:.0f} s  {tokens / 1e6:.1f} M tokens  {tokens / elapsed / 1e3:.0f} k/s  "
                  f"assistant loss {value:.4f}  rate {scale:.2f}  waited {waited:.1f} s", flush=True)  # fmt: skip
        if elapsed >= config.seconds:
            break
    progress["tokens"] += tokens
    progress["seconds"] += elapsed
    progress["steps"] += step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint goes")
    parser.add_argument("--resume", type=Path, help="checkpoint of the part before")
    parser.add_argument("--seconds", type=float, default=390.0, help="of this part")
    parser.add_argument("--budget", type=float, default=780.0, help="seconds of all parts together")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--long-share", type=float, default=0.05)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=384)
    options = parser.parse_args()

    progress: dict[str, Any] = {"tokens": 0, "seconds": 0.0, "steps": 0, "curve": [], "parts": []}
    saved = None
    if options.resume:
        saved, progress = checkpoint.load(options.resume)
    # Workers are forked before CUDA is touched.
    per_message = min(4, options.rows)
    stream_config = StreamConfig(
        options.length, options.long_share, options.workers, options.seed + 1000 * len(progress["parts"]), per_message
    )
    stream = Stream(stream_config, options.rows)
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model_config = ModelConfig(hidden=options.hidden, layers=options.layers, intermediate=3 * options.hidden)
    model = Model(model_config).to(device)
    if saved:
        model.load_state_dict(saved)
    print(
        f"{model.parameters_millions():.2f} M parameters on {device}, {options.rows * options.length} tokens a step",
        flush=True,
    )
    try:
        train(model, stream, TrainConfig(options.seconds, options.budget, options.rows), device, progress)
    finally:
        stream.close()
    progress["parts"].append({"seconds": options.seconds, "long_share": options.long_share, "length": options.length})
    progress["model"] = model_config.as_dict()
    checkpoint.save(options.out, model.state_dict(), progress)
    print(json.dumps({key: progress[key] for key in ("tokens", "seconds", "steps")}), flush=True)


if __name__ == "__main__":
    main()

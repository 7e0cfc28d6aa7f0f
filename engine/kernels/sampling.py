# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false
# (a kernel's values are not what the type checker takes them for)
"""Sampling on the device: a draw in one pass over the logits.

The draw is an exponential race: token i gets the time E_i / p_i with E_i exponential, and the first one wins, which
happens with probability p_i. E_i is a hash of the row's key and i, so a row's token depends on nothing else.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last
from .truncation import truncate

_NONE = tl.constexpr(-float("inf"))


@jit
def _mix(x):
    x ^= x >> 16
    x *= 0x7FEB352D
    x ^= x >> 15
    x *= 0x846CA68B
    return x ^ (x >> 16)


@jit
def _race(
    logits_ptr, random_ptr, temperature_ptr, threshold_ptr, last_tie_ptr, best_ptr, winner_ptr, size, stride, share,
    TRUNCATED: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    wait_for_last(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    temperature = tl.load(temperature_ptr + row)
    key = tl.load(random_ptr + row * 2).to(tl.uint32, bitcast=True)
    other_key = tl.load(random_ptr + row * 2 + 1).to(tl.uint32, bitcast=True)
    columns = tl.arange(0, BLOCK)
    best = tl.full((BLOCK,), _NONE, tl.float32)
    winner = tl.zeros((BLOCK,), tl.int32)
    end = tl.minimum(size, (part + 1) * share)
    for start in range(part * share, end, BLOCK):
        token = start + columns
        inside = token < end
        x = tl.load(logits_ptr + row * stride + token, inside, other=_NONE).to(tl.float32)
        score = x
        if temperature > 0:
            random = _mix(_mix(token.to(tl.uint32) ^ key) + other_key)
            uniform = (random.to(tl.float32) + 0.5) * 2.3283064e-10
            waiting = tl.where(
                uniform < 1e-3, uniform * (1 + 0.5 * uniform), -tl.log(1 - tl.minimum(uniform, 0.99999994))
            )
            score = x / temperature - tl.log(waiting)
            if TRUNCATED:
                threshold = tl.load(threshold_ptr + row)
                last_tie = tl.load(last_tie_ptr + row)
                score = tl.where((x > threshold) | ((x == threshold) & (token <= last_tie)), score, _NONE)
        score = tl.where(inside & (x > _NONE), score, _NONE)
        better = score > best
        winner = tl.where(better, token, winner)
        best = tl.where(better, score, best)
    top = tl.max(best, 0)
    tl.store(best_ptr + row * tl.num_programs(1) + part, top)
    tl.store(winner_ptr + row * tl.num_programs(1) + part, tl.min(tl.where(best == top, winner, size), 0))


@jit
def _finish(
    best_ptr, winner_ptr, slots_ptr, tokens_ptr, newest_ptr, parts, PARTS: tl.constexpr, OVERLAP: tl.constexpr
):  # fmt: skip
    launch_next(OVERLAP)
    wait_for_last(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    part = tl.arange(0, PARTS)
    best = tl.load(best_ptr + row * parts + part, part < parts, other=_NONE)
    winner = tl.load(winner_ptr + row * parts + part, part < parts, other=2147483647)
    token = tl.min(tl.where(best == tl.max(best, 0), winner, 2147483647), 0).to(tl.int64)
    tl.store(tokens_ptr + row, token)
    tl.store(newest_ptr + tl.load(slots_ptr + row), token)


def draw(
    logits: torch.Tensor,
    slots: torch.Tensor,
    keys: torch.Tensor,
    temperature: torch.Tensor,
    newest: torch.Tensor,
    truncation: tuple[torch.Tensor, ...] | None = None,
) -> torch.Tensor:
    """One token for each row, also written to ``newest`` at the row's slot. Returns (rows,) int64.

    Args:
        logits: (rows, vocabulary), any float type, the vocabulary contiguous; minus infinity is never drawn.
        slots: (rows,) integers, places in ``newest``.
        keys: (rows, 2) int32 random bits of the row's seed and position.
        temperature: (rows,) float32; 0 takes the most likely token, the first of equals.
        truncation: (rows,) float32 each: top_k (the vocabulary's size is off), top_p (1 is off), min_p (0 is off).
    """
    rows, size = logits.shape
    tokens = torch.empty(rows, dtype=torch.int64, device=logits.device)
    threshold, last_tie = (None, None) if truncation is None else truncate(logits, temperature, truncation)
    block = min(2048, triton.next_power_of_2(size))
    parts = min(triton.cdiv(size, block), max(1, 1024 // rows))
    share = triton.cdiv(triton.cdiv(size, parts), block) * block
    parts = triton.cdiv(size, share)
    best = torch.empty(rows, parts, dtype=torch.float32, device=logits.device)
    winner = torch.empty(rows, parts, dtype=torch.int32, device=logits.device)
    _race[(rows, parts)](
        logits, keys, temperature, threshold, last_tie, best, winner, size, logits.stride(0), share,
        TRUNCATED=truncation is not None, BLOCK=block, num_warps=8, **overlapping(),
    )  # fmt: skip
    _finish[(rows,)](
        best, winner, slots, tokens, newest, parts, PARTS=triton.next_power_of_2(parts), num_warps=1, **overlapping()
    )
    return tokens


@jit
def _newest_ids(ids_ptr, slots_ptr, newest_ptr, out_ptr, count, BLOCK: tl.constexpr, OVERLAP: tl.constexpr):
    launch_next(OVERLAP)
    wait_for_last(OVERLAP)
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = token < count
    known = tl.load(ids_ptr + token, there, other=0)
    newest = tl.load(newest_ptr + tl.load(slots_ptr + token, there, other=0), there & (known < 0), other=0)
    tl.store(out_ptr + token, tl.where(known < 0, newest.to(tl.int32), known), there)


def newest_ids(ids: torch.Tensor, slots: torch.Tensor, newest: torch.Tensor) -> torch.Tensor:
    """Token ids (tokens,) int32, where negative ones stand for the newest token of their slot.

    ids, slots: (tokens,) int32. newest: int64.
    """
    out, block = torch.empty_like(ids), 128
    _newest_ids[(triton.cdiv(len(ids), block),)](
        ids, slots, newest, out, len(ids), BLOCK=block, num_warps=4, **overlapping()
    )
    return out

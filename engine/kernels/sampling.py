# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false
# (a kernel's values are not what the type checker takes them for)
"""Sampling on the device: truncation without a sort, and a draw in one pass over the logits.

The draw is an exponential race: token i gets the time E_i / p_i with E_i exponential, and the first one wins, which
happens with probability p_i. E_i is a hash of the row's key and i, so a row's token depends on nothing else.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last

_NONE = tl.constexpr(-float("inf"))


@jit
def _ordered(x):
    """float32 to uint32 of the same order."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, ~bits, bits | -2147483648).to(tl.uint32, bitcast=True)


@jit
def _truncate(
    logits_ptr, temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, threshold_ptr, last_tie_ptr, size, stride,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    temperature = tl.load(temperature_ptr + row)
    top_k = tl.load(top_k_ptr + row).to(tl.int32)
    top_p = tl.load(top_p_ptr + row)
    min_p = tl.load(min_p_ptr + row)
    columns = tl.arange(0, BLOCK)
    if (temperature == 0) | ((top_k >= size) & (top_p >= 1) & (min_p <= 0)):
        tl.store(threshold_ptr + row, _NONE)
        tl.store(last_tie_ptr + row, size)
    else:
        first = logits_ptr + row * stride
        most = tl.full((BLOCK,), _NONE, tl.float32)
        for start in range(0, size, BLOCK):
            most = tl.maximum(
                most, tl.load(first + start + columns, start + columns < size, other=_NONE).to(tl.float32)
            )
        highest = tl.max(most, 0)
        mass = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, size, BLOCK):
            x = tl.load(first + start + columns, start + columns < size, other=_NONE).to(tl.float32)
            mass += tl.exp((x - highest) / temperature)
        wanted = tl.where(top_p >= 1, float("inf"), top_p * tl.sum(mass, 0))
        # The largest value at and above which there are top_k tokens, or the wanted mass; bit by bit from the top.
        key = tl.zeros((), tl.uint32)
        for bit in range(31, -1, -1):
            trial = key | (tl.full((), 1, tl.uint32) << bit)
            count = tl.zeros((BLOCK,), tl.int32)
            mass = tl.zeros((BLOCK,), tl.float32)
            for start in range(0, size, BLOCK):
                x = tl.load(first + start + columns, start + columns < size, other=_NONE).to(tl.float32)
                above = (_ordered(x) >= trial) & (start + columns < size)
                count += above.to(tl.int32)
                mass += tl.where(above, tl.exp((x - highest) / temperature), 0.0)
            if (tl.sum(count, 0) >= top_k) | (tl.sum(mass, 0) >= wanted):
                key = trial
        count = tl.zeros((BLOCK,), tl.int32)
        mass = tl.zeros((BLOCK,), tl.float32)
        value = tl.full((BLOCK,), _NONE, tl.float32)
        for start in range(0, size, BLOCK):
            x = tl.load(first + start + columns, start + columns < size, other=_NONE).to(tl.float32)
            above = (_ordered(x) > key) & (start + columns < size)
            count += above.to(tl.int32)
            mass += tl.where(above, tl.exp((x - highest) / temperature), 0.0)
            value = tl.maximum(value, tl.where(_ordered(x) == key, x, _NONE))
        threshold = tl.max(value, 0)  # none has the value when nothing is cut
        each = tl.exp((threshold - highest) / temperature)
        ties = tl.minimum(top_k - tl.sum(count, 0), size).to(tl.float32)
        ties = tl.minimum(ties, tl.where(wanted < float("inf"), tl.ceil((wanted - tl.sum(mass, 0)) / each), size * 1.0))
        ties = tl.maximum(ties, 1.0).to(tl.int32)
        # Of equal tokens the first ones stay, as a stable sort has it.
        last = size
        seen = tl.zeros((), tl.int32)
        for start in range(0, size, BLOCK):
            x = tl.load(first + start + columns, start + columns < size, other=_NONE).to(tl.float32)
            tie = (x == threshold) & (start + columns < size)
            rank = seen + tl.cumsum(tie.to(tl.int32), 0)
            hit = tl.min(tl.where(tie & (rank == ties), start + columns, size), 0)
            last = tl.minimum(last, hit)
            seen += tl.sum(tie.to(tl.int32), 0)
        floor = tl.where(min_p > 0, highest + temperature * tl.log(min_p), _NONE)
        tl.store(last_tie_ptr + row, tl.where(floor > threshold, size, last))
        tl.store(threshold_ptr + row, tl.maximum(threshold, floor))


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
    threshold = torch.empty(rows, dtype=torch.float32, device=logits.device)
    last_tie = torch.empty(rows, dtype=torch.int32, device=logits.device)
    if truncation is not None:
        _truncate[(rows,)](
            logits, temperature, *truncation, threshold, last_tie, size, logits.stride(0),
            BLOCK=min(8192, triton.next_power_of_2(size)), num_warps=16,
        )  # fmt: skip
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

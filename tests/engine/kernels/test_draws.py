"""The kernels that draw tokens against plain torch. Without a GPU they run in Triton's interpreter, on small sizes."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from agenthost.engine.kernels import truncation
from agenthost.engine.kernels.sampling import draw, newest_ids

from .device import CUDA, DEVICE, ints, randn


def test_newest_ids():
    newest = torch.arange(10, 20, device=DEVICE)
    ids, slots = [7] * 128 + [-1, 3, -1], [0] * 128 + [4, 5, 9]
    assert newest_ids(ints(ids), ints(slots), newest).tolist() == [7] * 128 + [14, 3, 19]


SIZE = 50_000 if CUDA else 300


def draws(logits, temperature, *, count, truncation=None):
    """Many draws from one row of logits, under different keys."""
    keys = torch.randint(-(2**31), 2**31 - 1, (count, 2), dtype=torch.int64).to(torch.int32).to(DEVICE)
    slots = torch.zeros(count, dtype=torch.int32, device=DEVICE)
    newest = torch.zeros(1, dtype=torch.int64, device=DEVICE)
    cut = tuple(torch.full((count,), float(value), device=DEVICE) for value in truncation) if truncation else None
    return draw(
        logits.expand(count, -1),
        slots,
        keys,
        torch.full((count,), temperature, device=DEVICE),
        newest,
        cut,
    )


def test_greedy_takes_the_first_of_the_most_likely():
    logits = randn(3, SIZE + 3)[:, :SIZE]  # as they come from ranks whose parts of the vocabulary are padded
    logits[1, 17] = logits[1, 230] = 50.0
    newest = torch.full((8,), -1, dtype=torch.int64, device=DEVICE)
    slots = torch.tensor([5, 2, 7], dtype=torch.int32, device=DEVICE)
    keys = torch.zeros(3, 2, dtype=torch.int32, device=DEVICE)
    tokens = draw(logits, slots, keys, torch.zeros(3, device=DEVICE), newest)
    wanted = [logits[0].argmax().item(), 17, logits[2].argmax().item()]
    assert tokens.tolist() == wanted
    assert newest.tolist() == [-1, -1, wanted[1], -1, -1, wanted[0], -1, wanted[2]]


def test_draws_follow_the_distribution():
    logits = torch.full((SIZE,), -20.0, device=DEVICE)
    logits[:4] = torch.tensor([2.0, 1.0, 0.0, -1.0], device=DEVICE)
    count = 20_000 if CUDA else 200
    tokens = draws(logits, 0.7, count=count)
    wanted = (logits / 0.7).softmax(-1)[:4]
    seen = torch.bincount(tokens, minlength=4)[:4] / count
    assert (seen - wanted).abs().max() < 4 * (0.25 / count) ** 0.5


def stable_sort_keeps(probabilities, top_k, top_p, min_p) -> list[int]:
    ordered, ids = probabilities.sort(descending=True, stable=True)
    keep = (ordered.cumsum(0) - ordered < top_p) & (ordered >= min_p * ordered[0])
    return ids[keep & (torch.arange(len(ids), device=ids.device) < top_k)].tolist()


@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"), [(5, 1.0, 0.0), (SIZE, 0.6, 0.0), (SIZE, 1.0, 0.2), (40, 0.9, 0.01), (1, 1.0, 0.0)]
)
@pytest.mark.parametrize("ties", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_truncation_keeps_what_a_stable_sort_keeps(top_k, top_p, min_p, ties):
    logits = torch.randn(SIZE, device=DEVICE) * 3
    if ties:
        logits = (logits * 2).round() / 2
    count = 4000 if CUDA else 6
    tokens = set(draws(logits, 0.8, count=count, truncation=(top_k, top_p, min_p)).tolist())
    probabilities = (logits.double() / 0.8).softmax(-1)
    allowed = stable_sort_keeps(probabilities, top_k, top_p, min_p)
    assert tokens <= set(allowed)
    likely = [token for token in allowed if probabilities[token] / probabilities[allowed].sum() > 14 / count]
    assert set(likely) <= tokens


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_truncated_each_in_its_way(monkeypatch, dtype):
    if not CUDA:
        monkeypatch.setattr(truncation, "_PART", 256)  # so that there are two, one of them not full
    random = (randn(SIZE, dtype=torch.float32) * 3).to(dtype)
    steps = (random * 2).round() / 2
    flat = torch.zeros(SIZE, dtype=dtype, device=DEVICE)
    flat[1::2] = -0.0
    masked = torch.full_like(random, -torch.inf)
    masked[[3, 60, 200, SIZE - 1]] = random[[3, 60, 200, SIZE - 1]]
    off = SIZE, 1.0, 0.0
    rows = [
        (random, 0.8, *off), (random, 0.0, 3, 0.5, 0.0), (random, 0.8, 1, 1.0, 0.0), (random, 0.8, SIZE, 1e-30, 0.0),
        (random, 1.3, SIZE, 1.0, 0.05), (-random.abs(), 0.8, 30, 1.0, 0.0), (steps, 0.8, 20, 0.9, 0.01),
        (flat, 0.8, 5, 1.0, 0.0), (flat, 0.8, SIZE - 20, 1.0, 0.0), (flat, 1e-4, SIZE, 0.501, 0.0),
        (masked, 0.8, 40, 1.0, 0.0), (masked, 2.0, SIZE, 0.8, 0.0),
    ]  # fmt: skip
    logits = torch.stack([row[0] for row in rows])
    temperature, *parameters = torch.tensor([row[1:] for row in rows], device=DEVICE).T.contiguous()
    thresholds, last_ties = truncation.truncate(logits, temperature, tuple(parameters))
    tokens = torch.arange(SIZE, device=DEVICE)
    for (x, heat, *wanted), threshold, last_tie in zip(rows, thresholds, last_ties, strict=True):
        wrong = (x > threshold) | ((x == threshold) & (tokens <= last_tie))
        probabilities = (x.double() / (heat or 1)).softmax(-1)
        wrong[stable_sort_keeps(probabilities, *(wanted if heat else off))] ^= True
        assert probabilities[wrong].sum() < 1e-5, (heat, wanted)
    alone = truncation.truncate(logits[6:7], temperature[6:7], tuple(column[6:7] for column in parameters))
    assert (alone[0].item(), alone[1].item()) == (thresholds[6].item(), last_ties[6].item())

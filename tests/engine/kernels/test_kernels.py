"""The Triton kernels against plain torch. Without a GPU they run in Triton's interpreter, on small sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from agenthost.engine.attention.base import StepLayout
from agenthost.engine.attention.cut import Cut, cut, most_copies, most_segments
from agenthost.engine.attention.paged import HostPlan
from agenthost.engine.bench.kernels import Sizes, cases, error
from agenthost.engine.bench.shapes import model_folder
from agenthost.engine.kernels import paged_decode as decode_kernel
from agenthost.engine.kernels.activation import silu_mul
from agenthost.engine.kernels.merge import merge
from agenthost.engine.kernels.norm import add_rms_norm
from agenthost.engine.kernels.paged_decode import (
    DecodeWorkspace,
    block_size,
    into_joins,
    into_stretches,
    most_stretches,
    paged_decode,
)
from agenthost.engine.kernels.paged_prefill import BLOCK_Q, paged_prefill
from agenthost.engine.kernels.rotate_store import Copies, rotate_store
from agenthost.engine.kernels.small_linear import normed_linear, small_linear
from agenthost.engine.models.config import ModelConfig
from agenthost.engine.runner.graphs import prompt_sizes

from .device import DEVICE, DTYPE, ERROR, ints, randn


def relative_error(out: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((out.double() - wanted.double()).norm() / wanted.double().norm()).item()


@pytest.mark.parametrize("size", [64, 384, 1000])
def test_add_rms_norm(size):
    x, residual, weight = randn(5, size), randn(5, size), randn(size)
    summed = (x.float() + residual.float()).to(DTYPE)
    out = add_rms_norm(x, residual, weight, 1e-6)
    torch.testing.assert_close(residual, summed)
    assert relative_error(out, F.rms_norm(summed.float(), (size,), weight.float(), 1e-6)) < ERROR
    assert (
        relative_error(add_rms_norm(x, None, weight, 1e-6), F.rms_norm(x.float(), (size,), weight.float(), 1e-6))
        < ERROR
    )


def test_silu_mul():
    x = randn(7, 2 * 1152)
    gate, up = x.float().chunk(2, -1)
    assert relative_error(silu_mul(x), F.silu(gate) * up) < ERROR


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize(("inputs", "has_bias"), [(64, True), (1500, False)])
@pytest.mark.parametrize("gated", [False, True])
def test_small_linear(rows, inputs, has_bias, gated):
    x, weight, bias = randn(rows, inputs), randn(10, inputs), randn(10) if has_bias else None
    wanted = F.linear(x.float(), weight.float(), bias.float() if bias is not None else None)
    if gated:
        gate, up = wanted.chunk(2, -1)
        wanted = F.silu(gate) * up
    assert relative_error(small_linear(x, weight, bias, gated=gated), wanted) < ERROR


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("has_residual", [True, False])
@pytest.mark.parametrize(("gated", "has_bias"), [(False, True), (False, False), (True, True), (True, False)])
def test_normed_linear(rows, has_residual, gated, has_bias):
    inputs = 200
    x, residual, norm = randn(rows, inputs), randn(rows, inputs) if has_residual else None, randn(inputs)
    weight, bias = randn(14, inputs), randn(14) if has_bias else None
    wanted_sum = x if residual is None else (x.float() + residual.float()).to(DTYPE)
    wanted = F.rms_norm(wanted_sum.float(), (inputs,), norm.float(), 1e-6)
    wanted = F.linear(wanted, weight.float(), bias.float() if bias is not None else None)
    if gated:
        gate, up = wanted.chunk(2, -1)
        wanted = F.silu(gate) * up
    out, summed = normed_linear(x, residual, norm, 1e-6, weight, bias, gated=gated)
    assert relative_error(out, wanted) < ERROR
    torch.testing.assert_close(summed, wanted_sum)


def paged(lengths: list[int], kv: int, dim: int, page: int):
    """Random caches, and each row's pages scattered over them."""
    needed = [-(-length // page) for length in lengths]
    keys, values = (randn(sum(needed) + 1, kv, page, dim) for _ in range(2))
    pages = (torch.randperm(sum(needed)) + 1).to(torch.int32).to(DEVICE)
    starts = torch.tensor([0, *torch.tensor(needed).cumsum(0).tolist()], dtype=torch.int32, device=DEVICE)

    def row(index: int):
        mine = pages[starts[index] : starts[index + 1]].long()
        return [part[mine].transpose(0, 1).flatten(1, 2)[:, : lengths[index]].float() for part in (keys, values)]

    return keys, values, starts, pages, row


@pytest.mark.parametrize(("num_q", "kv"), [(4, 2), (9, 3), (8, 8)])
@pytest.mark.parametrize("has_norm", [True, False])
def test_rotate_store(has_norm, num_q, kv):
    tokens, dim, page = 6, 64, 4
    heads = randn(tokens, num_q + 2 * kv, dim)
    norm = randn(num_q + kv, dim) if has_norm else None
    cos, sin = rotation(100, dim)
    positions = torch.tensor([0, 5, 99, 3, 4, 7], dtype=torch.int32, device=DEVICE)
    slots = torch.tensor([3, 11, 4, 5, 6, 0], dtype=torch.int32, device=DEVICE)
    keys, values = (
        torch.zeros(3, kv, page, dim, dtype=DTYPE, device=DEVICE),
        torch.zeros(3, kv, page, dim, dtype=DTYPE, device=DEVICE),
    )
    copies = Copies(randn(5, num_q, dim), *map(ints, ([0, 2, 0, 0, 0, 0], [0, 2, 0, 0, 0, 1], [0, 2, 0, 0, 0, 2])))
    untouched = copies.room[3].clone()
    q = rotate_store(heads, norm, 1e-6, cos, sin, positions, slots, keys, values, num_q, copies=copies)
    torch.testing.assert_close(copies.room[[2, 4, 0, 1]], q[[1, 1, 5, 5]])
    torch.testing.assert_close(copies.room[3], untouched)
    wanted = turned(heads[:, : num_q + kv].float(), norm, cos, sin, positions.long())
    assert relative_error(q, wanted[:, :num_q]) < ERROR
    for token, slot in enumerate(slots.tolist()):
        assert relative_error(keys[slot // page, :, slot % page], wanted[token, num_q:]) < ERROR
        torch.testing.assert_close(values[slot // page, :, slot % page], heads[token, num_q + kv :])


def rotation(positions: int, dim: int):
    """Tables of cosines and of signed sines."""
    angles = torch.rand(positions, dim // 2, device=DEVICE) * 6
    return torch.cat((angles.cos(), angles.cos()), -1), torch.cat((-angles.sin(), angles.sin()), -1)


def turned(qk, norm, cos, sin, at):
    """Heads (tokens, heads, dim) normed and rotated."""
    dim = qk.shape[-1]
    if norm is not None:
        qk = F.rms_norm(qk, (dim,), None, 1e-6) * norm.float()
    return qk * cos[at].unsqueeze(1) + qk.roll(dim // 2, -1) * sin[at].unsqueeze(1)


@pytest.mark.parametrize("programs", [1, 12, 60])
@pytest.mark.parametrize(
    ("num_q", "kv", "has_norm", "page"),
    [(4, 2, True, 16), (8, 1, False, 80), pytest.param(3, 3, True, 16, marks=pytest.mark.slow), (6, 2, False, 16)],
)
def test_paged_decode(monkeypatch, programs, num_q, kv, has_norm, page):
    monkeypatch.setattr(decode_kernel, "_PROGRAMS", programs)
    dim, lengths = 64, [1, 16, 17, 500, 90, 65]
    keys, values, starts, pages, row = paged(lengths, kv, dim, page)
    cos, sin = rotation(max(lengths), dim)
    heads = randn(len(lengths), num_q + 2 * kv, dim)
    norm = randn(num_q + kv, dim) if has_norm else None
    ends = torch.tensor(lengths, device=DEVICE) - 1
    slots = (pages[starts[:-1] + ends // page].long() * page + ends % page).int()
    ends_on_host, starts_on_host, slots_on_host = (array.numpy(force=True) for array in (ends, starts, slots))
    host = into_stretches(ends_on_host + 1, starts_on_host, slots_on_host, kv, block_size(dim))
    most = most_stretches(len(lengths), kv)
    assert len(host) <= most
    stretches = ints(np.pad(host, ((0, most - len(host)), (0, 0))).tolist())
    workspace = DecodeWorkspace(most, kv, num_q // kv, dim, DEVICE)
    out = heads.new_empty(len(lengths), num_q * dim)
    for joined in (None, None, ints(into_joins(host).tolist())):  # the second finds what the first left
        out.fill_(torch.nan)
        paged_decode(heads, norm, 1e-6, cos, sin, keys, values, stretches, pages, workspace, out, joined)
    qk = turned(heads[:, : num_q + kv].float(), norm, cos, sin, ends)
    for index in range(len(lengths)):
        k, v = row(index)
        assert relative_error(k[:, -1], qk[index, num_q:]) < ERROR
        torch.testing.assert_close(v[:, -1], heads[index, num_q + kv :].float())
        wanted = F.scaled_dot_product_attention(qk[index, :num_q, None], k, v, enable_gqa=True)
        assert relative_error(out[index].view(num_q, dim), wanted[:, 0]) < ERROR


@pytest.mark.parametrize(
    "lengths", [[1], [100_000], [2, 1, 1], [500] * 100, [100_000, *[500] * 100], range(2000, 1, -9)]
)
@pytest.mark.parametrize("kv", [1, 8])
def test_stretches_cover_every_row_once_and_take_about_as_long(lengths, kv):
    lengths = np.array(lengths)
    nothing = lengths * 0
    found = into_stretches(lengths, nothing, nothing, kv, 64)
    assert len(found) <= most_stretches(len(lengths), kv)
    assert (np.diff(found[:, 2] - found[:, 1]) <= 0).all(), "the longest first"
    rows, begins, ends, *_, last, first, parts = found.T
    parts, part = parts % 65536, parts // 65536
    assert sorted(first + part) == list(range(len(found)))
    for index, length in enumerate(lengths):
        mine = np.flatnonzero(rows == index)
        mine = mine[np.argsort(part[mine])]
        assert begins[mine[0]] == 0
        assert ends[mine[-1]] == length - 1
        assert (begins[mine[1:]] == ends[mine[:-1]]).all()
        assert (last[mine] == length - 1).all()
        assert part[mine].tolist() == list(range(len(mine)))
        assert (parts[mine] == len(mine)).all()
        assert into_joins(found)[index].tolist() == [first[mine[0]], len(mine)]
    fair = lengths.sum() * kv / 512
    assert (ends - begins).max() <= fair + 2 * 64


def chunks(counts: list[int], depths: list[int], processors: int) -> tuple[HostPlan, Cut | None]:
    """Prefill chunks and a decode before them, and how they are cut; the pages are in disorder."""
    lengths = np.array([7, *(c + d for c, d in zip(counts, depths, strict=True))])
    held = -(-lengths // 16)
    pages = np.zeros((len(lengths), held.max()), np.int32)
    pages[np.arange(held.max()) < held[:, None]] = np.random.default_rng(0).permutation(held.sum())
    layout = StepLayout(lengths - [1, *counts], np.array([1, *counts]), pages)
    plan = HostPlan.of(layout, 16)
    return plan, cut(plan, 16, 2, processors)


def attended(q, cache, mask):
    """Attention (tokens, heads, dim), and base-2 logarithms of its sums (tokens, heads)."""
    k, v = cache
    scores = torch.einsum("qhd,khd->qhk", q.float(), k.float()) * q.shape[-1] ** -0.5
    scores.masked_fill_(~mask[:, None], -torch.inf)
    out = torch.einsum("qhk,khd->qhd", scores.softmax(-1), v.float())
    return out.to(DTYPE), scores.logsumexp(-1) / np.log(2)


@pytest.mark.parametrize("processors", [8, 132])
def test_chunks_that_are_cut_attend_to_the_same(processors):
    counts, depths, heads, dim = [70, 40, 3, 5], [4999, 0, 9000, 15], 2, 32
    plan, parts = chunks(counts, depths, processors)
    assert parts is not None
    assert (parts.held * 16).max() < 5000
    cache = randn(2, len(plan.pages), 16, heads, dim)
    q = randn(sum(counts), heads, dim)

    def cache_of(pages, length):
        return [part[torch.from_numpy(pages).long()].flatten(0, 1)[:length] for part in cache]

    wanted, own = [], []
    for row, (count, depth) in enumerate(zip(counts, depths, strict=True)):
        mine = q[sum(counts[:row]) :][:count]
        pages = plan.pages[plan.starts[row + 1] : plan.starts[row + 2]]
        length = count + depth
        causal = torch.ones(count, length, dtype=torch.bool, device=DEVICE).tril(depth)
        wanted.append(attended(mine, cache_of(pages, length), causal)[0])
        first = parts.own_held[:row].sum()
        length = int(parts.own_lengths[row])
        causal = torch.ones(count, length, dtype=torch.bool, device=DEVICE).tril(length - count)
        own.append(attended(mine, cache_of(parts.own_pages[first:][: parts.own_held[row]], length), causal))
    done = []
    assert len(parts.counts) <= most_segments(len(counts), heads, processors)
    assert parts.counts.sum() <= most_copies(sum(counts), heads, processors)
    copies = torch.full((parts.counts.sum(), heads, dim), torch.nan, dtype=DTYPE, device=DEVICE)
    for token, (place, stride, number) in enumerate(zip(parts.places, parts.strides, parts.numbers, strict=True)):
        copies[place : place + stride * number : stride or 1][:number] = q[token]
    for index, (count, held) in enumerate(zip(parts.counts, parts.held, strict=True)):
        mine = copies[parts.counts[:index].sum() :][:count]
        pages = parts.pages[parts.held[:index].sum() :][:held]
        every = torch.ones(count, held * 16, dtype=torch.bool, device=DEVICE)
        done.append(attended(mine, cache_of(pages, held * 16), every))
    out, log = (torch.cat(part) for part in zip(*own, strict=True))
    merge(
        out, log, *(torch.cat(part) for part in zip(*done, strict=True)),
        *(ints(array.tolist()) for array in (parts.places, parts.strides, parts.numbers)),
    )  # fmt: skip
    assert relative_error(out, torch.cat(wanted)) < ERROR


@pytest.mark.parametrize(
    ("counts", "depths"), [([100], [4000]), ([8000], [8192]), ([700] * 30, [6000] * 30), ([5], [0])]
)
def test_chunks_are_not_cut_where_it_gains_nothing(counts, depths):
    assert chunks(counts, depths, 16)[1] is None


def test_paged_prefill():
    heads, kv, dim, page = 4, 2, 64, 16
    lengths, counts = [5, 100, 77, 140], [5, 70, 3, 130]
    keys, values, starts, pages, row = paged(lengths, kv, dim, page)
    q = randn(sum(counts), heads, dim)
    blocks = [(index, start) for index, count in enumerate(counts) for start in range(0, count, BLOCK_Q)] + [(-1, 0)]
    query_starts = ints([0, *torch.tensor(counts).cumsum(0).tolist()])
    out = q.new_empty(sum(counts), heads * dim)
    paged_prefill(
        q,
        keys,
        values,
        ints([b[0] for b in blocks]),
        ints([b[1] for b in blocks]),
        query_starts,
        starts,
        pages,
        ints(lengths),
        out,
    )
    for index, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        k, v = row(index)
        mine = slice(int(query_starts[index]), int(query_starts[index + 1]))
        mask = torch.ones(count, length, dtype=torch.bool, device=DEVICE).tril(length - count)
        wanted = F.scaled_dot_product_attention(q[mine].float().transpose(0, 1), k, v, attn_mask=mask, enable_gqa=True)
        assert relative_error(out[mine].view(count, heads, dim), wanted.transpose(0, 1)) < ERROR


def test_the_benchmark_measures_kernels_that_agree_with_torch():
    shape = {
        "architectures": ["Qwen3ForCausalLM"], "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 80,
    }  # fmt: skip
    sizes = Sizes(rows=2, depth=8, prompt=5, deep=17, turn=3)
    measured = list(cases(ModelConfig.parse(shape), sizes, DTYPE, DEVICE))
    assert len(measured) == 14
    for case in measured:
        assert error(case) < ERROR, case.name
        assert (case.bytes > 0) != (case.operations > 0)


def test_the_larger_a_model_the_fewer_sizes_of_its_steps_are_worth_capturing():
    sizes = {}
    for name in ("qwen3-0.6b", "qwen3-8b"):
        with model_folder(name) as folder:
            sizes[name] = prompt_sizes(ModelConfig.load(Path(folder)))
    assert sizes["qwen3-0.6b"] == sorted(sizes["qwen3-0.6b"])
    assert sizes["qwen3-8b"] == [size for size in sizes["qwen3-0.6b"] if size <= 768]

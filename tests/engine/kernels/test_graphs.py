"""Steps as CUDA graphs against the same steps launched one operator after another.

Without a GPU nothing can be captured: there a graph stands for the function that it would have recorded, called again
on the same places, and plain torch for FlashInfer (mocks). What is tested is all around: places, padding, plans, how
prefixes are cut, what a step leaves in the places.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import Mock

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from agenthost.engine.attention import cut
from agenthost.engine.attention.base import StepLayout
from agenthost.engine.attention.paged import PagedAttention
from agenthost.engine.kernels import paged_decode
from agenthost.engine.models.config import ModelConfig
from agenthost.engine.models.decoder import Decoder
from agenthost.engine.parallel.group import ALONE
from agenthost.engine.request import SamplingParams
from agenthost.engine.runner import graphs
from agenthost.engine.runner.graphs import StepGraphs
from agenthost.engine.runner.step import ON_DEVICE, Step
from agenthost.engine.sampling.sampler import Sampler

from .device import CUDA, DEVICE, DTYPE

CLOSE: dict[str, Any] = {"rtol": 2e-2, "atol": 5e-2} if CUDA else {"rtol": 1e-4, "atol": 1e-4}
PAGE, SLOTS, PAGES = 16, 5, 60
CONFIG = ModelConfig.parse(
    {
        "architectures": ["Qwen3ForCausalLM"], "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 48,
    }
)  # fmt: skip


class Wrapper:
    """In the place of FlashInfer's, by plain torch; in a graph it attends as it was planned last, as theirs does."""

    def __init__(self, workspace, layout, backend, use_cuda_graph=False, **buffers) -> None:
        self._rows = len(buffers["qo_indptr_buf"]) - 1 if use_cuda_graph else None
        self._most = 0

    def plan(self, queries, held, pages, last, heads, kv_heads, dim, page, causal, **options) -> None:
        assert self._rows in (None, len(queries) - 1)
        self._most = self._most or int(queries[-1])
        assert self._rows is None or queries[-1] <= self._most, "the largest plan comes first"
        lengths = (held.diff() - 1) * page + last
        self._planned = queries.tolist(), held.tolist(), pages.clone(), lengths.tolist(), causal

    def run(self, q, cache, out, return_lse=False):
        queries, held, pages, lengths, causal = self._planned
        log = torch.full(q.shape[:2], torch.nan)
        for row, length in enumerate(lengths):
            mine, where = slice(queries[row], queries[row + 1]), pages[held[row] : held[row + 1]].long()
            count = mine.stop - mine.start
            if not count:
                continue
            k, v = (part[where].transpose(1, 2).flatten(0, 1)[:length] for part in cache)
            group = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
            scores = torch.einsum("qhd,khd->qhk", q[mine], k) * q.shape[-1] ** -0.5
            if causal:
                later = torch.ones(count, length, dtype=torch.bool).triu(length - count + 1)
                scores.masked_fill_(later[:, None], -torch.inf)
            out[mine] = torch.einsum("qhk,khd->qhd", scores.softmax(-1), v)
            log[mine] = scores.logsumexp(-1) / np.log(2)
        return (out, log) if return_lse else out


class Recorded:
    """A graph of nothing but the function."""

    alive: ClassVar[set[Recorded]] = set()

    def __init__(self, work, outputs) -> None:
        self._work, self._outputs = work, outputs
        self.alive.add(self)

    def reset(self) -> None:
        self.alive.remove(self)

    def replay(self) -> None:
        with torch.inference_mode():
            for output, new in zip(self._outputs, _tensors(self._work(None)), strict=True):
                output.copy_(new)


def _tensors(result):
    return result if isinstance(result, tuple) else (result,)


class FunctionGraphs(StepGraphs):
    """Graphs where there is no CUDA."""

    @torch.inference_mode()
    def _record(self, work):  # pyright: ignore[reportIncompatibleMethodOverride] (a mock)
        result = work(None)
        attention, used = self._attention, dict(vars(self._attention))

        def again(layers):
            now = dict(vars(attention))
            vars(attention).update(used)  # what a graph reads it has read since it was captured
            try:
                return work(layers)
            finally:
                vars(attention).update(now)

        return Recorded(again, _tensors(result)), result


def paged(make) -> PagedAttention:
    sizes = {"max_rows": SLOTS, "max_pages": SLOTS * 20}
    return make(CONFIG.kv_groups[0], CONFIG.num_heads, PAGES, PAGE, DTYPE, DTYPE, DEVICE, **sizes)


def flashinfer(monkeypatch):
    """Its class with our own stand-in for the library, where all rows of some pages are cut."""
    library = ModuleType("flashinfer.prefill")
    library.BatchPrefillWithPagedKVCacheWrapper = Wrapper  # pyright: ignore[reportAttributeAccessIssue]
    library.get_batch_prefill_module = lambda *args: None  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "flashinfer", ModuleType("flashinfer"))
    monkeypatch.setitem(sys.modules, "flashinfer.prefill", library)
    monkeypatch.setattr(torch.cuda, "Event", Mock)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Mock(multi_processor_count=4))
    for name, value in {"_DEEP": 32, "_SHORTEST": 16, "_TILE": 8}.items():
        monkeypatch.setattr(cut, name, value)
    from agenthost.engine.attention.flashinfer import FlashInferAttention

    return partial(FlashInferAttention, prefill="fa3")


@pytest.fixture(params=[pytest.param("triton", marks=() if CUDA else pytest.mark.slow), "flashinfer"])
def parts(monkeypatch, request):
    """A decoder, its attention, a sampler, newest tokens, and what captures steps of these."""
    torch.manual_seed(0)
    if request.param == "triton":
        make = PagedAttention
    elif CUDA:
        pytest.skip("the library itself is tested by what a model says")
    else:
        make = flashinfer(monkeypatch)
    decoder = Decoder(CONFIG, ALONE, 400, DTYPE, DEVICE).to(DEVICE, DTYPE)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    monkeypatch.setattr(paged_decode, "_PROGRAMS", 4)  # so that rows of all lengths here are cut, or not
    attention = paged(make)
    attention.cache.normal_()
    sampler = Sampler(SLOTS, CONFIG.vocab_size, DEVICE)
    newest = torch.full((SLOTS + 1,), 7, dtype=torch.int64, device=DEVICE)
    kind = StepGraphs
    if not CUDA:
        kind = FunctionGraphs
        monkeypatch.setattr(graphs, "borrowed", lambda tensor: tensor)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
        monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    return decoder, attention, sampler, newest, partial(kind, decoder, attention, sampler, newest)


def step_of(rows, tables, sampling=None) -> Step:
    """Rows of (slot, depth, tokens or None for the newest); all sample where nothing else is said."""
    slots, depths = (np.array([row[index] for row in rows]) for index in (0, 1))
    counts = np.array([1 if row[2] is None else len(row[2]) for row in rows])
    ids = [id for row in rows for id in (row[2] if row[2] is not None else [ON_DEVICE])]
    sampling = np.arange(len(rows)) if sampling is None else np.array(sampling, np.int64)
    layout = StepLayout(depths, counts, tables[slots, : -(-(depths + counts).max() // PAGE)])
    return Step(slots, layout, np.array(ids), sampling, np.zeros(len(sampling), np.int64))


def launched_one_by_one(step: Step, decoder, attention, newest) -> torch.Tensor:
    ids = torch.tensor(step.ids, device=DEVICE)
    layout = step.layout
    known = torch.where(ids < 0, newest[torch.from_numpy(step.slots[layout.rows]).to(DEVICE)], ids).int()
    attention.prepare(layout)
    wanted = torch.from_numpy(np.cumsum(layout.counts)[step.sampling] - 1).to(DEVICE)
    return decoder(known, torch.from_numpy(layout.positions).to(DEVICE), wanted, attention.forward)


@torch.inference_mode()
def test_captured_steps_are_the_steps(parts):
    decoder, attention, sampler, newest, capture = parts
    captured = capture([1, 4], [16, 64], lambda: None)
    plain = paged(PagedAttention)
    plain.cache = attention.cache
    assert newest[:SLOTS].tolist() == [7] * SLOTS, "capturing draws for nobody"
    draw = random.Random(0)
    tables = np.array(draw.sample(range(1, PAGES + 1), SLOTS * 12)).reshape(SLOTS, 12).astype(np.int32)
    prompt = [draw.randrange(97) for _ in range(150)]
    for slot in range(SLOTS):
        params = SamplingParams(temperature=0.0 if slot % 2 else 1.0, top_p=0.8 if slot == 2 else 1.0)
        sampler.admit(slot, params, slot, [], [1], 1)
    steps = [
        step_of([(3, 0, prompt[:20])], tables, []),
        step_of([(0, 0, prompt[:9]), (3, 20, prompt[20:60])], tables),
        step_of([(3, 60, None), (0, 9, None), (2, 0, prompt[:1]), (4, 0, prompt[:33])], tables, [0, 1, 3]),
        step_of([(3, 61, None), (4, 33, None), (0, 10, None), (2, 1, prompt[1:2])], tables, [0, 1, 2]),
        step_of([(3, 62, None)], tables),
        step_of([(3, 63, None), (4, 34, prompt[:20]), (0, 11, prompt[:5])], tables),  # the second is cut
    ]
    assert not captured.fits(step_of([(0, 100, [1] * 65)], tables))
    assert not captured.fits(step_of([(slot % 5, 3, [1, 2]) for slot in range(graphs.MOST_PROMPTS + 1)], tables))
    for step in steps:
        assert captured.fits(step)
        before = attention.cache.clone()
        wanted = launched_one_by_one(step, decoder, plain, newest) if len(step.sampling) else None
        after = attention.cache.clone()
        if wanted is not None:
            attention.cache.copy_(before)
        launched = captured.run(step)
        if wanted is None:
            assert launched.logits is None
            continue
        assert launched.logits is not None
        torch.testing.assert_close(launched.logits.float(), wanted.float(), **CLOSE)
        torch.testing.assert_close(attention.cache[:, :, 1:], after[:, :, 1:], **CLOSE)
        slots = step.slots[step.sampling]
        others = newest.clone()
        if launched.draw is not None:
            tokens = launched.draw(bool((slots == 2).any()))
            assert tokens.tolist() == newest[torch.from_numpy(slots).to(DEVICE)].tolist()
            greedy = launched.logits.argmax(-1)
            assert all(token == best for token, best, slot in zip(tokens, greedy, slots, strict=True) if slot % 2)
        else:
            newest[torch.from_numpy(slots).to(DEVICE)] = launched.logits.argmax(-1)
        others[torch.from_numpy(slots).to(DEVICE)] = newest[torch.from_numpy(slots).to(DEVICE)]
        assert newest[:SLOTS].tolist() == others[:SLOTS].tolist(), "nobody else's newest token changes"
    assert vars(attention).get("_cut", True) is not None, "the last step's prefix was cut"


@pytest.mark.skipif(CUDA, reason="real graphs do not tell whether they are there")
def test_nothing_captured_outlives_a_capture_that_fails(parts):
    *_, capture = parts
    Recorded.alive.clear()
    with pytest.raises(RuntimeError, match="no memory"):
        capture([1, 2], [16], Mock(side_effect=[None, RuntimeError("no memory")]))
    assert not Recorded.alive

"""The sampler, alone on made-up logits and through the scheduler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from agenthost.engine.request import SamplingParams
from agenthost.engine.sampling.sampler import Sampler, SamplingRows

VOCABULARY = 12
CPU = torch.device("cpu")


def sample(logits, params, *, seeds=None, position=0, produced=0, ends=(), prompt=(0,), output=()):
    """One token for each row; row i uses slot i."""
    logits = torch.as_tensor(logits, dtype=torch.float32)
    rows = len(logits)
    sampler = Sampler(rows + 3, logits.shape[1], CPU)
    each = params if isinstance(params, list) else [params] * rows
    for slot, one in enumerate(each):
        sampler.admit(slot, one, seeds[slot] if seeds else slot, list(ends), [*prompt, *output], len(prompt))
    where = SamplingRows(np.arange(rows), np.full(rows, position), np.full(rows, produced))
    return sampler.sample(logits, where, torch.zeros(rows + 4, dtype=torch.int64))


def draws(logits, count=4000, **params):
    """Relative frequencies of ``count`` samples of the same logits."""
    tokens = sample([logits] * count, SamplingParams(**params)).tokens
    return torch.bincount(tokens, minlength=len(logits)).double() / count


LOGITS = [2.0, 1.0, 0.5, 0.0, -1.0, -3.0]
PROBABILITIES = torch.tensor(LOGITS, dtype=torch.float64).softmax(-1)


def assert_close_to(frequencies, probabilities):
    """Within five standard deviations of 4,000 draws."""
    bound = 5 * (probabilities * (1 - probabilities) / 4000).sqrt() + 1e-9
    assert bool(((frequencies - probabilities).abs() <= bound).all()), (frequencies, probabilities)


def test_temperature_one_follows_the_distribution():
    assert_close_to(draws(LOGITS), PROBABILITIES)


def test_temperature_sharpens():
    assert_close_to(draws(LOGITS, temperature=0.5), (torch.tensor(LOGITS).double() / 0.5).softmax(-1))


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        ({"top_k": 2}, 2),
        ({"top_k": -1}, 6),
        ({"top_p": 0.5}, 1),  # the first alone has 0.58
        ({"top_p": 0.7}, 2),
        ({"min_p": 0.2}, 3),  # 0.5 / 2.0 in logits is a ratio of 0.22
        ({"top_k": 3, "top_p": 0.7, "min_p": 0.01}, 2),
    ],
)
def test_truncation_keeps_the_head_and_renormalises(params, kept):
    expected = PROBABILITIES.clone()
    expected[kept:] = 0
    assert_close_to(draws(LOGITS, **params), expected / expected.sum())


def test_zero_temperature_is_greedy_beside_random_rows():
    params = [SamplingParams(temperature=0.0), SamplingParams(), SamplingParams(temperature=0.0, top_p=0.1)]
    tokens = sample([LOGITS] * 3, params).tokens.tolist()
    assert tokens[0] == tokens[2] == 0


def test_a_seeded_row_does_not_depend_on_its_batch():
    row = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(1)).tolist()
    alone = [sample([row], SamplingParams(), seeds=[7], position=place).tokens.item() for place in range(40)]
    others = [SamplingParams(top_k=3), SamplingParams(temperature=0.0), SamplingParams(presence_penalty=1.0)]
    for place in range(40):
        noise = torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(place)).tolist()
        batch = sample([*noise, row], [*others, SamplingParams()], seeds=[1, 2, 3, 7], position=place)
        assert batch.tokens[3] == alone[place]
    assert len(set(alone)) > 3, "positions must differ"


def test_seeds_differ():
    tokens = sample([[0.0] * VOCABULARY] * 50, SamplingParams(), seeds=list(range(50))).tokens
    assert len(set(tokens.tolist())) > 8


def test_penalties_follow_their_definitions():
    params = SamplingParams(temperature=0.0, presence_penalty=0.5, frequency_penalty=0.25, logprobs=0)
    # Token 0 was produced three times: 2.0 - 0.5 - 3 * 0.25 = 0.75, below token 1's 1.0.
    assert sample([LOGITS], params, output=[0, 0, 0]).tokens.item() == 1
    assert sample([LOGITS], params, output=[0]).tokens.item() == 0
    repetition = SamplingParams(temperature=0.0, repetition_penalty=2.5)
    assert sample([LOGITS], repetition, prompt=[0]).tokens.item() == 1, "2.0 / 2.5 is below 1.0"
    negative = [-1.0, -2.0, -9.0]
    assert sample([negative], repetition, prompt=[0]).tokens.item() == 1, "-1.0 * 2.5 is below -2.0"


def test_penalties_count_what_is_sampled():
    sampler = Sampler(2, len(LOGITS), CPU)
    sampler.admit(1, SamplingParams(temperature=0.0, frequency_penalty=0.6), 0, [], [5], 1)
    rows = SamplingRows(np.array([1]), np.array([0]), np.array([0]))
    newest = torch.zeros(3, dtype=torch.int64)
    tokens = [sampler.sample(torch.tensor([LOGITS]), rows, newest).tokens.item() for _ in range(4)]
    assert newest.tolist() == [0, 0, 0]
    assert tokens == [0, 0, 1, 0], "2.0, 1.4, then 0.8 < 1.0, then 1.0 - 0.6 < 0.8"


def test_bias_moves_one_row_only():
    params = [SamplingParams(temperature=0.0, logit_bias={4: 100.0}), SamplingParams(temperature=0.0)]
    assert sample([LOGITS] * 2, params).tokens.tolist() == [4, 0]


def test_no_end_before_min_tokens():
    params = SamplingParams(temperature=0.0, min_tokens=3)
    assert sample([LOGITS], params, ends=[0], produced=2).tokens.item() == 1
    assert sample([LOGITS], params, ends=[0], produced=3).tokens.item() == 0


def test_logprobs_are_the_models_own():
    params = [SamplingParams(temperature=0.3, top_k=1, logprobs=2), SamplingParams(), SamplingParams(logprobs=0)]
    sampled = sample([LOGITS] * 3, params)
    assert sampled.logprobs is not None
    logprobs = sampled.logprobs.by_row()
    assert list(logprobs) == [0, 2]
    first, last = logprobs.values()
    assert first.logprob == pytest.approx(math.log(PROBABILITIES[0]))
    assert [token for token, _ in first.top] == [0, 1]
    assert first.top[1][1] == pytest.approx(math.log(PROBABILITIES[1]))
    assert last.top == []


def test_a_token_without_probability_is_never_drawn():
    logits = [0.0, -math.inf, 0.0, -math.inf]
    frequencies = draws(logits)
    assert frequencies[1] == frequencies[3] == 0


def test_sampled_requests_repeat_with_their_seed_in_any_company(serving):
    def outputs(company: int) -> list[int]:
        server = serving()
        server.submit("seeded", [1, 2, 3], temperature=1.0, seed=5, max_tokens=12, ignore_eos=True)
        for number in range(company):
            server.submit(str(number), [number, 4], temperature=1.0, max_tokens=9)
        server.run()
        return server.outputs["seeded"]

    assert outputs(0) == outputs(3) == outputs(1)


def test_logprobs_come_with_their_tokens(reference, serving):
    server = serving()
    server.submit("a", [1, 2, 3], logprobs=3, max_tokens=6, ignore_eos=True)
    server.submit("b", [1, 2, 9], max_tokens=6, ignore_eos=True)
    server.run()
    rows = reference.logits([1, 2, 3, *server.outputs["a"]])[2:-1].log_softmax(-1)
    assert len(server.logprobs["a"]) == 6
    assert server.logprobs["b"] == []
    for row, token, logprob in zip(rows, server.outputs["a"], server.logprobs["a"], strict=True):
        assert logprob.logprob == pytest.approx(float(row[token]), abs=2e-3)
        assert [top for top, _ in logprob.top] == row.topk(3).indices.tolist()

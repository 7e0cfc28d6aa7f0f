"""The offline API."""

from __future__ import annotations

import pytest
from agenthost.engine import LLM, SamplingParams, Tokenizer
from agenthost.engine.errors import InvalidRequest


@pytest.fixture(scope="module")
def llm(reference):
    with LLM(str(reference.folder), dtype="float32", kv_tokens=4000, debug=True) as llm:
        yield llm


GREEDY = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True)


def test_batches_keep_their_order_and_their_own_parameters(reference, llm):
    prompts = [list(range(start, start + 10)) for start in (0, 40, 90)]
    lengths = [3, 9, 5]
    params = [SamplingParams(temperature=0.0, max_tokens=most, ignore_eos=True) for most in lengths]
    generations = llm.generate(prompts, params)
    assert [len(one.completions[0].token_ids) for one in generations] == lengths
    for prompt, one in zip(prompts, generations, strict=True):
        assert one.prompt_token_ids == prompt
        assert reference.disagreement(prompt, one.completions[0].token_ids) < 2e-3


def test_text_and_ids_are_the_same_prompt(llm):
    ids = llm.tokenizer.encode("hello")
    assert llm.generate("hello", GREEDY)[0].completions == llm.generate(ids, GREEDY)[0].completions
    assert llm.generate("hello", GREEDY)[0].cached_tokens == len(ids) - 1


def test_text_begins_with_the_models_bos(llm, byte_fallback_folder, monkeypatch):
    monkeypatch.setattr(llm, "tokenizer", Tokenizer.load(byte_fallback_folder))
    assert llm.generate("", GREEDY)[0].prompt_token_ids == [llm.tokenizer.bos] == [1]


def test_n_outputs_share_the_prompt_and_differ_by_seed(llm):
    params = SamplingParams(temperature=1.0, max_tokens=12, seed=3, ignore_eos=True)
    first, again = (llm.generate("hello", params, n=4)[0] for _ in range(2))
    assert len({completion.text for completion in first.completions}) > 1
    assert first.completions == again.completions


def test_a_bad_prompt_raises_and_leaves_the_model_usable(llm):
    with pytest.raises(InvalidRequest):
        llm.generate(["fine", [99999]], GREEDY)
    assert len(llm.generate("fine", GREEDY)[0].completions[0].token_ids) == 8


def test_more_prompts_than_may_wait_are_served_all_the_same(reference):
    with LLM(str(reference.folder), dtype="float32", kv_tokens=4000, max_waiting=2, max_running=2) as llm:
        assert len(llm.generate([[number] for number in range(20)], GREEDY)) == 20

"""Continuous batching: whatever happens around a request, its greedy output is what the model says."""

from __future__ import annotations

import random
import time

import pytest
from agenthost.engine.errors import ContextOverflow, DeadlineExceeded, EngineError, InvalidRequest, Overloaded
from agenthost.engine.request import Request, SamplingParams
from agenthost.engine.scheduler.events import Failed, Produced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TOLERANCE = 2e-3  # a token may differ from the reference's best only where the reference prefers it by less than this


def prompt(seed: int, length: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(256) for _ in range(length)]


def assert_outputs_are_the_models(reference, server, prompts):
    for name, finish in server.finished.items():
        if finish in ("stop", "length"):
            worst = reference.disagreement(prompts[name], server.outputs[name])
            assert worst < TOLERANCE, f"request {name} differs from the reference by {worst} logits"


# What happens to a server: a request that continues one of a few common prefixes, an abort, or some steps.
REQUESTS = st.tuples(
    st.just("submit"),
    st.integers(0, 2),  # which common text
    st.integers(0, 40),  # how much of it
    st.integers(1, 12),  # own tokens after it
    st.integers(1, 14),  # max_tokens
    st.sampled_from(["", "", "salt"]),
)
EVENTS = st.lists(
    st.one_of(REQUESTS, st.tuples(st.just("abort"), st.integers(0, 30)), st.tuples(st.just("step"), st.integers(1, 4))),
    min_size=1,
    max_size=40,
)


def play(reference, serving, events, **options):
    server = serving(**options)
    texts = [prompt(seed, 40) for seed in range(3)]
    prompts: dict[str, list[int]] = {}
    for number, event in enumerate(events):
        if event[0] == "submit":
            _, text, shared, own, most, salt = event
            name = str(number)
            prompts[name] = texts[text][:shared] + prompt(number + 100, own)
            server.submit(name, prompts[name], max_tokens=most, cache_salt=salt, ignore_eos=number % 2 == 0)
        elif event[0] == "abort":
            if prompts:
                server.scheduler.abort(list(prompts)[event[1] % len(prompts)])
        else:
            for _ in range(event[1]):
                server.step()
    server.run()
    assert_outputs_are_the_models(reference, server, prompts)
    assert server.cache.num_available == server.cache.num_pages, "pages are still referenced after the last request"
    server.cache.clear()
    assert server.cache.num_free == server.cache.num_pages
    return server


@pytest.mark.parametrize("overlap", [False, True], ids=["sync", "overlap"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, pages=st.sampled_from([32, 40, 90]), busy=st.sampled_from([1, 7, 40]), share=st.booleans())
def test_any_history_gives_the_models_outputs_and_loses_no_page(
    reference, serving, overlap, events, pages, busy, share
):
    play(reference, serving, events, overlap=overlap, pages=pages, busy=float(busy), idle=2.0 * busy, share=share)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("overlap", [False, True], ids=["sync", "overlap"])
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, pages=st.sampled_from([32, 40, 90]), busy=st.sampled_from([1, 7, 40]), share=st.booleans())
def test_any_history_at_length(reference, serving, overlap, events, pages, busy, share):
    play(reference, serving, events, overlap=overlap, pages=pages, busy=float(busy), idle=2.0 * busy, share=share)


@pytest.mark.parametrize("overlap", [False, True], ids=["sync", "overlap"])
def test_sequences_are_retracted_when_pages_run_out_and_resume(reference, serving, overlap):
    server = serving(pages=32, max_model_len=100, overlap=overlap)
    prompts = {str(seed): prompt(seed, 20) for seed in range(4)}
    for name, tokens in prompts.items():
        server.submit(name, tokens, max_tokens=60, ignore_eos=True)
    server.run()
    assert server.scheduler.counters.retractions > 0
    assert [len(server.outputs[name]) for name in prompts] == [60] * 4
    assert_outputs_are_the_models(reference, server, prompts)


def test_prompt_and_output_are_reused_to_the_last_token(reference, serving):
    server = serving()
    first = prompt(1, 21)
    server.submit("first", first, max_tokens=9, ignore_eos=True)
    server.run()
    turn = first + server.outputs["first"] + prompt(2, 5)
    server.submit("second", turn)
    server.run()
    # The last token of an output was never fed back, so its KV does not exist.
    assert server.cached["second"] == 21 + 9 - 1
    assert_outputs_are_the_models(reference, server, {"first": first, "second": turn})


def test_an_equal_prompt_computes_one_token(serving):
    server = serving()
    server.submit("a", prompt(1, 30))
    server.run()
    server.submit("b", prompt(1, 30))
    server.run()
    assert server.cached["b"] == 29
    assert server.outputs["a"] == server.outputs["b"]


def test_salts_share_nothing(serving):
    server = serving()
    server.submit("a", prompt(1, 30), cache_salt="one")
    server.run()
    server.submit("b", prompt(1, 30), cache_salt="two")
    server.run()
    assert server.cached["b"] == 0


def test_requests_that_arrive_together_compute_a_common_prefix_once(serving):
    server = serving(idle=16.0, max_model_len=200, pages=200)
    common = prompt(1, 80)
    for number in range(4):
        server.submit(str(number), [*common, number], max_tokens=2)
    server.run()
    assert [server.cached[str(number)] for number in range(4)] == [0, 80, 80, 80]


def test_a_decode_gets_its_token_in_every_step_beside_a_long_prompt(serving):
    server = serving(busy=6.0, max_model_len=300, pages=200)
    server.submit("short", prompt(1, 4), max_tokens=90, ignore_eos=True)
    server.step()
    server.submit("long", prompt(2, 120), max_tokens=1)
    before = len(server.outputs["short"])
    steps = 0
    while "long" not in server.finished:
        server.step()
        steps += 1
    assert steps > 15, "the long prompt was not cut"
    assert len(server.outputs["short"]) - before == steps


def test_lower_priority_numbers_run_first(serving):
    server = serving(slots=1)
    server.submit("running", prompt(0, 4), max_tokens=3, ignore_eos=True)
    server.step()
    for name, priority in (("late", 5), ("early", -5), ("middle", 0)):
        server.submit(name, prompt(priority, 4), max_tokens=1, priority=priority)
    server.run()
    assert [name for name in server.finished if name != "running"] == ["early", "middle", "late"]


@pytest.mark.parametrize("overlap", [False, True], ids=["sync", "overlap"])
def test_max_tokens_ends_exactly_and_eos_ends_at_once(reference, serving, overlap):
    server = serving(overlap=overlap)
    server.submit("length", prompt(5, 10), max_tokens=5, ignore_eos=True)
    server.run()
    assert server.finished["length"] == "length"
    assert len(server.outputs["length"]) == 5
    stop = server.outputs["length"][2]
    expected = server.outputs["length"][: server.outputs["length"].index(stop) + 1]
    server.submit("stop", prompt(5, 10), max_tokens=50, ignore_eos=True, stop_token_ids=(stop,))
    server.run()
    assert server.outputs["stop"] == expected
    assert server.finished["stop"] == "stop"


@pytest.mark.parametrize("overlap", [False, True], ids=["sync", "overlap"])
def test_abort_at_any_moment_is_silent_and_idempotent(serving, overlap):
    for steps in range(6):
        server = serving(overlap=overlap, busy=8.0, idle=8.0)
        server.submit("gone", prompt(1, 30), max_tokens=30, ignore_eos=True)
        server.submit("stays", prompt(2, 5), max_tokens=4, ignore_eos=True)
        for _ in range(steps):
            server.step()
        told = len(server.outputs.get("gone", []))
        server.scheduler.abort("gone")
        server.scheduler.abort("gone")
        server.run()
        assert len(server.outputs.get("gone", [])) == told
        assert "gone" not in server.finished
        assert server.finished["stays"] == "length"
        server.scheduler.abort("stays")


@pytest.mark.parametrize(
    ("kind", "tokens", "sampling", "words"),
    [
        (InvalidRequest, [], {}, "empty"),
        (InvalidRequest, [5, 9999], {}, "token id outside 0..264"),
        (InvalidRequest, [-1], {}, "token id outside"),
        (ContextOverflow, [1] * 200, {}, "maximum context length is 120 tokens"),
        (ContextOverflow, [1] * 100, {"max_tokens": 21}, "maximum context length is 120 tokens"),
        (InvalidRequest, [1], {"max_tokens": 0}, "max_tokens must be at least 1"),
        (InvalidRequest, [1], {"temperature": float("nan")}, "temperature"),
        (InvalidRequest, [1], {"top_p": 0.0}, "top_p"),
        (InvalidRequest, [1], {"logit_bias": {265: 1.0}}, "logit_bias"),
        (InvalidRequest, [1], {"logprobs": 21}, "logprobs"),
        (InvalidRequest, [1], {"repetition_penalty": 0.0}, "repetition_penalty"),
        (DeadlineExceeded, [1], {"deadline": 1.0}, "deadline"),
    ],
)
def test_a_bad_request_fails_alone(reference, serving, kind, tokens, sampling, words):
    server = serving()
    good = prompt(1, 10)
    server.submit("good", good)
    server.submit("bad", tokens, **sampling)
    server.run()
    error = server.finished["bad"]
    assert isinstance(error, kind)
    assert words in str(error)
    assert_outputs_are_the_models(reference, server, {"good": good})


def test_a_deadline_ends_a_running_request(serving):
    server = serving()
    server.submit("late", prompt(1, 4), max_tokens=100, ignore_eos=True, deadline=time.time() + 0.05)
    server.run(most=10**6)
    assert isinstance(server.finished["late"], DeadlineExceeded)


def test_a_step_walks_neither_all_that_wait_nor_all_that_live(serving):
    class Queue(list):
        def __iter__(self):
            raise AssertionError("all that wait were walked")

    class Requests(dict):
        def values(self):
            raise AssertionError("all that live were walked")

    server = serving()
    server.scheduler.planner.waiting = Queue()
    server.scheduler._alive = Requests()
    for number in range(80):
        server.submit(str(number), prompt(number, 4), max_tokens=2)
    server.run()
    assert len(server.finished) == 80


def test_too_many_waiting_requests_are_refused(serving):
    server = serving(max_waiting=3, slots=1)
    for number in range(6):
        server.submit(str(number), prompt(number, 4), max_tokens=2)
    server.run()
    assert [isinstance(server.finished[str(number)], Overloaded) for number in range(6)] == [False] * 3 + [True] * 3


def test_an_id_in_use_is_refused_and_the_first_request_goes_on(serving):
    server = serving()
    server.submit("a", prompt(1, 4), max_tokens=5, ignore_eos=True)
    server.step()
    server.scheduler.submit(Request(id="a", prompt=[1], sampling=SamplingParams(max_tokens=1)))
    events = [event for _ in range(10) for event in server.scheduler.step()]
    assert isinstance(next(event.error for event in events if isinstance(event, Failed)), InvalidRequest)
    assert [event.output.finish_reason for event in events if isinstance(event, Produced)][-1] == "length"


def test_a_failing_step_ends_only_the_request_that_causes_it(reference, serving, monkeypatch):
    server = serving()
    prompts = {str(seed): prompt(seed, 12) for seed in range(3)}
    poison = 255
    prompts["poison"] = [*prompt(9, 6), poison, 3]
    forward = server.runner.forward

    def fragile(step):
        if poison in step.ids:
            raise RuntimeError("planted")
        return forward(step)

    monkeypatch.setattr(server.runner, "forward", fragile)
    for name, tokens in prompts.items():
        server.submit(name, [token if token != poison or name == "poison" else 0 for token in tokens], max_tokens=6)
    clean = {name: [t if t != poison else 0 for t in tokens] for name, tokens in prompts.items() if name != "poison"}
    server.run()
    assert isinstance(server.finished["poison"], EngineError)
    assert {server.finished[name] for name in clean} <= {"stop", "length"}
    assert_outputs_are_the_models(reference, server, clean)


def test_after_a_failed_step_requests_run_together_again(reference, serving, monkeypatch):
    server = serving()
    prompts = {str(seed): prompt(seed, 12) for seed in range(3)}
    forward, batches = server.runner.forward, []

    def failing_once(step):
        batches.append(len(step.slots))
        if len(batches) == 4:
            raise RuntimeError("planted")
        return forward(step)

    monkeypatch.setattr(server.runner, "forward", failing_once)
    for name, tokens in prompts.items():
        server.submit(name, tokens, max_tokens=20, ignore_eos=True)
    server.run()
    assert_outputs_are_the_models(reference, server, prompts)
    assert 1 in batches[4:8]
    assert batches[8:].count(3) >= 10, batches


def test_a_long_shared_edge_does_not_stand_in_its_own_way(serving):
    """The page to copy from lies in an edge that fills most of the memory that the newcomer needs."""
    server = serving(pages=64, max_model_len=250, idle=1000.0)
    first = prompt(1, 150)
    server.submit("first", first, max_tokens=1)
    server.run()
    server.submit("second", [*first[:2], *prompt(2, 240)], max_tokens=1)
    server.run()
    assert server.finished["second"] in ("stop", "length")


def test_every_budget_makes_progress(serving):
    server = serving(busy=1.0, idle=1.0)
    server.submit("decoding", prompt(1, 4), max_tokens=60, ignore_eos=True)
    server.step()
    server.submit("long", prompt(2, 60), max_tokens=1)
    server.run(most=100)
    assert set(server.finished) == {"decoding", "long"}


def test_usage_is_counted_once_however_often_a_request_is_retracted(serving):
    server = serving(pages=32, max_model_len=100)
    for seed in range(4):
        server.submit(str(seed), prompt(seed, 20), max_tokens=60, ignore_eos=True)
    server.run()
    assert server.scheduler.counters.retractions > 0
    assert server.scheduler.counters.prompt_tokens == 80
    assert set(server.cached.values()) == {0}

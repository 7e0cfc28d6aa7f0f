"""How many threads small CPU steps take follows from how long they take."""

import time
from types import SimpleNamespace

import pytest
import torch
from agenthost.engine.runner import threads as module
from agenthost.engine.runner.threads import StepThreads


@pytest.fixture
def machine(monkeypatch):
    """Four threads, and a clock that a step moves by what it takes with the threads it has."""
    state = SimpleNamespace(threads=4, now=0.0, used=[])
    monkeypatch.setattr(torch, "get_num_threads", lambda: state.threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: setattr(state, "threads", count))
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: state.now), raising=True)
    assert time.perf_counter() > 0  # only the module's clock is replaced
    return state


def run(machine, threads, steps, seconds, tokens=1):
    for _ in range(steps):
        with threads.of_step(tokens):
            machine.used.append(machine.threads)
            machine.now += seconds[machine.threads]
    return machine.used[-steps:]


def test_an_idle_machine_uses_all_threads(machine):
    used = run(machine, StepThreads(10**7), 2000, {4: 0.01, 1: 0.02})
    assert used.count(1) <= 8


def test_a_busy_machine_uses_one_and_returns_to_all_when_it_is_idle_again(machine):
    threads = StepThreads(10**7)
    run(machine, threads, 100, {4: 0.01, 1: 0.02})
    busy = run(machine, threads, 1000, {4: 0.2, 1: 0.025})
    assert busy[:3].count(1) >= 1
    assert busy[3:].count(4) <= 8
    idle = run(machine, threads, 2000, {4: 0.01, 1: 0.02})
    assert idle[1100:].count(1) <= 8


def test_sizes_are_learned_apart_and_large_steps_always_use_all_threads(machine):
    threads = StepThreads(10**7)
    run(machine, threads, 100, {4: 0.2, 1: 0.02})
    assert run(machine, threads, 1, {4: 0.2, 1: 0.02}) == [1]
    assert run(machine, threads, 50, {4: 0.2, 1: 0.02}, tokens=1000) == [4] * 50


def test_a_step_that_fails_gives_all_threads_back(machine):
    threads = StepThreads(10**7)
    with pytest.raises(RuntimeError), threads.of_step(1):
        raise RuntimeError("the step")
    assert machine.threads == 4

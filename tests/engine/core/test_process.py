"""The engine process behind its handle: start, streams, errors, death and restart."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import zmq
from agenthost.engine import AsyncEngine, EngineConfig, Request, SamplingParams, client, worker
from agenthost.engine.errors import ContextOverflow, EngineDied, InvalidConfig, InvalidRequest, ModelNotFound
from agenthost.engine.scheduler.events import Load

from .conftest import tokens_of


def config(reference, **options):
    return EngineConfig(model=str(reference.folder), dtype="float32", kv_tokens=2000, max_running=8, **options)


def request(name: str, prompt: list[int], **sampling: Any) -> Request:
    sampling.setdefault("temperature", 0.0)
    return Request(id=name, prompt=prompt, sampling=SamplingParams(**sampling))


def test_concurrent_streams_are_the_models_outputs(reference):
    rng = random.Random(0)
    prompts = [[rng.randrange(256) for _ in range(rng.randint(1, 100))] for _ in range(20)]

    async def main():
        async with AsyncEngine(config(reference)) as engine:
            info = await engine.ready()
            assert (info.dtype, info.vocab_size, info.eos_token_ids) == ("float32", 265, [257])

            async def one(number):
                return await tokens_of(await engine.submit(request(str(number), prompts[number], max_tokens=10)))

            outputs = await asyncio.gather(*(one(number) for number in range(20)))
            assert engine.num_requests == 0
            return outputs

    for prompt, output in zip(prompts, asyncio.run(main()), strict=True):
        assert reference.disagreement(prompt, output) < 2e-3


def test_bad_requests_are_refused_before_they_stream(reference):
    async def main():
        async with AsyncEngine(config(reference)) as engine:
            with pytest.raises(InvalidRequest, match="empty"):
                await engine.submit(request("a", []))
            with pytest.raises(ContextOverflow, match="maximum context length is 512 tokens"):
                await engine.submit(request("b", [1] * 600))
            with pytest.raises(InvalidRequest, match="top_p") as error:
                await engine.submit(request("c", [1], top_p=7.0))
            assert error.value.param == "top_p"
            assert len(await tokens_of(await engine.submit(request("d", [1], max_tokens=3, ignore_eos=True)))) == 3

    asyncio.run(main())


def test_a_killed_engine_ends_its_requests_and_serves_again(reference):
    async def main():
        async with AsyncEngine(config(reference)) as engine:
            stream = await engine.submit(request("a", [1], max_tokens=500, ignore_eos=True))
            await anext(stream)
            assert engine.pid is not None
            assert engine.load.running == 1
            os.kill(engine.pid, signal.SIGKILL)
            with pytest.raises(EngineDied):
                await tokens_of(stream)
            assert engine.load.running == 0
            again = await engine.submit(request("a", [1], max_tokens=5, ignore_eos=True))
            assert len(await tokens_of(again)) == 5
            assert (engine.status, engine.restarts) == ("ready", 1)

    asyncio.run(main())


def test_a_hung_engine_is_replaced(reference, monkeypatch):
    monkeypatch.setattr(AsyncEngine, "patience", 0.5)

    async def main():
        async with AsyncEngine(config(reference)) as engine:
            await engine.ready()
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGSTOP)
            with pytest.raises(EngineDied):
                await engine.submit(request("a", [1]))
            monkeypatch.undo()
            assert len(await tokens_of(await engine.submit(request("b", [1], max_tokens=5, ignore_eos=True)))) == 5

    asyncio.run(main())


def test_an_engine_that_works_in_silence_says_that_it_lives(monkeypatch):
    monkeypatch.setattr(worker, "_HEARTBEAT", 0.02)
    steps = iter(range(5))

    def step():
        time.sleep(0.03)
        if next(steps) == 4:
            raise KeyboardInterrupt
        return []

    said: list[Any] = []
    scheduler = SimpleNamespace(has_work=True, is_compiling=False, load=Load(), step=step)
    with zmq.Context() as context, context.socket(zmq.PULL) as inbox, inbox.bind("inproc://nothing-comes"):
        engine: Any = SimpleNamespace(scheduler=scheduler, grammars=SimpleNamespace(fileno=inbox.fileno))
        with pytest.raises(KeyboardInterrupt):
            worker._serve(engine, inbox, said.append)
    assert len(said) == 4


def test_files_where_the_server_is_started_are_not_taken_for_modules(reference, tmp_path, monkeypatch):
    (tmp_path / "msgspec.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)

    async def main():
        async with AsyncEngine(config(reference)) as engine:
            await engine.ready()
            assert engine.restarts == 0

    asyncio.run(main())


def test_an_engine_that_cannot_be_understood_is_replaced(reference, monkeypatch):
    async def main():
        async with AsyncEngine(config(reference)) as engine:
            stream = await engine.submit(request("a", [1], max_tokens=500, ignore_eos=True))
            monkeypatch.setattr(engine, "_deliver", lambda outputs: outputs.nonsense)
            with pytest.raises(EngineDied):
                await tokens_of(stream)
            monkeypatch.undo()
            assert len(await tokens_of(await engine.submit(request("b", [1], max_tokens=5, ignore_eos=True)))) == 5

    asyncio.run(main())


@pytest.mark.slow
def test_engines_that_served_are_always_replaced(reference, monkeypatch):
    monkeypatch.setattr(client, "_LONGEST_PAUSE", 0.0)

    async def main():
        async with AsyncEngine(config(reference)) as engine:
            for life in range(6):
                await engine.ready()
                stream = await engine.submit(request("a", [1], max_tokens=500, ignore_eos=True))
                assert engine.pid is not None
                os.kill(engine.pid, signal.SIGKILL)
                with pytest.raises(EngineDied):
                    await tokens_of(stream)
                assert engine.restarts == life + 1
            await engine.ready()

    asyncio.run(main())


def test_an_id_may_be_used_again_at_once(reference):
    """What the engine still says of the aborted request does not reach its successor."""

    async def main():
        async with AsyncEngine(config(reference)) as engine:
            for length in range(1, 20):
                stream = await engine.submit(request("a", [1, 2], max_tokens=400, ignore_eos=True))
                await anext(stream)
                await stream.aclose()
                again = await engine.submit(request("a", [3], max_tokens=length, ignore_eos=True))
                assert len(await tokens_of(again)) == length

    asyncio.run(main())


def test_closing_a_stream_early_stops_the_work(reference):
    """The next request on the one slot can only run when the abandoned one has given it up."""

    async def main():
        async with AsyncEngine(config(reference).__replace__(max_running=1)) as engine:
            stream = await engine.submit(request("long", [1], max_tokens=500, ignore_eos=True))
            await anext(stream)
            await stream.aclose()
            await stream.aclose()
            assert engine.num_requests == 0
            assert len(await tokens_of(await engine.submit(request("next", [2], max_tokens=2, ignore_eos=True)))) == 2
            waiting = asyncio.create_task(engine.submit(request("cancelled", [1], max_tokens=500)))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert engine.num_requests == 0

    asyncio.run(main())


def test_a_model_that_does_not_exist_is_said_once_and_not_retried():
    async def main():
        async with AsyncEngine(EngineConfig(model="/no/such/folder")) as engine:
            with pytest.raises(ModelNotFound, match="no folder"):
                await engine.ready()
            with pytest.raises(ModelNotFound):
                await engine.submit(request("a", [1]))
            assert (engine.status, engine.restarts) == ("stopped", 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("page_size", 0),
        ("max_running", -1),
        ("threads", 0),
        # These are found by the engine's process.
        ("kv_tokens", 3),
        pytest.param("kv_dtype", "fp8", marks=pytest.mark.slow),
        pytest.param("attention", "triton", marks=pytest.mark.slow),
    ],
)
def test_a_configuration_that_cannot_run_says_which_field(reference, field, value):
    async def main():
        wrong = config(reference).__replace__(device="cpu", **{field: value})
        async with AsyncEngine(wrong) as engine:
            with pytest.raises(InvalidConfig, match=field):
                await engine.ready()

    asyncio.run(main())


def test_leaving_ends_the_process(reference):
    async def main():
        async with AsyncEngine(config(reference)) as engine:
            await engine.ready()
            assert engine.pid is not None
            return psutil.Process(engine.pid)

    assert not asyncio.run(main()).is_running()


def test_text_stops_at_a_stop_string_inside_tokens(reference):
    """Every token of this model is one byte, so the stop string spans several."""

    async def main():
        async with AsyncEngine(config(reference)) as engine:
            prompt = list(b"abc")
            whole = [o async for o in await engine.submit_text(request("a", prompt, max_tokens=40, ignore_eos=True))]
            text = "".join(output.text for output in whole)
            stop = text[10:13]
            cut = [
                output
                async for output in await engine.submit_text(
                    request("b", prompt, max_tokens=40, ignore_eos=True), stop=(stop,)
                )
            ]
            assert "".join(output.text for output in cut) == text[: text.index(stop)]
            assert (cut[-1].finish_reason, cut[-1].stop_reason) == ("stop", stop)
            assert engine.num_requests == 0
            assert sum(len(output.token_ids) for output in cut) < 40

    asyncio.run(main())


def test_an_idle_engine_uses_no_processor_time(reference):
    async def main():
        async with AsyncEngine(config(reference)) as engine:
            await engine.ready()
            await tokens_of(await engine.submit(request("a", [1], max_tokens=2)))
            process = psutil.Process(engine.pid)
            await asyncio.sleep(2.0)  # grammars get ready
            before = process.cpu_times().user
            await asyncio.sleep(1.0)
            return process.cpu_times().user - before

    assert asyncio.run(main()) < 0.2


def test_a_value_that_cannot_be_sent_is_refused_and_leaves_nothing_behind(reference):
    async def main():
        async with AsyncEngine(config(reference)) as engine:
            with pytest.raises(InvalidRequest):
                await engine.submit(Request(id="a", prompt=[1], priority=2**70))
            with pytest.raises(InvalidRequest, match="prompt"):
                await engine.submit(Request(id="a", prompt=[1.5]))  # pyright: ignore[reportArgumentType]
            assert engine.num_requests == 0
            assert engine.restarts == 0
            await tokens_of(await engine.submit(request("b", [1], max_tokens=2)))

    asyncio.run(main())

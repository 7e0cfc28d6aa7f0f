"""Tensor parallelism with real processes: NCCL where there is a CUDA device for each rank, else gloo on the CPU."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
import torch
from agenthost.engine import LLM, AsyncEngine, EngineConfig, Request, SamplingParams
from agenthost.engine.attention.base import StepLayout
from agenthost.engine.cache.kv import Copy
from agenthost.engine.config import Device
from agenthost.engine.errors import EngineDied, InvalidConfig
from agenthost.engine.models import load
from agenthost.engine.models.config import ModelConfig
from agenthost.engine.models.load import build_decoder
from agenthost.engine.parallel.group import Group
from agenthost.engine.parallel.shard import Shard
from agenthost.engine.parallel.wire import pack, unpack
from agenthost.engine.runner.step import Step

from .conftest import tokens_of

TOLERANCE = 2e-3  # on logits of magnitude 10 to 100


def device_for(ranks: int) -> Device:
    return "cuda" if torch.cuda.device_count() >= ranks else "cpu"


def config(reference, size: int = 2, **options: Any) -> EngineConfig:
    options = {"device": device_for(size), "dtype": "float32", "kv_tokens": 2000, "max_running": 8} | options
    return EngineConfig(model=str(reference.folder), tensor_parallel_size=size, debug=True, **options)


def request(name: str, prompt: list[int], **sampling) -> Request:
    return Request(id=name, prompt=prompt, sampling=SamplingParams(temperature=0.0, ignore_eos=True, **sampling))


def ranks_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if any(word.endswith("parallel.follower") for word in child.cmdline())]


async def random_load(engine: AsyncEngine, reference, requests: int) -> None:
    """Requests with shared prefixes, a third of which are given up on the way; the others say what the model says."""
    rng = random.Random(1)
    stems = [[rng.randrange(256) for _ in range(40)] for _ in range(3)]

    async def one(number: int) -> None:
        prompt = rng.choice(stems)[: rng.randint(1, 40)] + [rng.randrange(256) for _ in range(rng.randint(0, 30))]
        stream = await engine.submit(request(str(number), prompt, max_tokens=rng.randint(1, 20)))
        if number % 3 == 0:
            await anext(stream)
            await stream.aclose()
            return
        assert reference.disagreement(prompt, await tokens_of(stream)) < TOLERANCE

    await asyncio.gather(*(one(number) for number in range(requests)))


def test_two_ranks_serve_as_one_and_fall_together(reference, monkeypatch):
    folder = tempfile.mkdtemp()  # its path is shorter than that of tmp_path; sockets need that
    monkeypatch.setattr("tempfile.tempdir", folder)

    async def main():
        async with AsyncEngine(config(reference, step_budget=8)) as engine:
            assert (await engine.ready()).tensor_parallel_size == 2
            long = [number % 256 for number in range(200)]  # its first steps draw nothing
            said = await tokens_of(await engine.submit(request("long", long, max_tokens=5)))
            assert reference.disagreement(long, said) < TOLERANCE
            await random_load(engine, reference, 30)
            stream = await engine.submit(request("a", [1], max_tokens=400))
            await anext(stream)
            assert engine.pid is not None
            (rank,) = ranks_of(engine.pid)
            rank.kill()
            with pytest.raises(EngineDied):
                await tokens_of(stream)
            assert len(await tokens_of(await engine.submit(request("b", [1], max_tokens=5)))) == 5
            assert engine.restarts == 1
            (successor,) = ranks_of(engine.pid)
        successor.wait(10)  # it ends with the engine

    asyncio.run(main())
    Path(folder).rmdir()  # nothing is left in it


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_offline_outputs_do_not_depend_on_the_number_of_ranks(any_reference, size):
    rng = random.Random(2)
    prompts = [[rng.randrange(256) for _ in range(rng.randint(1, 60))] for _ in range(12)]
    prompts += [[*prompt, 7] for prompt in prompts[:4]]
    sampling = SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True)
    options: dict[str, Any] = {"device": device_for(size), "dtype": "float32", "kv_tokens": 2000}
    outputs = []
    for ranks in (1, size):
        with LLM(str(any_reference.folder), tensor_parallel_size=ranks, **options) as llm:
            runs = [llm.generate(prompts, sampling) for _ in range(2)]  # the second time from the cache
            assert sum(done.cached_tokens for done in runs[1]) > 0
            outputs.append([[done.completions[0].token_ids for done in run] for run in runs])
    assert outputs[0] == outputs[1]


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [False, True])
def test_four_ranks_under_load(reference, overlap):
    async def main():
        async with AsyncEngine(config(reference, 4, overlap=overlap)) as engine:
            await random_load(engine, reference, 150)

    asyncio.run(main())


@pytest.mark.slow
def test_two_machines_share_a_model(reference):
    """Both on this host: the second runs ``agenthost serve`` with its own rank, and both outlive its death."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    shared = ["--tensor-parallel-size", "2", "--nnodes", "2", "--rendezvous", place, "--node-rank", "1"]
    command = [sys.executable, "-m", "agenthost.server.cli", "serve", str(reference.folder), *shared]
    flags = ["--device", "cpu", "--dtype", "float32", "--kv-tokens", "2000", "--max-running", "8"]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}

    async def main():
        async with AsyncEngine(config(reference, device="cpu", nnodes=2, rendezvous=place)) as engine:
            await random_load(engine, reference, 20)
            stream = await engine.submit(request("a", [1], max_tokens=400))
            await anext(stream)
            (rank,) = ranks_of(node.pid)
            rank.kill()
            with pytest.raises(EngineDied):
                await tokens_of(stream)
            assert len(await tokens_of(await engine.submit(request("b", [1], max_tokens=5)))) == 5

    with subprocess.Popen([*command, *flags], env=environment) as node:
        try:
            asyncio.run(main())
        finally:
            node.send_signal(signal.SIGTERM)
        assert node.wait(20) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 3}, "must divide the model's 8 heads"),
        ({"size": 16}, "must divide the model's 8 heads"),
        ({"size": 0}, "tensor_parallel_size is 0; it must be at least 1"),
        ({"nnodes": 2}, "rendezvous must be HOST:PORT"),
        ({"nnodes": 4}, "cannot share it evenly"),
        ({"node_rank": 1}, "node_rank is 1; with nnodes=1 it counts from 0"),
        # Found by every rank for itself; the others' end must not drown what rank 0 says.
        pytest.param({"kv_tokens": 3}, "the KV cache would hold 3 tokens", marks=pytest.mark.slow),
    ],
)
def test_a_division_that_cannot_be_is_refused(reference, options, said):
    async def main():
        async with AsyncEngine(config(reference, **options)) as engine:
            await engine.ready()

    with pytest.raises(InvalidConfig, match=said):
        asyncio.run(main())


def test_a_rank_reads_its_part_only(reference, monkeypatch):
    read = []

    class Counting:
        def __init__(self, stored):
            self.stored = stored

        def __getitem__(self, part):
            rows = self.stored[part]
            read[-1] += rows.numel()
            return rows

        def get_shape(self):
            return self.stored.get_shape()

        def get_dtype(self):
            return self.stored.get_dtype()

    class Opened:
        def __init__(self, shard):
            self.shard = shard

        def keys(self):
            return self.shard.keys()

        def get_slice(self, name):
            return Counting(self.shard.get_slice(name))

    @contextlib.contextmanager
    def counting_open(*args, **options):
        with safe_open(*args, **options) as shard:
            yield Opened(shard)

    safe_open = load.safe_open
    monkeypatch.setattr(load, "safe_open", counting_open)
    model = ModelConfig.load(reference.folder)
    for shard in (Shard(), Shard(0, 2), Shard(1, 2)):
        group = Group()
        group.shard = shard
        read.append(0)
        build_decoder(reference.folder, model, 512, torch.float32, torch.device("cpu"), group=group)
    whole, *parts = read
    norms = sum(parts) - whole  # what both ranks hold is little
    assert 0 < norms < 0.02 * whole
    assert max(parts) < 0.52 * whole


def test_steps_arrive_as_they_were_sent():
    layout = StepLayout(np.array([4, 0]), np.array([1, 3]), np.array([[1, 2], [3, 0]], np.int32))
    step = Step(np.array([5, 6]), layout, np.array([-1, 7, 8, 9]), np.array([0]), np.array([2]), [Copy(1, 4)])
    message = pack(step, 4)
    arrived = unpack(message)
    for ours, theirs in ((step, arrived), (step.layout, arrived.layout)):
        for name, value in vars(ours).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(theirs, name), value, strict=True)
    assert arrived.copies == [Copy(1, 4)]
    with pytest.raises(msgspec.DecodeError):
        unpack(message[:-3])


def test_one_deep_row_does_not_widen_what_is_sent_of_the_others():
    rows, width = 256, 8192
    table = np.arange(rows * width, dtype=np.int32).reshape(rows, width)
    depths, counts, slots = np.full(rows, 600), np.ones(rows, np.int64), np.arange(rows)
    depths[7] = 16 * width - 1
    message = pack(Step(slots, StepLayout(depths, counts, table), slots, slots, slots), 16)
    assert len(message) < 200_000
    held = np.arange(width) < -(-(depths + counts) // 16)[:, None]
    np.testing.assert_array_equal(unpack(message).layout.pages, np.where(held, table, 0))

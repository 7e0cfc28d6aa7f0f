from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from agenthost.server.agent.hosted_tools import select
from agenthost.server.hands import Hands
from agenthost.tools import ToolContext


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_nothing_runs_when_the_tools_are_left():
    before = set(psutil.Process().children(recursive=True))
    async with Hands() as hands:
        offer = await hands.offer()
        session = await hands.sessions.create()
        result = await offer.registry.call("python", {"code": "6 * 7"}, ToolContext(session))
        assert "42" in result.text
        assert set(psutil.Process().children(recursive=True)) > before
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "context", "all_of_them"),
    [("pocket", 32_768, False), ("larger", 32_768, True), ("larger", 8_192, False)],
)
async def test_all_file_tools_are_for_models_with_room_for_them(model, context, all_of_them):
    served: Any = SimpleNamespace(
        config=SimpleNamespace(model=model), now=lambda: (None, SimpleNamespace(max_model_len=context))
    )
    async with Hands() as hands:
        offer = await hands.offer_for(served)
        assert ("apply_patch" in offer.registry.tools) is all_of_them
        files = select(["files"], offer, model).tools
        assert "read_text_file" in files
        assert ("apply_patch" in files) is all_of_them


@pytest.mark.anyio
async def test_one_failure_does_not_end_the_look_for_sessions_whose_time_is_over(monkeypatch):
    looked: list[None] = []
    again = asyncio.Event()

    async def expire():
        looked.append(None)
        if len(looked) == 1:
            raise OSError("close failed")
        again.set()

    monkeypatch.setattr("agenthost.server.hands._EXPIRY_INTERVAL", 0)
    async with Hands() as hands:
        monkeypatch.setattr(hands.sessions, "expire", expire)
        await asyncio.wait_for(again.wait(), 10)

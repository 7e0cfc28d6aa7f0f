from __future__ import annotations

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

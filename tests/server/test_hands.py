from __future__ import annotations

import psutil
import pytest
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

"""Many calls at a time, some of them hostile: each gets its own answer, and nothing stays behind (see conftest.py)."""

from __future__ import annotations

import asyncio

import pytest
from agenthost.tools import ToolContext, ToolResult

pytestmark = pytest.mark.anyio

HOSTILE = {
    "import os; os._exit(1)": "the Python process ended",
    "import os; os.kill(0, 9)": "the Python process ended",
    "x = bytearray(4 << 30)": "MemoryError",
    "import os\nfor _ in range(20):\n    if os.fork() == 0: os._exit(0)": "(no output)",
    "import subprocess; subprocess.Popen(['sleep', '1000']); None": "(no output)",
}


async def test_two_hundred_calls_at_a_time(offer, sessions):
    contexts = [ToolContext(await sessions.create(owner=f"caller {number}")) for number in range(20)]

    async def call(number: int) -> ToolResult:
        code = f"import time; time.sleep(0.01); print({number}); {number} * 2"
        return await offer.registry.call("python", {"code": code}, contexts[number % len(contexts)])

    results = await asyncio.gather(*(call(number) for number in range(200)))
    assert [result.text for result in results] == [f"{number}\n{number * 2}" for number in range(200)]


async def test_hostile_calls_among_others_harm_only_themselves(offer, sessions):
    good, bad = [[ToolContext(await sessions.create()) for _ in HOSTILE] for _ in range(2)]

    async def call(code: str, context: ToolContext) -> str:
        return (await offer.registry.call("python", {"code": code}, context)).text

    hostile = [call(code, context) for code, context in zip(HOSTILE, bad, strict=True)]
    answers = await asyncio.gather(*hostile, *(call("6 * 7", context) for context in good))
    for expected, text in zip(HOSTILE.values(), answers, strict=False):
        assert expected in text
    assert answers[len(HOSTILE) :] == ["42"] * len(good)


async def test_calls_that_are_cancelled_while_they_start_leave_nothing(offer, sessions):
    for delay in (0.0, 0.001, 0.005, 0.02, 0.05):
        session = await sessions.create()
        call = asyncio.create_task(offer.registry.call("python", {"code": "1"}, ToolContext(session)))
        await asyncio.wait({call}, timeout=delay)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert (await offer.registry.call("python", {"code": "2"}, ToolContext(session))).text.endswith("2")

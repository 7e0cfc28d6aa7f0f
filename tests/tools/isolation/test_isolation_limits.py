"""What hostile code can use up: no more than its session may."""

from __future__ import annotations

import pytest
from agenthost.tools import Limits
from agenthost.tools.files.usage import Quota
from agenthost.tools.sandbox.spec import MIB

pytestmark = pytest.mark.anyio


async def test_fork_bomb_stays_small_and_the_session_usable(confined, backend):
    interpreter = await confined(Limits(processes=40))
    code = """
import os, time
made = 0
try:
    while made < 200:
        if os.fork() == 0: time.sleep(30); os._exit(0)
        made += 1
except OSError: pass
made"""
    outcome = await interpreter.execute(code, 20)
    assert outcome.status == "ok"
    assert 20 < int(outcome.value or 0) < 40
    await interpreter.close()


async def test_process_limits_of_two_sessions_do_not_add_up(confined):
    fork_many = (
        "import os, time\nn = 0\nwhile n < 25:\n    if os.fork() == 0: time.sleep(30); os._exit(0)\n    n += 1\nn"
    )
    one, other = await confined(Limits(processes=40)), await confined(Limits(processes=40))
    assert (await one.execute(fork_many, 10)).value == "25"
    assert (await other.execute(fork_many, 10)).value == "25"


async def test_memory_bomb_in_one_process_is_a_memory_error(confined):
    interpreter = await confined(Limits())
    outcome = await interpreter.execute("x = []\nwhile True: x.append(bytearray(16 << 20))", 20)
    assert (outcome.status, outcome.state_lost) == ("error", False)
    assert "MemoryError" in (outcome.traceback or "")
    await interpreter.execute("x = None", 10)
    assert (await interpreter.execute("1", 10)).value == "1"


async def test_memory_bomb_over_many_processes_ends_the_session_only(confined, verdict):
    if "memory" not in verdict.facts["limits"]:
        pytest.skip("no writable memory cgroup here: memory is limited for each process only, as the probe says")
    interpreter = await confined(Limits(memory=200 * MIB))
    code = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        x = b"x" * (60 << 20)
        time.sleep(30)
        os._exit(0)
os.WTERMSIG(os.wait()[1])"""
    outcome = await interpreter.execute(code, 20)
    assert outcome.status == "out-of-memory" or outcome.value == "9"
    assert (await interpreter.execute("1", 10)).value == "1"


@pytest.mark.parametrize(("folder", "limit"), [("/tmp", 64 * MIB), ("/dev/shm", 16 * MIB)])
async def test_temporary_files_are_limited(confined, verdict, folder, limit):
    if verdict.require().lacks:
        pytest.skip("no file system of its own: the disk limits temporary files, as the probe says")
    interpreter = await confined(Limits())
    code = f"""
import os
total = 0
try:
    for n in range(20):
        with open(f"{folder}/f{{n}}", "wb", buffering=0) as f:
            for _ in range(10): total += f.write(bytes(1 << 20))
except OSError as e: pass
total"""
    outcome = await interpreter.execute(code, 20)
    assert limit - 2 * MIB < int(outcome.value or 0) <= limit


async def test_a_workspace_that_grows_too_large_stops_the_code(confined):
    interpreter = await confined(Limits(), Quota(bytes=20 * MIB))
    grow = "n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(1 << 20)); n += 1; time.sleep(0.01)"
    outcome = await interpreter.execute(f"import time\n{grow}", 30)
    assert (outcome.status, outcome.state_lost) == ("disk-limit", True)


async def test_a_full_workspace_can_be_emptied_but_not_filled(confined):
    interpreter = await confined(Limits(), Quota(bytes=5 * MIB))
    outcome = await interpreter.execute("open('f', 'wb').write(bytes(10 << 20))", 30)
    assert (outcome.status, outcome.excess) == (
        "disk-limit", "the workspace holds more than 5 MB. Delete files that are not needed.",
    )  # fmt: skip
    outcome = await interpreter.execute("open('g', 'wb', buffering=0).write(b'more')", 30)
    assert "File too large" in (outcome.traceback or "")
    assert (await interpreter.execute("import os; os.unlink('f')", 30)).status == "ok"
    outcome = await interpreter.execute("open('g', 'wb', buffering=0).write(b'more')", 30)
    assert (outcome.value, outcome.state_lost) == ("4", True)
    assert not (await interpreter.execute("1", 30)).state_lost


async def test_one_file_is_limited(run):
    assert "File too large" in await run("f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20))")

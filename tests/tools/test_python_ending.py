"""How code ends, or rests, before it is done: time-outs, interrupts, deaths, cancelled calls, idle interpreters."""

from __future__ import annotations

import asyncio
import os

import psutil
import pytest
from agenthost.tools import Session, ToolContext
from agenthost.tools.code.interpreter import Idle, Interpreter
from agenthost.tools.code.tool import PythonTool
from agenthost.tools.files.usage import Quota
from agenthost.tools.sandbox.local import LocalSandbox

from .conftest import end_of, until

pytestmark = pytest.mark.anyio


async def test_timeout_keeps_variables_and_what_was_printed(backend, session):
    tool = PythonTool(backend, timeout=0.5)
    context = ToolContext(session)
    await tool.call({"code": "x = 1"}, context)
    result = await tool.call({"code": "print('working')\nwhile True: pass"}, context)
    assert result.is_error
    assert result.text.startswith("working\nTraceback (most recent call last):\n  Cell 2, line 2, in <module>")
    assert result.text.endswith(
        "Error: the code did not finish within 0.5 seconds and was stopped. Variables are kept."
    )
    assert not result.state_lost
    assert (await tool.call({"code": "x"}, context)).text == "1"


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(60)",
        "pow(3, 10**9)",
        "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
        "import subprocess; subprocess.run(['sleep', '60'])",
    ],
    ids=["sleep", "pow", "regex", "subprocess"],
)
async def test_interrupt_reaches_code_that_is_deep_in_c(interpreter, code):
    await interpreter.execute("x = 1", 10)
    outcome = await interpreter.execute(code, 0.3)
    assert outcome.status == "timeout"
    assert not outcome.state_lost
    assert (await interpreter.execute("x", 10)).value == "1"


async def test_code_that_ignores_the_interrupt_is_killed(interpreter):
    await interpreter.execute("x = 1", 10)
    outcome = await interpreter.execute(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)", 0.3
    )
    assert (outcome.status, outcome.state_lost) == ("killed", True)
    outcome = await interpreter.execute("'x' in globals()", 10)
    assert (outcome.status, outcome.value, outcome.state_lost) == ("ok", "False", False)


async def test_ignoring_interrupts_in_one_call_does_not_outlast_it(interpreter):
    await interpreter.execute("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", 10)
    assert (await interpreter.execute("while True: pass", 0.3)).status == "timeout"


@pytest.mark.parametrize(
    "code", ["import os; os._exit(3)", "import ctypes; ctypes.string_at(0)", "import os; os.kill(os.getpid(), 9)"]
)
async def test_death_is_reported_once_and_files_stay(call, code):
    await call("python", code="open('kept.txt', 'w').write('1')")
    result = await call("python", code=f"print('last words', flush=True)\n{code}")
    assert result.is_error
    assert result.state_lost
    assert result.text == (
        "last words\nError: the Python process ended. Python was restarted: variables are gone, files are kept."
    )
    result = await call("python", code="open('kept.txt').read()")
    assert (result.text, result.state_lost) == ("'1'", False)


async def test_death_between_calls_is_told_by_the_next(call, session):
    await call("python", code="import os, threading\nx = 1\nthreading.Timer(0.05, os._exit, [0]).start()")
    await end_of(session.keep(Interpreter, lambda: pytest.fail("there is one")))
    result = await call("python", code="'x' in globals()")
    assert result.state_lost
    assert result.text == "Note: Python was restarted since the last call: variables are gone, files are kept.\nFalse"


TELL = "import os; open(os.open('told', os.O_WRONLY), 'w').close()\n"


async def told(session: Session) -> None:
    """Until a cell has come to TELL: both ends of a FIFO open at the same moment."""
    await asyncio.to_thread(lambda: (session.workspace / "told").open("rb").close())


@pytest.fixture
def fifo(session: Session) -> None:
    os.mkfifo(session.workspace / "told")
    (session.workspace / "told").chmod(0o666)


COUNT = "import threading, time\nn = 0\ndef count():\n    global n\n    while True: n += 1; time.sleep(0.001)\n"


async def test_idle_interpreters_are_frozen_and_go_on_with_the_next_call(backend, session):
    interpreter = session.keep(
        Interpreter, lambda: Interpreter(backend, session.sandbox, idle=Idle(freeze=0.0, evict=None))
    )
    await interpreter.execute(f"{COUNT}threading.Thread(target=count, daemon=True).start()", 10)
    sandbox = interpreter._sandbox
    assert isinstance(sandbox, LocalSandbox)
    await until(lambda: psutil.Process(sandbox.program_pid).status() == psutil.STATUS_STOPPED)
    outcome = await interpreter.execute("n", 10)
    assert (outcome.status, outcome.state_lost) == ("ok", False)
    assert int(outcome.value or 0) > 0


async def test_what_writes_too_much_after_its_call_is_ended(backend, session):
    async def excess(times: int) -> str | None:
        return Quota(bytes=8 << 20).excess(session.files, times)

    interpreter = session.keep(Interpreter, lambda: Interpreter(backend, session.sandbox, over_quota=excess))
    code = "import threading, time\ndef fill(): time.sleep(0.1); open('f', 'wb').write(bytes(16 << 20))\n"
    outcome = await interpreter.execute(f"{code}threading.Thread(target=fill).start()", 10)
    assert outcome.status == "ok"
    async with asyncio.timeout(4):
        await end_of(interpreter)
    outcome = await interpreter.execute("open('g', 'wb', buffering=0).write(b'more')", 10)
    assert outcome.state_lost
    assert "File too large" in (outcome.traceback or "")


async def test_a_frozen_sandbox_can_be_closed(backend, session):
    sandbox = await backend.create(session.sandbox)
    assert await sandbox.freeze()
    await sandbox.close()
    assert sandbox.ended.done()


async def test_idle_interpreters_are_ended_at_last_and_the_next_call_says_so(backend, session):
    tool = PythonTool(backend, idle=Idle(freeze=None, evict=0.0))
    context = ToolContext(session)
    await tool.call({"code": "x = 1; open('kept', 'w').close()"}, context)
    interpreter = session.keep(Interpreter, lambda: pytest.fail("there is one"))
    await until(lambda: not interpreter.running)
    result = await tool.call({"code": "import os; 'x' in globals(), os.listdir()"}, context)
    assert (result.text.splitlines()[-1], result.state_lost) == ("(False, ['kept'])", True)


async def test_for_one_interpreter_too_many_the_one_idle_for_longest_is_ended(backend, sessions):
    tool = PythonTool(backend, running=2)
    contexts = [ToolContext(await sessions.create()) for _ in range(3)]
    for context in contexts:
        await tool.call({"code": "x = 1"}, context)
    assert not (await tool.call({"code": "x"}, contexts[2])).state_lost
    assert not (await tool.call({"code": "x"}, contexts[1])).state_lost
    assert (await tool.call({"code": "1"}, contexts[0])).state_lost


@pytest.mark.usefixtures("fifo")
async def test_cancelling_a_call_stops_the_code(interpreter, session):
    await interpreter.execute("n = 0", 10)
    task = asyncio.create_task(interpreter.execute(f"n = 1\n{TELL}while True: n += 1", 30))
    await told(session)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    first = await interpreter.execute("n", 10)
    second = await interpreter.execute("n", 10)
    assert first.value == second.value
    assert int(first.value or 0) > 0


@pytest.mark.usefixtures("fifo")
async def test_cancelling_a_call_that_does_not_stop_kills_it(interpreter, session):
    code = f"import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{TELL}while True: time.sleep(1)"
    task = asyncio.create_task(interpreter.execute(code, 30))
    await told(session)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcome = await interpreter.execute("1", 10)
    assert (outcome.value, outcome.state_lost) == ("1", True)

"""Code that works against the channel on which its interpreter answers."""

from __future__ import annotations

import os
import tracemalloc

import pytest
from agenthost.tools.code.artifacts import small
from agenthost.tools.sandbox.answer import Answer, message_of

from .conftest import end_of

pytestmark = pytest.mark.anyio


async def test_a_flood_is_stopped_and_costs_no_memory(interpreter):
    outcome = await interpreter.execute("while True: print('x' * 1000)", 30)
    assert outcome.status == "output-limit"
    assert len(outcome.stdout) < 13_000
    assert (await interpreter.execute("1", 10)).value == "1"


async def test_a_child_that_floods_after_the_call_is_ended(interpreter):
    await interpreter.execute("import subprocess; subprocess.Popen(['yes'])", 10)
    await end_of(interpreter)
    assert (await interpreter.execute("1", 10)).state_lost


async def test_a_large_folder_is_none_to_look_at_at_once_though_its_owner_may_not(interpreter, session):
    assert small(session.files)
    await interpreter.execute(
        "import os; os.mkdir('a'); [os.mkdir(f'a/{n}') for n in range(250)]; os.chmod('a', 0)", 10
    )
    assert small(session.files) is False or os.geteuid() != 0  # an ordinary server may not look either
    await interpreter.execute("os.chmod('a', 0o700)", 10)


FIND_CONTROL = """import os, socket, stat
sockets = (n for n in range(3, 256) if os.path.exists(f'/proc/self/fd/{n}') and stat.S_ISSOCK(os.fstat(n).st_mode))
fd = next(sockets)
"""


@pytest.mark.parametrize(
    "message",
    [
        b'{"id": "guess", "value": "forged", "traceback": null}\n',
        b"not json\n",
        b"[1]\n",
        b'"text"\n',
        b"{" * 100_000 + b"\n",
        b'{"id": ' + b"9" * 100_000 + b"}\n",
        b"\xff\xfe\n",
    ],
    ids=["guess", "no-json", "list", "string", "nested", "huge-number", "no-utf8"],
)
async def test_forged_answers_are_dropped(interpreter, message):
    outcome = await interpreter.execute(
        f"{FIND_CONTROL}socket.socket(fileno=os.dup(fd)).sendall({message!r})\n'real'", 10
    )
    assert (outcome.status, outcome.value) == ("ok", "'real'")


async def test_a_stolen_nonce_forges_nothing_but_the_callers_own_result(interpreter):
    code = (
        f"{FIND_CONTROL}import sys, json\n"
        "frame = sys._getframe()\n"
        "while 'id' not in frame.f_locals.get('request', ()): frame = frame.f_back\n"
        "answer = {'id': frame.f_locals['request']['id'], 'value': ['not', 'text'], 'traceback': 7}\n"
        "socket.socket(fileno=os.dup(fd)).sendall(json.dumps(answer).encode() + b'\\n')\n"
    )
    outcome = await interpreter.execute(code, 10)
    assert (outcome.value, outcome.traceback) == (None, None)
    assert (await interpreter.execute("6 * 7", 10)).value == "42"


async def test_descriptors_that_code_sends_do_not_reach_the_server(interpreter):
    await interpreter.execute("1", 10)
    before = os.listdir("/proc/self/fd")
    send = "for _ in range(4): socket.send_fds(socket.socket(fileno=os.dup(fd)), [b'\\n'], [1] * 50)"
    code = f"{FIND_CONTROL}{send}"
    assert (await interpreter.execute(code, 10)).status == "ok"
    assert len(os.listdir("/proc/self/fd")) < len(before) + 50  # a sandbox that gets ready meanwhile has a few


async def test_a_flooded_control_channel_ends_the_sandbox(interpreter):
    outcome = await interpreter.execute(
        f"{FIND_CONTROL}s = socket.socket(fileno=os.dup(fd))\nwhile True: s.sendall(b'x' * 65536)", 10
    )
    assert (outcome.status, outcome.state_lost) == ("died", True)


async def test_lines_without_end_end_the_sandbox(interpreter):
    outcome = await interpreter.execute(
        f"{FIND_CONTROL}s = socket.socket(fileno=os.dup(fd))\nwhile True: s.sendall(b'\\n' * 65536)", 10
    )
    assert (outcome.status, outcome.state_lost) == ("died", True)


@pytest.mark.parametrize("flood", [b'{"id": "x", "more": [%s0]}' % (b"{}," * 300_000), b"[%s0]" % (b"{}," * 300_000)])
def test_nothing_large_is_made_of_a_message(flood):
    figures = b'{"id": "x", "figures": [%s""]}' % (b'"a",' * 300_000)
    tracemalloc.start()
    try:
        message_of(flood)
        message = message_of(figures)
        assert message
        assert Answer.of(message).figures == ()
        assert tracemalloc.get_traced_memory()[1] < 2 * len(figures)
    finally:
        tracemalloc.stop()


async def test_what_is_no_text_comes_as_escapes(interpreter):
    outcome = await interpreter.execute("class A: __repr__ = lambda self: chr(0xd800)\nA()", 10)
    assert outcome.value == "\\ud800"
    outcome = await interpreter.execute("raise ValueError(chr(0xdcff))", 10)
    assert outcome.traceback.endswith("ValueError: \\udcff")


async def test_a_closed_control_channel_ends_the_sandbox(interpreter):
    outcome = await interpreter.execute(f"{FIND_CONTROL}os.close(fd)\nimport time; time.sleep(60)", 20)
    assert (outcome.status, outcome.state_lost) == ("died", True)

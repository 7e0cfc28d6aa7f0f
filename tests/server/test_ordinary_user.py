"""The server and its sandboxes as an ordinary user, whoever runs the tests.

Root's tests start it as another user, with a Python that this user can read; where there is none, they are skipped.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from agenthost.tools.sandbox.probe import BACKENDS
from mcp import Client

pytestmark = pytest.mark.anyio
USER = 31_415
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="agenthost-tests-"))
    if os.geteuid() == 0:
        os.chown(home, USER, USER)
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def start(home: Path) -> Start:
    """Starts Python with these arguments as an ordinary user."""
    environment = {"HOME": str(home), "PATH": os.defpath + ":/usr/bin:/usr/local/bin", "TMPDIR": str(home)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    user: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}

    def start(*arguments: str, python: str = sys.executable) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": "/", **user}
        return subprocess.Popen([python, *arguments], env=environment, **options)

    for python in (sys.executable, "/usr/bin/python3"):
        check = f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}; import agenthost.tools"
        try:
            if start("-c", check, python=python).wait(60) == 0:
                return lambda *arguments: start(*arguments, python=python)
        except PermissionError:
            continue
    pytest.skip("there is no Python that another user can run with this project's packages")


@pytest.fixture(scope="module")
def url(start: Start, home: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start("-m", "agenthost.server.cli", "serve", "--port", str(port), "--state-dir", str(home / "state"))
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
            break
        except httpx.TransportError:
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    said, _ = server.communicate(timeout=60)
    assert server.returncode == 0, said


async def test_code_and_files_share_a_workspace(url: str, home: Path):
    async with Client(f"{url}/mcp") as client:

        async def call(name: str, **arguments: object) -> str:
            result = await client.call_tool(name, arguments)
            assert not result.is_error, result
            session = (result.meta or {})["agenthost/session_id"]
            return session + " " + "".join(block.text for block in result.content[:1] if block.type == "text")

        session = (await call("python", code="import os; open('a.txt', 'w').write('one\\n'); x = 41")).split()[0]
        assert "one" in await call("read_text_file", path="a.txt", session_id=session)
        await call("write_file", path="b.txt", content="two", session_id=session)
        await call("edit_file", path="a.txt", edits=[{"oldText": "one", "newText": "three"}], session_id=session)
        assert "three\ntwo 42" in await call(
            "python", code="print(open('a.txt').read() + open('b.txt').read(), x + 1)", session_id=session
        )
        owners = await call(
            "python", code="os.stat('a.txt').st_uid == os.stat('b.txt').st_uid == os.getuid() != 0", session_id=session
        )
        assert owners.endswith("True")
    [workspace] = (home / "state" / "workspaces").glob("s-*/workspace")
    assert workspace.stat().st_uid == (USER if os.geteuid() == 0 else os.geteuid())


ATTACK = """
import asyncio, os, pathlib, socket, sys, tempfile
from agenthost.tools import Sessions, ToolContext, probe
from agenthost.tools.code.tool import PythonTool
home = pathlib.Path(os.environ["HOME"], sys.argv[1])
home.mkdir()
secret = home / "secret"
secret.write_text("hush")
os.utime(secret, (5, 5))
ear = socket.socket(socket.AF_UNIX); ear.bind(str(home / "bus")); ear.listen()
CODE = f'''
import os, resource, shutil, signal, socket
through = []
def attempt(name, call, *arguments):
    try: call(*arguments)
    except OSError: return
    through.append(name)
secret, server = {str(secret)!r}, {os.getpid()}
attempt("read", open, secret)
attempt("write", open, secret, "a")
attempt("chmod", os.chmod, secret, 0o777)
attempt("chown", os.chown, secret, os.getuid(), os.getgid())
attempt("utime", os.utime, secret, (9, 9))
attempt("link", os.link, secret, "mine")
attempt("rename", os.rename, secret, "mine")
attempt("unlink", os.unlink, secret)
attempt("truncate", os.truncate, secret, 0)
attempt("xattr", os.setxattr, secret, "user.x", b"x")
attempt("list", os.listdir, {str(home)!r})
attempt("bus", lambda: socket.socket(socket.AF_UNIX).connect({str(home / "bus")!r}))
attempt("kill", os.kill, server, 0)
attempt("limit", resource.prlimit, server, resource.RLIMIT_NOFILE, (9, 9))
attempt("nice", os.setpriority, os.PRIO_PROCESS, server, 19)
attempt("memory", open, f"/proc/{{server}}/mem")
attempt("environment", open, f"/proc/{{server}}/environ")
with open("own", "w") as own: own.write("x"); os.fchmod(own.fileno(), 0o600)
through, os.stat("own").st_mode & 0o777
'''
async def main():
    backend = probe(names=sys.argv[1:]).require()
    async with Sessions() as sessions:
        session = await sessions.create()
        result = await PythonTool(backend).call({"code": CODE}, ToolContext(session))
        print(result.text)
    backend.close()
asyncio.run(main())
assert secret.read_text() == "hush" and secret.stat().st_mtime == 5
"""


@pytest.mark.parametrize(
    "name", [name if name == "landlock" else pytest.param(name, marks=pytest.mark.slow) for name in BACKENDS]
)
def test_code_cannot_touch_what_else_belongs_to_the_user(start: Start, name: str):
    attack = start("-c", ATTACK, name)
    said, _ = attack.communicate(timeout=60)
    assert said.strip() == "([], 384)"
    assert attack.returncode == 0


CONTAINER = """
import platform, struct, sys
from agenthost.tools import probe
from agenthost.tools.sandbox.inside import kernel
from agenthost.tools.sandbox.seccomp import ARCHITECTURES
from agenthost.tools.sandbox.syscalls import DENIED, JUDGED
numbers = {name: entry[ARCHITECTURES[platform.machine()].column] for name, entry in {**DENIED, **JUDGED}.items()}
load, equal, any_bit, stop = 0x20, 0x15, 0x45, 0x06
refuse, missing, allow = (stop, 0, 0, 0x50001), (stop, 0, 0, 0x50026), (stop, 0, 0, 0x7FFF0000)
code = [(load, 0, 0, 0)]
for name in ("unshare", "setns", "mount", "umount2", "pivot_root", "open_tree", "move_mount"):
    code += [(equal, 0, 1, numbers[name]), refuse]
code += [(equal, 0, 1, numbers["clone3"]), missing, (equal, 0, 3, numbers["clone"]), (load, 0, 0, 16),
         (any_bit, 0, 1, 0x7E020000), refuse, allow]
kernel.gain_nothing()
kernel.filter_calls(b"".join(struct.pack("=HBBI", *line) for line in code))
verdict = probe()
print(verdict.backend.name if verdict.backend else verdict.problem)
"""


def test_in_a_container_without_namespaces_landlock_isolates(start: Start):
    """What containers' default profiles refuse is refused here by a filter."""
    container = start("-c", CONTAINER)
    said, _ = container.communicate(timeout=60)
    assert said.strip() == "landlock"

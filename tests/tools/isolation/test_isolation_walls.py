"""What hostile code can reach from the sandbox: no network, no file and no secret of the machine.

A probe is a cell whose value is the list of what got through.
"""

from __future__ import annotations

import os
import socket

import pytest
from agenthost.tools import ToolContext
from agenthost.tools.sandbox.backend import Backend

pytestmark = pytest.mark.anyio


async def test_network_is_closed(run, open_folder):
    listener = socket.create_server(("127.0.0.1", 0))
    abstract, named, letters = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX), socket.socket(1, 2)
    abstract.bind(b"\0agenthost-test-%d" % os.getpid())
    named.bind(str(open_folder / "named"))
    letters.bind(str(open_folder / "letters"))
    for path in open_folder.iterdir():
        path.chmod(0o777)
    for end in (abstract, named):
        end.listen()
    port = listener.getsockname()[1]
    try:
        assert (
            await run(f"""
import socket, errno
through = []
for family, kind, address in [
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {port})),
    (socket.AF_INET6, socket.SOCK_STREAM, ("::1", {port})),
    (socket.AF_INET, socket.SOCK_DGRAM, ("8.8.8.8", 53)),
    (socket.AF_INET, socket.SOCK_RAW, None),
    (40, socket.SOCK_STREAM, (2, 1024)),  # AF_VSOCK, which passes a network namespace
    (16, socket.SOCK_RAW, (0, 0)), (17, socket.SOCK_RAW, None), (38, 5, ("hash", "sha256")), (33, 2, None),
]:
    try:
        s = socket.socket(family, kind)
        through.append((family, kind))
    except OSError as e:
        if e.errno != errno.EAFNOSUPPORT: through.append((family, kind, e.errno))
for name in (b"\\0agenthost-test-{os.getpid()}", "{open_folder}/named"):
    try:
        s = socket.socket(socket.AF_UNIX); s.connect(name); through.append(name)
    except OSError: pass
for way in ("sendto", "connect"):
    try:
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        a.sendto(b"x", "{open_folder}/letters") if way == "sendto" else a.connect("{open_folder}/letters")
        through.append(way)
    except OSError: pass
try:
    socket.getaddrinfo("example.com", 80); through.append("dns")
except OSError: pass
through""")
            == "[]"
        )
    finally:
        for end in (listener, abstract, named, letters):
            end.close()


async def test_unix_sockets_pipes_and_asyncio_work(run):
    assert (
        await run("""
import asyncio, socket
a, b = socket.socketpair(); a.send(b"x")
async def main():
    p = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
    return (await p.communicate())[0]
b.recv(1), asyncio.run(main())""")
        == "(b'x', b'hi\\n')"
    )


async def test_abstract_sockets_of_one_session_are_not_anothers(offer, sessions):
    listen = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0meet'); s.listen(); 'listening'"
    connect = "import socket; c = socket.socket(socket.AF_UNIX); c.connect('\\0meet')"
    one, other = [ToolContext(await sessions.create()) for _ in range(2)]
    listening = (await offer.registry.call("python", {"code": listen}, one)).text
    if "Address family not supported" in listening:  # there are pairs of sockets only
        return
    assert listening == "'listening'"
    assert not (await offer.registry.call("python", {"code": connect}, one)).is_error
    assert "ConnectionRefusedError" in (await offer.registry.call("python", {"code": connect}, other)).text


async def test_host_files_are_not_there(run, open_folder):
    secret = open_folder / "secret"
    secret.write_text("s")
    secret.chmod(0o644)
    assert (
        await run(f"""
import os
def readable(path):
    for read in (os.listdir, lambda path: open(path).read(1)):
        try: read(path)
        except OSError: continue
        return True
wanted = "/etc/shadow /root /home /var /sys /run /boot /etc/hostname {secret} {open_folder}".split()
expected = "bin dev etc lib lib32 lib64 libx32 opt proc sbin tmp usr workspace".split()
list(filter(readable, wanted)) + (sorted(set(os.listdir("/")) - set(expected)) if readable("/") else [])""")
        == "[]"
    )


async def test_nothing_outside_the_workspace_can_be_written(run, open_folder):
    assert (
        await run(f"""
import os
through = []
folders = "{open_folder} / /usr /usr/bin /etc /dev /proc".split()
for folder in [*folders, *(base for base, _, _ in os.walk("/proc/sys"))]:
    try:
        open(os.path.join(folder, "x"), "w").close(); through.append(folder)
    except OSError: pass
for base, _, names in os.walk("/proc/sys"):
    for name in names:
        try: os.close(os.open(os.path.join(base, name), os.O_WRONLY))
        except OSError: continue
        through.append(name)
for path in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/etc/passwd", "/usr/bin/python3"]:
    try: os.close(os.open(path, os.O_WRONLY)); through.append(path)
    except OSError: pass
through""")
        == "[]"
    )


async def test_environment_of_the_server_is_not_visible(run, monkeypatch):
    monkeypatch.setenv("AGENTHOST_TEST_SECRET", "hush-hush")
    assert (
        await run("""
import glob, os
seen = b""
for path in glob.glob("/proc/*/environ"):
    try: seen += open(path, "rb").read()
    except PermissionError: pass
b"hush" in seen or "AGENTHOST_TEST_SECRET" in os.environ""")
        == "False"
    )


async def test_no_descriptor_of_the_server_leaks(run, tmp_path):
    secret = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(secret, True)
    try:
        assert (
            await run("""
import os, stat
found = []
for number in range(1024):
    try: found.append(stat.filemode(os.fstat(number).st_mode)[0])
    except OSError: pass
found""")
            == "['c', 'p', 'p', 's']"
        )
    finally:
        os.close(secret)


async def test_set_id_files_cannot_be_left_behind(run):
    assert (
        await run("""
import os
open("f", "w").close()
through = []
for name, attempt in {
    "chmod": lambda: os.chmod("f", 0o4755), "fchmod": lambda: os.fchmod(os.open("f", os.O_RDONLY), 0o2755),
    "chmodat": lambda: os.chmod("f", 0o4755, dir_fd=os.open(".", 0)),
    "open": lambda: os.open("g", os.O_CREAT | os.O_WRONLY, 0o4755), "mknod": lambda: os.mknod("h", 0o104755),
    "device": lambda: os.mknod("d", 0o060666, os.makedev(8, 0)),
}.items():
    try: attempt(); through.append(name)
    except PermissionError: pass
os.chmod("f", 0o755); os.open("g", os.O_CREAT | os.O_WRONLY, 0o644)
through""")
        == "[]"
    )


async def test_mount_table_shows_no_name_of_the_session(run, session):
    code = (
        "import os\ntry: print(open('/proc/self/mountinfo').read())\nexcept PermissionError: pass\nprint(os.getcwd())"
    )
    assert session.id not in await run(code)


async def test_links_in_the_workspace_lead_the_host_nowhere(backend: Backend, session):
    sandbox = await backend.create(session.sandbox)
    code = """
import os
for name, target in {"sysctl": "/proc/sys/kernel/core_pattern", "up": "../../../etc/passwd", "self": "/proc/self/root",
                     "own": "/workspace/real", "dev": "/dev/null"}.items():
    os.symlink(target, name)
open("real", "w").write("mine")"""
    await (await sandbox.exec_code(code, 1)).answer
    for name in ("sysctl", "up", "self", "self/etc/passwd", "dev", "/etc/passwd", "../workspace/real"):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREAT):
            with pytest.raises(OSError, match="Errno"):
                os.close(sandbox.open(name, flags))
    os.close(sandbox.open("real", os.O_RDWR))
    await sandbox.close()

"""The first step of the zygote: builds the file system that all its sessions will see, and goes on inside it.

In a mount namespace of its own: ``/host`` is the machine's file system, ``/box`` what sessions get, everything in it
read-only. Python is started again with ``/box`` as its root, so that whatever it preloads has the paths that sessions
will know; its working directory stays ``/host``, which is its way back out (see `session.py`).

``main([text of this program, JSON])`` with ``{"python", "prefix", "packages", "environment", ...}``; the rest of the
JSON is for `zygote.py`.
"""

from __future__ import annotations

import json
import os
import sys

from . import kernel

_READ_ONLY = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_COPIED = ("etc/ld.so.cache", "etc/localtime")
_SHARED = ("etc/alternatives", "etc/fonts", "etc/ssl/certs")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_STREAMS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
INSIDE_ID = 1000  # of the session's user and group, as the session sees them
PREFIX, PACKAGES = "/opt/python", "/opt/packages"


def main(arguments: list[str]) -> None:
    text, words = arguments
    config = json.loads(words)
    try:
        enter_namespaces()
        make_roots()
        fill(config)
        os.chdir("/host")
        os.chroot("/box")
    except OSError as error:
        sys.exit(f"the zygote could not build its file system: {error}")
    command = [config["python"], "-I", "-c", text, "zygote", words]
    os.execve(config["python"], command, config["environment"])


def enter_namespaces() -> None:
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS
    if os.geteuid() == 0:
        kernel.unshare(flags)
    else:
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(flags | kernel.CLONE_NEWUSER)
        map_identity(uid, gid, 0)  # uid 0 keeps its capabilities when it runs Python again
    kernel.set_hostname("sandbox")
    kernel.make_private()


def map_identity(uid: int, gid: int, inside: int, proc: str = "/proc") -> None:
    """In the user namespace that this process has just made, show uid and gid as ``inside``."""
    for name, content in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside} {gid} 1")):
        with open(f"{proc}/self/{name}", "w", encoding="utf-8") as file:
            file.write(content)


def make_roots() -> None:
    """`/` becomes a small tmpfs with `host` and `box` in it."""
    kernel.mount("tmpfs", "/tmp", kernel.MS_NOSUID | kernel.MS_NODEV, "size=64k,nr_inodes=8,mode=755")
    os.mkdir("/tmp/host")
    os.mkdir("/tmp/box")
    kernel.pivot_root("/tmp", "/tmp/host")
    os.chdir("/")
    kernel.mount("tmpfs", "/box", kernel.MS_NOSUID, "size=1m,nr_inodes=400,mode=755")


def fill(config: dict[str, object]) -> None:
    for folder in ("proc", "tmp", "workspace", "dev/shm", "etc", "opt"):
        os.makedirs(f"/box/{folder}")
    graft("/usr", "/usr")
    for name in _SYSTEM_LINKS:
        if os.path.islink(f"/host/{name}"):
            os.symlink(os.readlink(f"/host/{name}"), f"/box/{name}")
        elif os.path.isdir(f"/host/{name}"):
            graft(f"/{name}", f"/{name}")
    for name in _SHARED:
        if os.path.isdir(f"/host/{name}"):
            graft(f"/{name}", f"/{name}")
    for name in _COPIED:
        if os.path.isfile(f"/host/{name}"):
            with open(f"/host/{name}", "rb") as source, open(f"/box/{name}", "wb") as copy:
                copy.write(source.read())
    for name, content in (
        ("passwd", f"user:x:{INSIDE_ID}:{INSIDE_ID}::/workspace:/bin/sh\n"),
        ("group", f"user:x:{INSIDE_ID}:\n"),
    ):
        with open(f"/box/etc/{name}", "w", encoding="utf-8") as file:
            file.write(content)
    if config["prefix"]:
        graft(str(config["prefix"]), PREFIX)
    os.makedirs(f"/box{PACKAGES}")
    for source, name in config["packages"]:  # type: ignore[misc]
        graft(source, f"{PACKAGES}/{name}")
    for name in _DEVICES:
        touch(f"/box/dev/{name}")
        kernel.bind(f"/host/dev/{name}", f"/box/dev/{name}", kernel.ATTR_NOSUID | kernel.ATTR_NOEXEC)
    for name, target in _STREAMS.items():
        os.symlink(target, f"/box/dev/{name}")
    kernel.mount("tmpfs", "/box/tmp", kernel.MS_NOSUID | kernel.MS_NODEV, "size=64m,nr_inodes=4000,mode=1777")
    kernel.restrict_mount("/box", kernel.ATTR_RDONLY | kernel.ATTR_NOSUID)


def graft(source: str, target: str) -> None:
    """Show a file or directory of the host in the box, read-only."""
    source = f"/host{source}"
    if os.path.isdir(source):
        os.makedirs(f"/box{target}", exist_ok=True)
    else:
        touch(f"/box{target}")
    kernel.bind(source, f"/box{target}", _READ_ONLY, recursive=True)


def touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))

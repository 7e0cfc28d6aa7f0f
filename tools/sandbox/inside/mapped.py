"""A directory of one owner shown as another's, by an id-mapped mount (mount_setattr(2)). Only root can make one.

Needs Linux 5.12 and a file system that supports it.
"""

from __future__ import annotations

import os

from . import kernel


def mount_mapped(source: str, target: str, disk: tuple[int, int], shown: tuple[int, int], proc: str = "/proc") -> None:
    """Put a view of ``source`` at ``target``, in which what (uid, gid) ``disk`` owns is owned by ``shown``.

    Args:
        proc: where the proc file system of this pid namespace is.

    Raises:
        OSError: refused.
    """
    namespace = _user_namespace(f"{disk[0]} {shown[0]} 1\n", f"{disk[1]} {shown[1]} 1\n", proc)
    try:
        attributes = kernel.ATTR_IDMAP | kernel.ATTR_NOSUID | kernel.ATTR_NODEV
        tree = kernel.clone_tree(source, attributes=attributes, userns=namespace)
    finally:
        os.close(namespace)
    kernel.attach(tree, target)


def _user_namespace(uid_map: str, gid_map: str, proc: str) -> int:
    """A descriptor of a user namespace with these maps; nothing runs in it."""
    ready, set_ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ready)
            kernel.unshare(kernel.CLONE_NEWUSER)
            os.write(set_ready, b"+")
            os.read(os.pipe()[0], 1)  # until killed
        finally:
            os._exit(0)
    os.close(set_ready)
    try:
        if os.read(ready, 1) != b"+":
            raise OSError("unshare: user namespaces are off")
        for name, content in (("uid_map", uid_map), ("gid_map", gid_map)):
            with open(f"{proc}/{pid}/{name}", "w", encoding="utf-8") as file:
                file.write(content)
        return os.open(f"{proc}/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready)

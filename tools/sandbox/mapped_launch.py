"""Starts a command as a session's user, with a directory of another owner shown as that user's.

Run by a root server as a script: ``mapped_launch.py SOURCE MOUNT_POINT DISK_UID DISK_GID UID GID COMMAND...``. In a
mount namespace of its own it puts an id-mapped view of SOURCE on MOUNT_POINT (see mount_setattr(2)), becomes UID:GID
for good and runs COMMAND. Needs Linux 5.12 and a file system that supports id-mapped mounts; exit status 97 says that
the mapping was refused.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC_PRIVATE = 1 << 14 | 1 << 18
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same on every 64-bit architecture
_OPEN_TREE_CLONE, _O_CLOEXEC = 1, 0o2000000
_AT_FDCWD, _AT_EMPTY_PATH, _MOVE_MOUNT_F_EMPTY_PATH = -100, 0x1000, 4
_ATTR_NOSUID, _ATTR_NODEV, _ATTR_IDMAP = 0x2, 0x4, 0x00100000
REFUSED = 97

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _user_namespace(uid_map: str, gid_map: str) -> int:
    """A descriptor of a user namespace with these maps; nothing runs in it."""
    ready, set_ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        os.write(set_ready, b"+" if _libc.unshare(_CLONE_NEWUSER) == 0 else b"-")
        os.read(os.pipe()[0], 1)  # until killed
        os._exit(0)
    os.close(set_ready)
    try:
        if os.read(ready, 1) != b"+":
            raise OSError("unshare: user namespaces are off")
        for name, content in (("uid_map", uid_map), ("gid_map", gid_map)):
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write(content)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready)


def _mount_mapped(source: str, mount_point: str, namespace: int) -> None:
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None), "mount --make-rprivate")
    flags = _OPEN_TREE_CLONE | _O_CLOEXEC
    tree = _check(_libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags), "open_tree")
    attributes = struct.pack("=QQQQ", _ATTR_IDMAP | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, namespace)
    _check(_libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, len(attributes)), "mount_setattr")
    target = os.fsencode(mount_point)
    _check(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH), "move_mount")


def main(arguments: list[str]) -> None:
    source, mount_point, disk_uid, disk_gid, uid, gid, *command = arguments
    try:
        namespace = _user_namespace(f"{disk_uid} {uid} 1\n", f"{disk_gid} {gid} 1\n")
        _mount_mapped(source, mount_point, namespace)
    except OSError as error:
        print(f"id-mapped mount refused: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])

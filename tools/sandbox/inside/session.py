"""Pid 1 of a session, forked by the zygote: from its rights to none.

1. The forked process leaves the zygote's root, becomes the session's user, makes the namespaces, forks pid 1 of the
   session, tells the server of it and ends.
2. Pid 1 asks the nursery for an interpreter, prepares the file system while that is born, says ``ready``, and both
   wait. They can wait in a pool: they know their user, nothing else. Only the interpreter is in the session's control
   groups, with all that comes of it: to move a process there takes the kernel longer than all of the rest.
3. The server's claim gives pid 1 a workspace and limits. It moves both into the new root for good and gives up its
   rights, as the interpreter has done before; then that runs cells, and pid 1 reaps, and freezes the others when the
   server asks.

Pid 1 ends when the interpreter ends, or when the server is gone; the kernel then ends everything else inside.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from typing import Any

from . import kernel
from .box import INSIDE_ID, map_identity
from .mapped import mount_mapped
from .nursery import MESSAGE, Filters
from .supervisor import Supervisor, send_to_all

_NAMESPACES = (
    kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWNET
)  # fmt: skip
_HOSTS_PROC = "/host/proc"


class Session:
    """
    Args:
        request: ``{"user": [uid, gid] or null, "cgroups": [path, ...], "mapped": {...} or null, "network":
            bool}``.
        fds: message socket to the server; control socket, stdout and stderr of the interpreter.
        births: message socket to the nursery.
        filters: of system calls.
    """

    def __init__(self, request: dict[str, Any], fds: list[int], births: socket.socket, filters: Filters) -> None:
        server, *self.streams = fds
        self.request = request
        self.server = socket.socket(fileno=server)
        self.births = births
        self.filters = filters

    def begin(self) -> None:
        """Never returns."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which leaves pid 1 alone; Python's handler would end it
        try:
            self.leave_zygote()
            pid = os.fork()
            if pid:
                self.tell({"pid": pid}, [os.pidfd_open(pid)])
                os._exit(0)
            self.ask_for_interpreter()
            self.prepare()  # meanwhile
            self.interpreter = self.get_interpreter()
            self.tell({"ready": True}, [self.interpreter])
            self.claim()
            Supervisor(self.server, self.interpreter, everyone, send_to_all).run()
            os._exit(0)
        except BaseException as error:
            with suppress(OSError):
                self.tell({"problem": f"{type(error).__name__}: {error}"})
        finally:
            os._exit(1)

    def tell(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        socket.send_fds(self.server, [json.dumps(message).encode()], fds or [])

    def leave_zygote(self) -> None:
        os.chroot("..")  # from /host, the working directory: to the root that has both /host and /box
        os.chdir("/")
        with open(f"{_HOSTS_PROC}/self/oom_score_adj", "w") as file:
            file.write("900")
        mapped = self.request["mapped"]
        if mapped:
            kernel.unshare(kernel.CLONE_NEWNS)
            source, target = f"/host{mapped['source']}", f"/host{mapped['target']}"
            mount_mapped(source, target, tuple(mapped["disk"]), tuple(mapped["shown"]), _HOSTS_PROC)
        uid, gid = self.request["user"] or (os.geteuid(), os.getegid())
        if self.request["user"]:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            kernel.set_dumpable(True)  # or the files in /proc/self, the maps among them, are root's
        kernel.unshare(_NAMESPACES)
        map_identity(uid, gid, INSIDE_ID, _HOSTS_PROC)

    def prepare(self) -> None:
        kernel.make_private()
        kernel.attach(kernel.clone_tree("/box", recursive=True), "/box")
        kernel.mount("proc", "/box/proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        kernel.bind("/box/proc/sys", "/box/proc/sys", kernel.ATTR_RDONLY)
        if self.request["network"]:
            kernel.bring_up_loopback()
        kernel.gain_nothing()

    def ask_for_interpreter(self) -> None:
        """When there is no nursery any more, end in silence: the server then asks a new zygote."""
        self.link, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        birth = {
            "cgroups": self.request["cgroups"],
            "user": self.request["user"] is not None,
            "network": self.request["network"],
        }
        fds = [os.pidfd_open(os.getpid()), far.fileno(), *self.streams]
        try:
            socket.send_fds(self.births, [json.dumps(birth).encode()], fds)
        except OSError:
            os._exit(1)
        self.births.close()
        far.close()
        for fd in (fds[0], *self.streams):
            os.close(fd)

    def get_interpreter(self) -> int:
        """A pidfd of it, when it is ready."""
        _, born, _, _ = socket.recv_fds(self.link, 64, 1)
        if not born:
            os._exit(1)
        return born[0]

    def claim(self) -> None:
        """Wait for the server's word and do what it says. Without a word, end."""
        message = self.server.recv(MESSAGE)
        if not message:
            os._exit(0)
        claim = json.loads(message)
        for folder, size, files in claim["temporary"]:
            options = f"size={size},nr_inodes={files},mode=1777"
            kernel.mount("tmpfs", f"/box{folder}", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        attributes = kernel.ATTR_NOSUID | kernel.ATTR_NODEV
        kernel.bind(f"/host{claim['workspace']}", "/box/workspace", attributes)
        os.chdir("/box")
        kernel.pivot_root(".", ".")  # for the interpreter too: it shares the mount namespace
        kernel.detach(".")
        os.chdir("/")
        kernel.give_up_capabilities()
        kernel.set_dumpable(False)  # the session's code must not write to this process's memory
        self.link.send(b"go")
        self.link.close()
        kernel.filter_calls(self.filters.none)


def everyone() -> list[int]:
    """All processes of this namespace."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]

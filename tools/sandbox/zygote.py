"""Isolation by a zygote: sessions are forked, in milliseconds, from one Python with the scientific packages loaded.

Each gets its own user, mount, pid, network, ipc, uts and cgroup namespaces, a uid of its own where the server is root,
a root file system of a few read-only mounts, no capability, and our seccomp filter. See `inside/zygote.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field

from ..errors import SandboxUnavailable
from .backend import Backend, Sandbox
from .cgroups import Cgroups
from .embryo import Embryo, ZygoteGone
from .identity import IDENTITIES, Identity, server_is_root
from .launch import Channels, refuse_root, starting
from .local import START_TIMEOUT, start_local
from .packages import PRELOADED, Interpreter
from .seccomp import Reach, assemble
from .spec import Limits, SandboxSpec
from .supervised import Supervised
from .zygote_process import ZygoteProcess

_RECYCLE_FORKS, _RECYCLE_SECONDS = 1000, 3600.0  # sessions of one zygote share hash seed and address layout
_REFILL_AFTER = 0.02  # seconds
_LIMITS = Limits()


@dataclass
class _Held:
    """What a backend keeps running."""

    process: ZygoteProcess | None = None
    successor: ZygoteProcess | None = None
    waiting: dict[Identity | None, list[Embryo]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def let_go(self) -> None:
        with self.lock:  # nothing is made from now on
            processes, self.process, self.successor = (self.process, self.successor), None, None
            embryos = [one for embryos in self.waiting.values() for one in embryos]
            self.waiting.clear()
        for process in processes:  # first: what waits for them ends with them
            if process:
                process.close(at_once=True)
        for embryo in embryos:
            embryo.close()
            if embryo.identity and IDENTITIES.used(embryo.identity):
                IDENTITIES.give_back(embryo.identity)


class Zygote(Backend):
    """Forks sandboxes.

    Args:
        interpreter: the Python inside.
        cgroups: limits for all processes of a session together, where this process may set them.
        ready: how many sandboxes wait for their session.
        preload: modules that every sandbox has loaded.
    """

    name = "zygote"
    networks = True

    def __init__(
        self,
        interpreter: Interpreter,
        cgroups: Cgroups | None,
        *,
        ready: int = 2,
        preload: tuple[str, ...] = PRELOADED,
    ) -> None:
        self.python = interpreter.host
        self.interpreter = interpreter
        self._cgroups = cgroups
        self._wanted = ready
        self._network = False  # whether the sandboxes that wait have one
        filters = assemble(), assemble(reach=Reach(internet=True))
        self._make = lambda: ZygoteProcess(interpreter, filters, preload)
        self._held = _Held()
        self._let_go = weakref.finalize(self, self._held.let_go)  # also when the server's process ends in good order

    def warm_up(self, network: bool = False) -> None:
        self._network = network
        with suppress(SandboxUnavailable, ZygoteGone):  # the next `create` says why
            self._alive()
            self._fill()

    def close(self) -> None:
        self._held.let_go()

    def keep_ready(self, count: int) -> None:
        """Change how many sandboxes wait from now on."""
        self._wanted = count

    async def wait_ready(self) -> None:
        """Until all that should wait do."""
        self._fill()
        for embryo in [one for embryos in self._held.waiting.values() for one in embryos]:
            await embryo.ready()

    def pids(self) -> list[int]:
        """The zygote's own processes."""
        return self._held.process.pids() if self._held.process else []

    async def create(self, spec: SandboxSpec) -> Sandbox:
        refuse_root(spec)
        for attempt in (1, 2):
            process = self._alive()
            try:
                embryo = self._take(spec)
            except ZygoteGone:
                self._bury()
                if attempt == 2:
                    raise SandboxUnavailable("the sandbox did not start: its zygote ends at once") from None
                continue
            try:
                async with asyncio.timeout(START_TIMEOUT):
                    processes = await self._claim(embryo, spec)
            except (ZygoteGone, TimeoutError) as error:
                await asyncio.to_thread(embryo.close)
                if process.ending():
                    self._bury()
                if isinstance(error, TimeoutError) or attempt == 2:
                    said = process.complaint() or "it does not answer"
                    raise SandboxUnavailable(f"the sandbox did not start: {said}") from None
                continue
            except BaseException:
                await asyncio.shield(asyncio.to_thread(embryo.close))
                raise
            # After this start, which it would slow down.
            asyncio.get_running_loop().call_later(_REFILL_AFTER, self._refill)
            return await start_local(processes, spec)
        raise AssertionError("unreachable")

    def _alive(self) -> ZygoteProcess:
        """The zygote, a new one when it has died or is old."""
        held = self._held
        if held.process and held.process.died():
            self._bury()
        if held.process is None:
            held.process = self._make()
        elif held.process.forks >= _RECYCLE_FORKS or time.monotonic() - held.process.born > _RECYCLE_SECONDS:
            if held.successor is None:
                held.successor = self._make()
            elif held.successor.loaded():
                held.process.close()
                held.process, held.successor = held.successor, None
        return held.process

    def _bury(self) -> None:
        if self._held.process:
            self._held.process.close()
            self._held.process = None

    def _take(self, spec: SandboxSpec) -> Embryo:
        """One that waits for this user, or a new one."""
        waiting = self._held.waiting.get(spec.user) if spec.owner is None else None
        if waiting and waiting[0].network == spec.network:
            embryo = waiting.pop(0)
            if embryo.identity:
                IDENTITIES.used(embryo.identity)
            if embryo.confinement and spec.limits != _LIMITS:
                embryo.confinement.limit(spec.limits)
            return embryo
        return self._new(spec.user, spec.network, spec)

    def _new(self, user: Identity | None, network: bool, spec: SandboxSpec | None = None) -> Embryo:
        """Ask the zygote for one.

        Raises:
            ZygoteGone: it has just died.
            SandboxUnavailable: it cannot be asked.
        """
        mapped = None
        if spec and spec.owner and spec.user:
            disk = spec.owner.identity
            mapped = {
                "source": str(spec.workspace),
                "target": str(spec.owner.mount_point),
                "disk": [disk.uid, disk.gid],
                "shown": [spec.user.uid, spec.user.gid],
            }
        with starting(), Channels() as channels:
            confinement = channels.confine(self._cgroups, spec.limits if spec else _LIMITS, ("memory", "pids"))
            server, far_server = channels.sockets(socket.SOCK_SEQPACKET)
            server.setblocking(False)
            request = {
                "user": [user.uid, user.gid] if user else None,
                "cgroups": [str(place) for place in confinement.places] if confinement else [],
                "mapped": mapped,
                "network": network,
            }
            far_control = channels.far_control.fileno()
            passed = [far_server.fileno(), far_control, channels.far_stdout, channels.far_stderr]
            try:
                self._alive().fork(request, passed)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise ZygoteGone from error
            channels.keep()
        return Embryo(server, channels.control, channels.stdout, channels.stderr, confinement, user, network)

    def _refill(self) -> None:
        with self._held.lock:
            if self._held.process:  # not closed meanwhile, which another thread may do
                self._fill()

    def _fill(self) -> None:
        """Let new ones be made for those that were taken, without waiting for them."""
        with suppress(SandboxUnavailable, ZygoteGone, RuntimeError):
            while sum(map(len, self._held.waiting.values())) < self._wanted:
                identity = IDENTITIES.reserve() if server_is_root() else None
                try:
                    embryo = self._new(identity, self._network)
                except BaseException:
                    if identity:
                        IDENTITIES.give_back(identity)
                    raise
                self._held.waiting.setdefault(identity, []).append(embryo)
                if identity:
                    IDENTITIES.offer(identity)

    async def _claim(self, embryo: Embryo, spec: SandboxSpec) -> Forked:
        await embryo.ready()
        limits, workspace = spec.limits, spec.owner.mount_point if spec.owner else spec.workspace
        claim = {
            "workspace": str(workspace),
            "temporary": [
                ("/tmp", limits.temporary, limits.temporary_files),
                ("/dev/shm", limits.shared_memory, limits.temporary_files),
            ],
        }
        try:
            embryo.server.send(json.dumps(claim).encode())
        except OSError as error:
            raise ZygoteGone from error
        processes = Forked(embryo.control, embryo.stdout, embryo.stderr, embryo.confinement, embryo.server)
        processes.init, processes.program = embryo.init, embryo.program
        return processes


@dataclass
class Forked(Supervised):
    """The supervisor is pid 1 of the session."""

    def end(self) -> int:
        return os.dup(self.init)

    def settle(self, program_pid: int) -> None:
        """It was limited before it began."""

"""How ranks find each other: by a file on one machine, by torch's TCP store on several.

Between machines nothing is encrypted or authenticated: their network must be a trusted one, as NCCL needs it anyway.
"""

from __future__ import annotations

from datetime import timedelta
from multiprocessing.connection import Client, Connection, Listener

from torch.distributed import FileStore, Store, TCPStore  # pyright: ignore[reportPrivateImportUsage] (documented)

from ..config import EngineConfig

_PATIENCE = timedelta(minutes=10)  # until the last machine has come
_STEPS = "steps"


def open_store(config: EngineConfig, meeting: str, rank: int) -> Store:
    """What all ranks read and write. ``meeting`` is a file's path on one machine, else HOST:PORT of rank 0."""
    if config.nnodes == 1:
        return FileStore(meeting, config.tensor_parallel_size)
    host, port = meeting.rsplit(":", 1)
    return TCPStore(host, int(port), is_master=rank == 0, timeout=_PATIENCE, wait_for_workers=False)


def accept_followers(config: EngineConfig, meeting: str, store: Store) -> list[Connection]:
    """On rank 0: a connection to every other rank. What is sent there is for :func:`connect_to_leader`."""
    count = config.tensor_parallel_size - 1
    if config.nnodes == 1:
        address, family = f"{meeting}-steps", "AF_UNIX"
    else:
        address, family = (meeting.rsplit(":", 1)[0], 0), "AF_INET"
    with Listener(address, family, backlog=count) as listener:
        place = listener.address
        store.set(_STEPS, place if isinstance(place, str) else ":".join(map(str, place)))
        return [listener.accept() for _ in range(count)]


def connect_to_leader(config: EngineConfig, store: Store) -> Connection:
    """On another rank: where steps come from."""
    place = store.get(_STEPS).decode()
    if config.nnodes == 1:
        return Client(place, "AF_UNIX")
    host, port = place.rsplit(":", 1)
    return Client((host, int(port)), "AF_INET")

"""What front and engine process say to each other: msgpack over two ZeroMQ pipes, one in each direction.

The front sends :class:`Submit` and :class:`Abort`. The engine sends :class:`Loading` while it starts, then
:class:`Ready` or :class:`Refused`, then one :class:`Outputs` for each step that had something to tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .config import EngineConfig
from .errors import EngineError, InvalidRequest
from .progress import Stage
from .request import Request, TokenOutput
from .scheduler.events import Accepted, Event, Failed, Load, Produced


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of itself when it is ready. ``kv_pages`` counts pages of ``page_size`` tokens."""

    model: str
    device: str
    dtype: str
    vocab_size: int
    max_model_len: int
    eos_token_ids: list[int]
    page_size: int
    kv_pages: int
    attention: str = "torch"
    tensor_parallel_size: int = 1


class StartUp(msgspec.Struct, frozen=True):
    """The first line of the engine process's standard input, as JSON. When the input ends, the process does too.

    ``inbox`` and ``outbox`` are ZeroMQ addresses that the front has bound; ``scratch`` is a folder that it removes when
    the process has ended.
    """

    config: EngineConfig
    inbox: str
    outbox: str
    scratch: str


class Submit(msgspec.Struct, frozen=True, tag=True):
    request: Request


class Abort(msgspec.Struct, frozen=True, tag=True):
    id: str


class Loading(msgspec.Struct, frozen=True, tag=True):
    """How far the start is, as of :data:`engine.progress.Progress`."""

    stage: Stage
    done: int
    total: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    info: EngineInfo


class Error(msgspec.Struct, frozen=True):
    """An EngineError on the wire; see errors.from_wire."""

    kind: str
    message: str
    param: str | None = None

    @classmethod
    def of(cls, error: EngineError) -> Error:
        return cls(error.kind, str(error), error.param if isinstance(error, InvalidRequest) else None)


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The engine cannot start with this configuration; another try would end the same way."""

    error: Error


class Outputs(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """What a step brought, by request id, and the load after it. An id that has ended does not come again."""

    accepted: list[str] = []
    produced: list[tuple[str, TokenOutput]] = []
    failed: list[tuple[str, Error]] = []
    load: Load | None = None

    @classmethod
    def of(cls, events: Sequence[Event], load: Load) -> Outputs:
        return cls(
            [event.id for event in events if isinstance(event, Accepted)],
            [(event.id, event.output) for event in events if isinstance(event, Produced)],
            [(event.id, Error.of(event.error)) for event in events if isinstance(event, Failed)],
            load,
        )


ToEngine = Submit | Abort
ToFront = Loading | Ready | Refused | Outputs

encode = msgspec.msgpack.Encoder().encode
decode_to_engine = msgspec.msgpack.Decoder(ToEngine).decode
decode_to_front = msgspec.msgpack.Decoder(ToFront).decode

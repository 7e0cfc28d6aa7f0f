"""The errors of the engine room. Every one may cross the wire: it is a kind and a message."""

from __future__ import annotations


class EngineError(Exception):
    """Base of all engine errors. ``kind`` names the class on the wire."""

    kind = "engine_error"


class InvalidRequest(EngineError):
    """The request can never be served as it is: sampling out of range, a bad grammar. Says what to change."""

    kind = "invalid_request"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextOverflow(InvalidRequest):
    """Prompt and output do not fit the model's context."""

    kind = "context_overflow"


class Overloaded(EngineError):
    """The waiting queue is full. Try again later."""

    kind = "overloaded"


class DeadlineExceeded(EngineError):
    """The request's deadline passed before it ended."""

    kind = "deadline_exceeded"


class EngineDied(EngineError):
    """The engine process ended while the request ran. A new one is starting."""

    kind = "engine_died"


class InvalidConfig(EngineError):
    """The engine cannot run with this configuration. Says which field to change."""

    kind = "invalid_config"


class ModelNotFound(EngineError):
    """No such model folder or hub id, or its files are not usable."""

    kind = "model_not_found"


_KINDS: dict[str, type[EngineError]] = {
    error.kind: error
    for error in (
        EngineError, InvalidRequest, ContextOverflow, Overloaded, DeadlineExceeded, EngineDied, InvalidConfig,
        ModelNotFound,
    )
}  # fmt: skip


def from_wire(kind: str, message: str, param: str | None = None) -> EngineError:
    """The exception that ``kind`` names, for raising on the front's side."""
    cls = _KINDS.get(kind, EngineError)
    return cls(message, param) if issubclass(cls, InvalidRequest) else cls(message)

"""The handle that the front holds on the engine process: start, supervise, submit, stream, abort.

Loads neither torch nor the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Literal, Self

import msgspec

from .config import EngineConfig
from .request import FinishReason, Request, TokenLogprob, TokenOutput

Status = Literal["starting", "ready", "restarting", "stopped"]


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine process says of itself when it is ready."""

    model: str
    device: str
    dtype: str
    vocab_size: int
    max_model_len: int
    eos_token_ids: list[int]
    page_size: int
    kv_pages: int


class TextOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The next piece of text of one request.

    The pieces' ``text`` concatenate to the whole output. ``token_ids`` are the tokens newly produced since the last
    piece (their text may come later: half a character, or a possible stop string, is held back); they concatenate to
    the tokens that usage counts. ``prompt_tokens`` and ``cached_tokens`` are the same in every piece.
    """

    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None
    finish_reason: FinishReason | None
    stop_reason: str | int | None
    prompt_tokens: int
    cached_tokens: int


class TokenStream:
    """The outputs of one accepted request. Closing it early aborts the request."""

    def __aiter__(self) -> AsyncIterator[TokenOutput]: ...

    async def __anext__(self) -> TokenOutput: ...

    async def aclose(self) -> None: ...


class AsyncEngine:
    """An engine process under supervision: when it dies, its requests end with EngineDied and a new one starts."""

    def __init__(self, config: EngineConfig) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def status(self) -> Status: ...

    async def ready(self) -> EngineInfo:
        """Wait until the engine serves. Raises EngineError (ModelNotFound, ...) when it cannot start."""
        ...

    async def submit(self, request: Request) -> TokenStream:
        """Send a request and wait until it is accepted: checked, its grammar compiled, queued.

        Raises InvalidRequest, ContextOverflow, Overloaded or EngineDied.
        """
        ...

    async def submit_text(
        self,
        request: Request,
        *,
        stop: tuple[str, ...] = (),
        include_stop: bool = False,
        skip_special_tokens: bool = True,
    ) -> AsyncIterator[TextOutput]:
        """Like :meth:`submit`, with the output as text: stop strings applied, characters never cut."""
        ...

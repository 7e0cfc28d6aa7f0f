"""The served model from start to stop: the engine under supervision, and what the front knows of its model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from ..engine import AsyncEngine, EngineConfig, EngineInfo, resolve_model
from ..engine.errors import EngineError
from ..engine.loading import LoadingBars
from .chat.model import ChatModel
from .chat.transcript import Transcript

Status = Literal["starting", "ready", "restarting", "stopped", "failed"]


class NotReady(EngineError):
    """The model is still loading, or could not be loaded."""

    kind = "not_ready"


class ServedModel:
    """Use it as an async context manager: the engine process starts first, and loads while the front loads its part.

    Args:
        config: the engine's.
        names: what clients may call the model; the first one is what answers say. By default the configured name.
        template: a chat template (file or text) instead of the model's own.
        format: a tool-call format's name instead of the one the template shows.
        reasoning: likewise for the marks around thoughts.

    Attributes:
        transcript: the token ids of past turns.
        cache_per_owner: requests of different owners share no cached prefixes.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        names: tuple[str, ...] = (),
        template: str | None = None,
        format: str | None = None,
        reasoning: str | None = None,
        engine: AsyncEngine | None = None,
    ) -> None:
        self.config = config
        # A folder goes by its name: where it is on this machine is no business of clients.
        self.names = names or (Path(config.model).name if Path(config.model).is_dir() else config.model,)
        self._bars = LoadingBars()
        self.engine = engine or AsyncEngine(config, self._bars)
        self.transcript = Transcript()
        self.cache_per_owner = False
        self._cache_epoch = 0
        self._template = template
        self._format = format
        self._reasoning = reasoning
        self._loaded: asyncio.Task[tuple[ChatModel, EngineInfo]] | None = None

    async def __aenter__(self) -> Self:
        await self.engine.__aenter__()
        self._loaded = asyncio.create_task(self._load())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loaded is not None:
            self._loaded.cancel()
            await asyncio.gather(self._loaded, return_exceptions=True)
        with self._bars:
            await self.engine.__aexit__(kind, error, trace)

    @property
    def status(self) -> Status:
        if self._loaded is None:
            return "stopped"
        if not self._loaded.done():
            return "starting"
        return "failed" if self._loaded.cancelled() or self._loaded.exception() else self.engine.status

    @property
    def failure(self) -> BaseException | None:
        """Why the model could not be loaded, or None."""
        task = self._loaded
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    async def ready(self) -> tuple[ChatModel, EngineInfo]:
        """Wait until the model serves. Raises what kept it from loading."""
        if self._loaded is None:
            raise NotReady("The model has not been started.")
        return await asyncio.shield(self._loaded)

    async def parts(self) -> tuple[AsyncEngine, ChatModel, EngineInfo]:
        """The engine with what :meth:`ready` gives: all that an agent needs."""
        return self.engine, *await self.ready()

    def now(self) -> tuple[ChatModel, EngineInfo]:
        """What :meth:`ready` gives, without waiting. Raises :class:`NotReady`."""
        if self._loaded is None or not self._loaded.done():
            raise NotReady("The model is loading. Try again in a few seconds.")
        if self._loaded.cancelled() or self._loaded.exception() is not None:
            raise NotReady(f"The model could not be loaded: {self.failure}")
        return self._loaded.result()

    def cache_salt(self, owner: str, wanted: str | None) -> str:
        """The salt of a request's cached prefixes: equal for those that may share them."""
        parts = [f"epoch {self._cache_epoch}"] if self._cache_epoch else []
        if self.cache_per_owner:
            parts.append(f"owner {owner}")
        return "\0".join([*parts, wanted]) if wanted else "\0".join(parts)

    def reset_prefix_cache(self) -> None:
        """No later request finds what is cached now; its pages are the first to go when others need them."""
        self._cache_epoch += 1

    async def _load(self) -> tuple[ChatModel, EngineInfo]:
        with self._bars:
            chat = await asyncio.to_thread(self._load_chat)
            info = await self.engine.ready()
            chat.context = info.max_model_len
            return chat, info

    def _load_chat(self) -> ChatModel:
        folder, tokenizer = resolve_model(self.config.model), self.engine.tokenizer
        return ChatModel.load(
            folder, tokenizer, template=self._template, format=self._format, reasoning_format=self._reasoning
        )

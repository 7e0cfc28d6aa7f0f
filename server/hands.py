"""The tools that the server offers, and the sessions that they work in, from start to stop."""

from __future__ import annotations

import asyncio
import logging
import resource
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Literal, Self

from ..tools import Browsing, Offer, Registry, Session, Sessions, WorkspaceError, default_tools, probe
from ..tools.browser.config import BrowserConfig
from ..tools.code.network import CodeNetwork
from ..tools.sandbox.backend import Backend
from ..tools.sandbox.config import SandboxConfig
from .observe.calls import OnCall
from .served import ServedModel

log = logging.getLogger("agenthost")
Files = Literal["core", "full"]

EMBEDDED = "pocket"
_DESCRIPTORS = 65_536
_CONTEXT_FOR_ALL = 16_384  # tokens
_EXPIRY_INTERVAL = 30.0  # seconds between two looks for sessions whose time is over

# What the embedded model is trained on; a small model is confused by more.
_COMPACT = (
    "python", "read_text_file", "write_file", "list_directory", "edit_file", "search_files", "move_file",
    "create_directory", "search", "open", "find",
)  # fmt: skip


class Hands:
    """Use it as an async context manager. It looks for the tools in the background, which starts a sandbox once.

    Args:
        sessions: not yet entered. Where their root cannot be used, workspaces are temporary.
        browser: how the browser tools are set up.
        sandbox: how code may run.

    Attributes:
        on_call: told of every call that is over.
        warning: what an operator must know of how code runs; None when all is well, or not known yet.

    Raises when entered:
        BrowserUnavailable: the browser tools cannot be set up as wanted.
    """

    def __init__(
        self,
        sessions: Sessions | None = None,
        browser: BrowserConfig | None = None,
        sandbox: SandboxConfig | None = None,
    ) -> None:
        self.sessions = Sessions() if sessions is None else sessions  # an empty one is false
        browser, self._sandbox = browser or BrowserConfig(), sandbox or SandboxConfig()
        self._browsing = Browsing(browser)
        self._network = CodeNetwork.of(self._sandbox, browser.allow_host)
        self.on_call: OnCall | None = None
        self.warning: str | None = None
        self._stack = AsyncExitStack()
        self._backend: Backend | None = None
        self._looking: asyncio.Task[dict[Files, Offer]] | None = None
        self._expiring: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        _allow_many_files()
        await self._stack.enter_async_context(self._browsing)  # before the sessions, so that it is left after them
        try:
            if self._network:
                await self._stack.enter_async_context(self._network)
            await self._enter_sessions()
        except BaseException:
            await self._stack.aclose()
            raise
        self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        self._expiring = asyncio.create_task(self._expire())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._expiring is not None:
            self._expiring.cancel()
        # The look is not cancelled: it is short, and would go on in its thread.
        background: list[asyncio.Task[Any]] = [task for task in (self._looking, self._expiring) if task is not None]
        await asyncio.gather(*background, return_exceptions=True)
        try:
            await self._stack.aclose()
        finally:
            if self._backend is not None:
                await asyncio.to_thread(self._backend.close)

    def check_hosts(self, hosts: tuple[str, ...]) -> None:
        """Whether code of a session may be let reach these. Raises ValueError."""
        if self._network is None:
            raise ValueError("the operator of this server lets code reach no host.")
        self._network.check(hosts)

    def hosts(self, session: Session | None) -> tuple[str, ...]:
        """What a session's code may reach, or that of one of which nothing is said."""
        given = session.hosts if session is not None else None
        return self._sandbox.sandbox_allow_hosts if given is None else given

    def network_policy(self, session: Session | None) -> dict[str, Any]:
        """What a session's code may reach, as OpenAI's containers say it."""
        hosts = self.hosts(session)
        return {"type": "allowlist", "allowed_domains": list(hosts)} if hosts else {"type": "disabled"}

    async def offer(self, files: Files = "core") -> Offer:
        """The tools that work on this machine, with few or all file tools, see `default_tools`."""
        if self._looking is None:
            raise RuntimeError("enter Hands with `async with` before asking for its tools")
        return (await asyncio.shield(self._looking))[files]

    async def offer_for(self, served: ServedModel) -> Offer:
        """The tools among which a request to this model may choose.

        All file tools need some thousand tokens to describe; a small context, and the embedded model, get the few.

        Raises :class:`NotReady`.
        """
        _, info = served.now()
        few = served.config.model == EMBEDDED or info.max_model_len < _CONTEXT_FOR_ALL
        return await self.offer("core" if few else "full")

    def _look(self) -> dict[Files, Offer]:
        verdict = probe(allow_unsafe=self._sandbox.allow_unsafe_code)
        self._backend, self.warning = verdict.backend, verdict.warning
        if self.warning:
            log.warning(self.warning)
        sizes: tuple[Files, ...] = ("core", "full")
        return {
            files: default_tools(verdict, files=files, browsing=self._browsing, network=self._network)
            for files in sizes
        }

    async def _enter_sessions(self) -> None:
        try:
            await self._stack.enter_async_context(self.sessions)
        except WorkspaceError as error:
            log.warning("workspaces go when this server ends: %s", error)
            self.sessions = self.sessions.temporary()
            await self._stack.enter_async_context(self.sessions)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_INTERVAL)
            try:
                await self.sessions.expire()
            except Exception:
                log.exception("looking for sessions whose time is over failed")


def _allow_many_files() -> None:
    """Each live sandbox has some ten descriptors; the usual soft limit of 1,024 is for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems say no in the end
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def for_model(registry: Registry, model: str) -> Registry:
    """The tools that ``model`` can handle: all, or for the embedded one those it knows."""
    if model != EMBEDDED:
        return registry
    return Registry.of(registry.tools[name] for name in _COMPACT if name in registry.tools)

"""The connection to one external server, kept up: it crashes or hangs alone.

A connection lives in a task of its own, since it must be left where it was entered. Calls come from other tasks.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, cast

import anyio
import anyio.abc
import mcp.types as types
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ..egress.errors import EgressError
from ..errors import ToolError
from ..interaction import Progress, Question
from ..spec import JsonObject, ToolContext
from .config import ServerConfig
from .definition import BadDefinition, Definition, definition, visible
from .http import HttpClient

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 30.0  # seconds
_PING_TIMEOUT = 5.0
_PAUSES = (0.0, 0.5, 2.0, 8.0, 30.0)  # seconds before each try to connect again, the last one for ever
_STEADY = 60.0  # seconds after which a connection counts as good
_MOST_TOOLS = 512
_LOOKED_AT = 20_000  # characters of others' words, of which far fewer are told: no URL is cut where it is shown
_LAST_WORDS = 2000  # bytes of what a command wrote to stderr
_URL = re.compile(r"https?://(?:[^\s/?#@]*@)?([^\s/?#'\"]*)\S*", re.IGNORECASE)


class RemoteServer:
    """
    Args:
        config: where it is.
        http_client: makes what requests to a URL go through.

    Attributes:
        definitions: its tools as they are now, by name.
        problem: why it cannot be used now, in a sentence, or None.
        busy: calls are under way.
    """

    def __init__(self, config: ServerConfig, http_client: HttpClient) -> None:
        self.config = config
        self.definitions: dict[str, Definition] = {}
        self.problem: str | None = "it has not been started"
        self._http_client = http_client
        self._client: Client | None = None
        self._was_up = False
        self._broken = anyio.Event()
        self._tried = anyio.Event()
        self._asking: list[ToolContext] = []
        self._errors = b""
        self._limit: anyio.CancelScope | None = None  # of connecting

    @property
    def busy(self) -> bool:
        return bool(self._asking)

    async def tried(self) -> None:
        """Wait until the first try to connect has succeeded or failed."""
        await self._tried.wait()

    async def reach(self) -> Self:
        """This server, once it is connected. Raises ToolError: it cannot be used."""
        await self._connected()
        return self

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        failures = 0
        while True:
            await anyio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            begun = time.monotonic()
            self._was_up = False
            try:
                await self._connection()
            except Exception as error:
                if not self._was_up:
                    self.problem = self._explained(error)
                    log.warning("the MCP server %s: %s", self.config.label, self.problem)
                    self._tried.set()
            self._give_up()
            failures = 0 if time.monotonic() - begun > _STEADY else failures + 1

    async def call(self, name: str, arguments: JsonObject, context: ToolContext) -> types.CallToolResult:
        """Call a tool. Progress and questions go to ``context``. Cancelling this cancels the call at the server.

        Raises ToolError: the server is not there, ended, did not answer in time, or refused.
        """
        client = await self._connected()
        self._asking.append(context)
        try:
            with anyio.fail_after(self.config.timeout):
                return await client.call_tool(name, arguments, progress_callback=_progress(context))
        except TimeoutError:
            await self._check(client)
            raise ToolError(
                f"the external server {self.config.label} did not answer within {self.config.timeout:g} seconds."
            ) from None
        except MCPError as error:
            if error.error.code in (types.CONNECTION_CLOSED, types.INVALID_REQUEST):  # it may know no session of ours
                await self._check(client)
            if error.error.code == types.CONNECTION_CLOSED:  # the whole connection, or only this answer's
                raise ToolError(f"the external server {self.config.label} ended during the call. Try again.") from error
            message = plain(error.error.message, 1000)
            raise ToolError(f"the external server {self.config.label} refused: {message}") from error
        except Exception as error:  # a server may answer anything; its words do not belong in a log
            log.warning("a call of %.100r at %s failed: %s", name, self.config.label, type(error).__name__)
            await self._check(client)
            raise ToolError(f"the external server {self.config.label} gave no valid answer.") from error
        finally:
            self._asking.remove(context)

    async def _connected(self) -> Client:
        if self._client is None:
            with anyio.move_on_after(CONNECT_TIMEOUT):
                await self._tried.wait()
        if self._client is None:
            raise ToolError(
                f"the external server {self.config.label} cannot be used: {self.problem}. Go on without it."
            )
        return self._client

    def _lose(self, client: Client) -> None:
        """End a connection that is of no use any more."""
        if client is self._client:
            self._give_up()
            self._broken.set()

    def _give_up(self) -> None:
        """There is no connection now: calls wait for the next try."""
        if self._client is not None:
            self._client, self.problem = None, "its connection ended"
            self._tried = anyio.Event()

    async def _connection(self) -> None:
        self._broken = anyio.Event()
        async with anyio.create_task_group() as group, self._transport(group) as transport:
            client = Client(
                cast(Any, transport),
                elicitation_callback=self._elicited,
                message_handler=self._heard,
                client_info=types.Implementation(name="agenthost", version="0.1.0"),
                cache=None,
            )
            with anyio.fail_after(CONNECT_TIMEOUT) as self._limit:
                async with client:
                    client.session.validate_tool_result = _unchecked
                    await self._list(client)
                    self._limit.deadline = float("inf")
                    self._client, self.problem, self._was_up = client, None, True
                    self._tried.set()
                    if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                        group.start_soon(self._listen, client)
                    await self._broken.wait()
            group.cancel_scope.cancel()

    @asynccontextmanager
    async def _transport(self, group: anyio.abc.TaskGroup) -> AsyncIterator[object]:
        if self.config.url is not None:
            async with self._http_client(self.config, self._waiting) as http:
                yield streamable_http_client(self.config.url, http_client=http)
            return
        reading, writing = os.pipe()
        command, *args = self.config.command
        parameters = StdioServerParameters(command=command, args=args, env=dict(self.config.env), cwd=self.config.cwd)
        group.start_soon(self._keep_errors, reading)
        with os.fdopen(writing, "w") as errors:
            yield stdio_client(parameters, errlog=errors)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """The connection's time limit does not run while a person is waited for."""
        if self._limit is None:
            yield
            return
        left = self._limit.deadline - anyio.current_time()
        self._limit.deadline = float("inf")
        try:
            yield
        finally:
            self._limit.deadline = anyio.current_time() + left

    async def _keep_errors(self, fd: int) -> None:
        try:
            while True:
                await anyio.wait_readable(fd)
                data = os.read(fd, 1 << 16)
                if not data:
                    return
                self._errors = (self._errors + data)[-_LAST_WORDS:]
        finally:
            os.close(fd)

    async def _list(self, client: Client) -> None:
        found: dict[str, Definition] = {}
        cursor: str | None = None
        for _ in range(_MOST_TOOLS):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                if self.config.offers(tool.name) and len(found) < _MOST_TOOLS:
                    try:
                        found[tool.name] = definition(tool)
                    except BadDefinition as problem:
                        log.warning("the tool %.100r of %s is left out: %s", tool.name, self.config.label, problem)
            cursor = page.next_cursor
            if cursor is None:
                break
        self.definitions = found

    async def _check(self, client: Client) -> None:
        """A call failed: end the connection if nothing else is answered either. Others may have calls under way."""
        try:
            with anyio.fail_after(_PING_TIMEOUT):
                await client.list_tools()
        except Exception:
            self._lose(client)

    async def _listen(self, client: Client) -> None:
        """Without a handshake, news of a changed list come on a stream of their own."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as news:
                async for _ in news:
                    await self._list(client)
        except Exception as error:  # not every server that promises news has them
            log.info("no news of changed tools from the MCP server %s: %s", self.config.label, type(error).__name__)

    async def _heard(self, message: object) -> None:
        client = self._client
        if isinstance(message, types.ToolListChangedNotification) and client is not None:
            await self._list(client)

    async def _elicited(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Put the server's question to the person behind the calls that run now, if that is one person."""
        persons = {call.ask for call in self._asking}
        ask = persons.pop() if len(persons) == 1 else None
        if ask is None:
            return types.ElicitResult(action="decline")
        form = isinstance(params, types.ElicitRequestFormParams)
        question = Question(
            asker=self.config.label,
            message=params.message,
            schema=params.requested_schema if form else None,
            url=None if form else params.url,
        )
        reply = await ask(question)
        return types.ElicitResult(action=reply.action, content=reply.content if reply.action == "accept" else None)

    def _explained(self, error: BaseException) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, TimeoutError):
            reason = f"it did not answer within {CONNECT_TIMEOUT:g} seconds"
        elif isinstance(error, EgressError):
            reason = str(error).rstrip(".")
        else:
            reason = f"it could not be reached ({type(error).__name__}: {plain(str(error), 300)})"
        words = self._errors.decode("utf-8", "replace").strip().splitlines()
        return f"{reason}; its last words: {plain(words[-1], 300)}" if words else reason


def plain(text: str, longest: int) -> str:
    """Somebody else's words for logs, terminals and clients: in one line, only what can be seen, only hosts of URLs.

    The rest of a URL can hold secrets. Only the beginning of a long text is looked at.
    """
    return _URL.sub(r"\1", " ".join(visible(text, _LOOKED_AT).split()))[:longest]


async def _unchecked(name: str, result: types.CallToolResult) -> None:
    """In place of the SDK's check of a result by the server's own schema for it.

    Such a schema has no bounds and may take forever to apply, and nothing of ours depends on it.
    """


def _progress(context: ToolContext) -> Any:
    report = context.report
    if report is None:
        return None

    async def told(progress: float, total: float | None, message: str | None) -> None:
        await report(Progress(progress, total, message))

    return told

"""One external tool as a tool of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult, ToolSpec, failure
from .config import ServerConfig
from .definition import Definition
from .result import tool_result

if TYPE_CHECKING:
    import mcp.types as types

CHANGED = "definition_changed"  # in the structured result of a call that was therefore not made


class Server(Protocol):
    """Where a tool is, see :class:`RemoteServer`."""

    @property
    def config(self) -> ServerConfig: ...

    @property
    def definitions(self) -> Mapping[str, Definition]: ...

    async def reach(self) -> object: ...

    async def call(self, name: str, arguments: JsonObject, context: ToolContext) -> types.CallToolResult: ...


class RemoteTool(Tool):
    """
    Args:
        server: where it is.
        definition: as it was when it was listed; what the model was told.
        alias: what the model calls it.
    """

    def __init__(self, server: Server, definition: Definition, alias: str) -> None:
        self.server = server
        self.definition = definition
        self.spec = ToolSpec(
            name=alias,
            description=definition.description,
            parameters=definition.parameters,
            annotations=definition.hints,
            timeout=server.config.timeout + 5.0,  # the server's own comes first, and says more
            foreign=True,
        )

    @property
    def label(self) -> str:
        return self.server.config.label

    @property
    def fingerprint(self) -> str | None:
        """Of the definition that the server gives now; None when it has withdrawn the tool."""
        now = self.server.definitions.get(self.definition.name)
        return None if now is None else now.fingerprint

    @property
    def approved(self) -> bool:
        """Whether the operator's configuration lets it be called without asking, as it was listed."""
        unchanged = self.fingerprint in (None, self.definition.fingerprint)
        return unchanged and self.server.config.approves(self.definition.name)

    @property
    def expected(self) -> str:
        """The fingerprint under which it may be called now: whoever calls it has just looked at what it is."""
        return self.fingerprint or self.definition.fingerprint

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        expected = self.expected
        await self.server.reach()  # which may start it again, with other tools
        if self.fingerprint is None:
            raise ToolError(f"the external server {self.label} does not offer this tool any more. Go on without it.")
        if self.fingerprint != expected:
            refused = failure(
                f"the external server {self.label} has changed what this tool does since it was listed, so it was not "
                "called. It will be listed again, and needs a new approval."
            )
            return replace(refused, structured={CHANGED: True})
        given = await self.server.call(self.definition.name, arguments, context)
        return tool_result(self.label, given)


class PinnedTool(RemoteTool):
    """A tool that is called only as long as it is what was listed."""

    @property
    def expected(self) -> str:
        return self.definition.fingerprint

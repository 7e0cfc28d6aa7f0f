"""The reference server that does everything, as an external server. It comes from npm (`make node`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from agenthost.tools import Progress, Registry, Session, ToolContext
from agenthost.tools.remote import RemoteServers, ServerConfig

MODULES = Path(__file__).parents[2] / ".node" / "node_modules"
NODE = MODULES / ".bin" / "node"
SERVER = MODULES / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not SERVER.exists(), reason="the reference server is not installed: run `make node`"),
]


async def test_the_reference_servers_tools_work_as_ours(session: Session):
    # get-env tells the environment, gzip-file-as-resource fetches URLs: not for models.
    excluded = frozenset({"get-env", "gzip-file-as-resource"})
    config = ServerConfig("all", (str(NODE), str(SERVER), "stdio"), excluded=excluded)
    told = []

    async def report(progress: Progress) -> None:
        told.append((progress.done, progress.total))

    async with RemoteServers([config]) as servers:
        await servers.tried()
        assert servers.problems() == ()
        registry = Registry.of(servers.tools())
        context = ToolContext(session, report=report)
        assert not {"all__get-env", "all__gzip-file-as-resource"} & registry.tools.keys()
        assert (await registry.call("all__echo", {"message": "hi"}, context)).text.endswith("Echo: hi")
        image = await registry.call("all__get-tiny-image", {}, context)
        assert [media.mime_type for media in image.media] == ["image/png"]
        structured = await registry.call("all__get-structured-content", {"location": "New York"}, context)
        assert structured.structured is not None
        links = await registry.call("all__get-resource-links", {"count": 2}, context)
        assert links.text.count("[link: ") == 2
        await registry.call("all__trigger-long-running-operation", {"duration": 0.3, "steps": 3}, context)
        assert told[-1] == (3, 3)
        wrong = await registry.call("all__echo", {"message": 3}, context)
        assert "wrong arguments for all__echo" in wrong.text

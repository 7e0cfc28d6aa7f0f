"""Our client as MCP's conformance suite runs it: connects to the URL given last, and does what the scenario wants."""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from typing import Any

import anyio
from agenthost.tools import Question, Registry, Reply, Sessions, ToolContext, ToolError
from agenthost.tools.remote import RemoteServers, ServerConfig
from agenthost.tools.remote.config import OAuth
from agenthost.tools.remote.http import trusted_client
from agenthost.tools.remote.login import Login

METADATA = "https://conformance-test.local/client-metadata.json"


async def visit(label: str, url: str) -> None:
    """The suite's login pages send everybody on to where they came from."""
    threading.Thread(target=lambda: urllib.request.urlopen(url, timeout=30).read(), daemon=True).start()


async def answer(question: Question) -> Reply:
    """As somebody who agrees to everything."""
    return Reply("accept", example(question.schema or {}))


def example(schema: dict[str, Any]) -> Any:
    """A value that fits."""
    if "default" in schema or "const" in schema or "enum" in schema:
        return schema.get("default", schema.get("const", *schema.get("enum", [None])[:1]))
    match schema.get("type"):
        case "object":
            return {name: example(field) for name, field in schema.get("properties", {}).items()}
        case "integer" | "number":
            return 5
        case "boolean":
            return True
        case "array":
            return []
        case _:
            return "text"


async def main(url: str) -> None:
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    credentials = scenario.startswith("auth/client-credentials")
    oauth = OAuth(
        client_id=context.get("client_id"), client_secret=context.get("client_secret"), client_metadata_url=METADATA,
        client_credentials=credentials,
    )  # fmt: skip
    config = ServerConfig("suite", url=url, oauth=oauth, timeout=20)
    async with Sessions() as sessions, RemoteServers([config], trusted_client(Login(show=visit))) as servers:
        await servers.tried()
        for problem in servers.problems():
            sys.exit(problem)
        tool_context = ToolContext(await sessions.create(), ask=answer)
        registry = Registry.of(servers.tools())
        wanted = [("suite__" + call["name"], call["arguments"]) for call in context.get("toolCalls", ())]
        for name, arguments in wanted or [(spec.name, example(spec.parameters)) for spec in registry.specs()]:
            try:
                print(name, (await registry.tools[name].call(arguments, tool_context)).text)
            except ToolError as error:  # a server may do anything; the suite says what was wrong
                print(name, error)


if __name__ == "__main__":
    anyio.run(main, sys.argv[-1])

"""One errand with all three kinds of tools: a price is looked up, multiplied, and written into a file.

The web site, the model and the tools are on this machine; the site and the server come from `browser.py` beside this
file. It is done twice with the plain OpenAI client (`pip install openai`): first this script runs the tools that the
model calls, then the server does.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from agenthost.tools import BrowserConfig, Browsing, Sessions, ToolContext, default_tools
from browser import agenthost, site
from openai import OpenAI

LAMPS = 3
Ask = Callable[[str], Awaitable[str]]


async def errand(ask: Ask) -> str:
    """Three requests, each with what the one before brought. Returns what is in the file at the end."""
    found = await ask("What is the price of Lux Lamp? look it up")
    price = re.findall(r"\d+\.\d+", found)[0]
    product = await ask(f"What is {price} * {LAMPS}?")
    total = re.findall(r"\d+\.\d+", product)[-1]
    await ask(f"Write {total} to total.txt")
    return await ask("What does total.txt say?")


async def with_own_tools(client: OpenAI, host: str) -> str:
    """The usual loop: the model asks for a tool, this script runs it and sends the result back."""
    config = BrowserConfig(browser="text", search_url=f"http://{host}", allow_host=(host,))
    async with Browsing(config) as browsing, Sessions() as sessions:
        registry, context = default_tools(browsing=browsing).registry, ToolContext(await sessions.create())
        tools: list[Any] = [spec.function() for spec in registry.specs()]

        async def ask(request: str) -> str:
            print(request)
            messages: list[Any] = [{"role": "user", "content": request}]
            while True:
                completion = await asyncio.to_thread(
                    client.chat.completions.create, model="pocket", messages=messages, tools=tools, temperature=0
                )
                message = completion.choices[0].message
                messages.append(message)
                if not message.tool_calls:
                    print(f"  {message.content}")
                    return message.content or ""
                for call in message.tool_calls:
                    if call.type == "function":
                        result = await registry.call(call.function.name, json.loads(call.function.arguments), context)
                        print(f"  {call.function.name} {call.function.arguments}")
                        messages.append({"role": "tool", "tool_call_id": call.id, "content": result.text})

        return await errand(ask)


async def with_hosted_tools(client: OpenAI) -> str:
    """The server runs the tools. All requests share a session, so the file is there when it is asked for."""
    session: dict[str, str] = {}

    async def ask(request: str) -> str:
        print(request)
        completion = await asyncio.to_thread(
            client.chat.completions.create,
            model="pocket",
            messages=[{"role": "user", "content": request}],
            temperature=0,
            extra_body={"hosted_tools": ["python", "files", "browser"], **session},
        )
        session["session_id"] = completion.model_dump()["session_id"]
        message = completion.choices[0].message
        for step in message.model_dump()["steps"]:
            print(f"  {step['name']} {step['arguments']}")
        print(f"  {message.content}")
        return message.content or ""

    return await errand(ask)


def main() -> int:
    with site() as host, agenthost(host) as client:
        print("This script runs the tools:")
        own = asyncio.run(with_own_tools(client, host))
        print("\nThe server runs the tools:")
        hosted = asyncio.run(with_hosted_tools(client))
    right = "146.7" in own and "146.7" in hosted
    print("\nBoth are right." if right else "\nThat is wrong: 146.7 was expected.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

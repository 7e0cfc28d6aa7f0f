"""A model finds a setting in a folder and changes it.

    agenthost serve                  # in one terminal: the model
    python examples/filesystem.py    # in another; it needs `pip install openai`

The model is reached by the plain OpenAI client. The file tools run here and open nothing outside the folder; at the end
the server's own are used instead, in a workspace that stays from one request to the next.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

from agenthost.tools import Registry, Sessions, ToolContext, default_tools
from openai import AsyncOpenAI

FILES = {
    "README.md": "Start it with run.py\n",
    "app/settings.ini": "host = localhost\nport = 8000\ndebug = true\n",
    "notes/todo.txt": "call the printer\nbuy stamps\n",
}
REQUESTS = [
    "Which file mentions debug?",
    "Change debug from true to false in app/settings.ini",
    "What does app/settings.ini say?",
]
HOSTED_REQUESTS = ["Write buy stamps to todo.txt", "What does todo.txt say?"]


async def answer(client: AsyncOpenAI, model: str, messages: list[Any], tools: Registry, context: ToolContext) -> str:
    """Let the model call tools until it answers; ``messages`` grows by all that was said."""
    functions: list[Any] = [spec.function() for spec in tools.specs()]
    while True:
        reply = await client.chat.completions.create(model=model, messages=messages, tools=functions, temperature=0)
        message = reply.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content or ""
        for call in message.tool_calls:
            if call.type != "function":
                continue
            result = await tools.call(call.function.name, json.loads(call.function.arguments), context)
            print(f"  {call.function.name} {call.function.arguments}\n    -> {result.text!r}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result.text})


async def answer_hosted(client: AsyncOpenAI, model: str, request: str, session: str | None) -> tuple[str, str]:
    """The same by the server's own tools. Returns the answer, and the session to go on in."""
    reply = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": request}],
        temperature=0,
        extra_body={"hosted_tools": ["python", "files"], **({"session_id": session} if session else {})},
    )
    message = reply.choices[0].message
    for step in (message.model_extra or {}).get("steps", []):
        print(f"  {step['name']} {step['arguments']}\n    -> {step['output']!r}")
    return message.content or "", (reply.model_extra or {})["session_id"]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--model", default="pocket")
    options = parser.parse_args()
    async with AsyncOpenAI(base_url=options.base_url, api_key=options.api_key) as client, Sessions() as sessions:
        context, tools = ToolContext(await sessions.create()), default_tools().registry
        for path, text in FILES.items():
            await tools.call("write_file", {"path": path, "content": text}, context)
        messages: list[Any] = []
        for request in REQUESTS:
            print(request)
            messages.append({"role": "user", "content": request})
            print(await answer(client, options.model, messages, tools, context))
        session: str | None = None
        for request in HOSTED_REQUESTS:
            print(f"{request} (by the server's own tools)")
            text, session = await answer_hosted(client, options.model, request, session)
            print(text)


if __name__ == "__main__":
    asyncio.run(main())

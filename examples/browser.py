"""The embedded model answers from a web site: it searches, opens a page and reads.

Everything is on this machine: a small site with its own search, the model, the tools. It is done twice, with the plain
OpenAI client (`pip install openai`): first this script runs the tools that the model calls, then the server does.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agenthost.tools import BrowserConfig, Browsing, Registry, Sessions, ToolContext
from openai import OpenAI

PAGES = {
    "/lux": ("Lux Lamp", ["Lux Lamp is a bright product.", "Price: $48.90", "Weight: 730 g", "Warranty: 5 years"]),
    "/nova": ("Nova Lamp", ["Nova Lamp is a small product.", "Price: $31.25", "Weight: 210 g", "Warranty: 2 years"]),
    "/about": ("Harbour Lights", ["Harbour Lights is a friendly company.", "Phone: 555-0142", "Headquarters: Porto"]),
}
QUESTIONS = {
    "What is the price of Lux Lamp? look it up": "48.90",
    "Search the web for the weight of Nova Lamp": "210",
}


class Site(BaseHTTPRequestHandler):
    """Three pages, and a search that answers as SearXNG does."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/search":
            self._send("application/json", json.dumps({"results": self._found(parse_qs(url.query)["q"][0])}))
        elif url.path in PAGES:
            title, lines = PAGES[url.path]
            self._send("text/html", f"<title>{title}</title>" + "".join(f"<p>{line}</p>" for line in lines))
        else:
            self.send_error(404)

    def _found(self, query: str) -> list[dict[str, str]]:
        words = set(re.findall(r"\w+", query.lower()))

        def score(page: tuple[str, tuple[str, list[str]]]) -> int:
            return len(words & set(re.findall(r"\w+", str(page).lower())))

        host = self.headers["Host"]
        ranked = sorted(PAGES.items(), key=score, reverse=True)
        return [{"title": title, "url": f"http://{host}{path}", "content": text[0]} for path, (title, text) in ranked]

    def _send(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def site() -> Iterator[str]:
    """The site's host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def agenthost(host: str) -> Iterator[OpenAI]:
    """``agenthost serve`` with the browser tools, and a client for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The policy keeps tools away from private addresses, so the site must be allowed by name.
    flags = ["--browser", "text", "--search-url", f"http://{host}", "--allow-host", host, "--log-level", "warning"]
    command = [sys.executable, "-m", "agenthost.server.cli", "serve", "--port", str(port), *flags]
    with subprocess.Popen(command, env=os.environ) as process:
        try:
            client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
            wait_until_ready(client, process)
            yield client
        finally:
            process.terminate()


def wait_until_ready(client: OpenAI, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            client.get("/../health", cast_to=object)
            return
        except Exception:
            time.sleep(0.2)
    sys.exit("the server ended before it was ready")


async def with_own_tools(client: OpenAI, host: str, question: str) -> str:
    """The usual loop: the model asks for a tool, this script runs it and sends the result back."""
    config = BrowserConfig(browser="text", search_url=f"http://{host}", allow_host=(host,))
    async with Browsing(config) as browsing, Sessions() as sessions:
        registry, context = Registry.of(browsing.tools), ToolContext(await sessions.create())
        tools: list[Any] = [spec.function() for spec in registry.specs()]
        messages: list[Any] = [{"role": "user", "content": question}]
        for _ in range(8):
            completion = await asyncio.to_thread(
                client.chat.completions.create, model="pocket", messages=messages, tools=tools, temperature=0
            )
            message = completion.choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls or []:
                if call.type != "function":
                    continue
                result = await registry.call(call.function.name, json.loads(call.function.arguments), context)
                print(f"  {call.function.name} {call.function.arguments}\n{indented(result.text)}")
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result.text})
            if not message.tool_calls:
                return message.content or ""
    return ""


def with_hosted_tools(client: OpenAI, question: str) -> str:
    """One request: the server runs the tools, and says what it did in ``steps``."""
    completion = client.chat.completions.create(
        model="pocket",
        messages=[{"role": "user", "content": question}],
        temperature=0,
        extra_body={"hosted_tools": ["browser"]},
    )
    message = completion.choices[0].message
    for step in message.model_dump()["steps"]:
        print(f"  {step['name']} {step['arguments']}\n{indented(step['output'])}")
    return message.content or ""


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


def main() -> int:
    wrong = 0
    with site() as host, agenthost(host) as client:
        for question, expected in QUESTIONS.items():
            for title, answer in [
                ("this script runs the tools", lambda q=question: asyncio.run(with_own_tools(client, host, q))),
                ("the server runs the tools", lambda q=question: with_hosted_tools(client, q)),
            ]:
                print(f"{question}  ({title})")
                text = answer()
                print(f"  {text}")
                wrong += expected not in text
    print("All answers are right." if not wrong else f"{wrong} answers are wrong.")
    return min(1, wrong)


if __name__ == "__main__":
    sys.exit(main())

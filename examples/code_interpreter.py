"""A model analyses a CSV file with a code interpreter, and has it drawn by a tool of your own.

    agenthost serve                        # in one terminal: the model
    python examples/code_interpreter.py    # in another

It needs the client, and packages for the sandbox: `pip install openai 'agenthost[science]'` (in a checkout
`pip install openai -e '.[science]'`). The exit status is 1 where no chart was drawn.

The model is reached by the plain OpenAI client. Its tools run here, in agenthost's sandbox; at the end the server is
asked to run them itself. A larger model draws on its own, with matplotlib in `python`; for the small one that is built
in there is `draw_chart`, which does it in the same sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agenthost.tools import Session, Sessions, ToolContext, default_tools, probe
from openai import AsyncOpenAI

EXPENSES = Path(__file__).parent / "workspace" / "expenses.csv"
QUESTIONS = ["Sum amount by category in expenses.csv", "Draw a chart of expenses.csv by category"]

DRAW_CHART = {
    "type": "function",
    "function": {
        "name": "draw_chart",
        "description": "Draw a bar chart of a CSV file.",
        "parameters": {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "CSV file"},
                "column": {"type": "string", "description": "Column to group by"},
            },
            "required": ["path", "column"],
        },
    },
}
DRAWING = """
import pandas
totals = pandas.read_csv({path!r}).groupby({column!r}).sum(numeric_only=True)
totals.plot.bar(rot=0).figure.savefig("chart.png")
"""


class Tools:
    """The sandboxed tools of agenthost, and `draw_chart` made of one of them.

    Attributes:
        drawn: a chart was saved.
    """

    def __init__(self, session: Session, chart: Path) -> None:
        sandbox = probe()
        self._registry = default_tools(sandbox).registry
        self._more = default_tools(sandbox, files="full").registry  # what the small model does not know
        self._context = ToolContext(session)
        self._chart = chart
        self.drawn = False

    def functions(self) -> list[Any]:
        hosted = [self._registry.tools[name].spec.function() for name in ("python", "read_text_file")]
        return [*hosted, DRAW_CHART]

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        if name != "draw_chart":
            return (await self._registry.call(name, arguments, self._context)).text
        drawn = await self._registry.call("python", {"code": DRAWING.format(**arguments)}, self._context)
        if drawn.is_error:
            return drawn.text
        picture = await self._more.call("read_media_file", {"path": "chart.png"}, self._context)
        if picture.is_error:
            return picture.text
        self._chart.write_bytes(picture.media[0].data)
        self.drawn = True
        return f"Saved the chart as {self._chart.name}"


async def answer(client: AsyncOpenAI, model: str, messages: list[Any], tools: Tools) -> str:
    """Let the model call tools until it answers; ``messages`` grows by all that was said."""
    while True:
        reply = await client.chat.completions.create(
            model=model, messages=messages, tools=tools.functions(), temperature=0
        )
        message = reply.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content or ""
        for call in message.tool_calls:
            if call.type != "function":
                continue
            output = await tools.call(call.function.name, json.loads(call.function.arguments))
            print(f"  {call.function.name} {call.function.arguments}\n    -> {output!r}")
            messages.append({"role": "tool", "tool_call_id": call.id, "content": output})


async def answer_hosted(client: AsyncOpenAI, model: str, question: str) -> str:
    """The same with the server's own sandbox: it runs the tools, and its steps come in the stream."""
    text = ""
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        temperature=0,
        stream=True,
        extra_body={"hosted_tools": ["python"]},
    )
    async for chunk in stream:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for step in (choice.delta.model_extra or {}).get("steps", []):
                if step["status"] != "in_progress":
                    print(f"  {step['name']} {step['arguments']}\n    -> {step['output']!r}")
    return text


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--chart", type=Path, default=Path("chart.png"), help="where the chart goes (chart.png)")
    options = parser.parse_args()
    async with AsyncOpenAI(base_url=options.base_url, api_key=options.api_key) as client, Sessions() as sessions:
        session = await sessions.create()
        tools = Tools(session, options.chart)
        await tools.call("write_file", {"path": "expenses.csv", "content": EXPENSES.read_text()})
        messages: list[Any] = []
        for question in QUESTIONS:
            print(question)
            messages.append({"role": "user", "content": question})
            print(await answer(client, options.model, messages, tools))
        question = "What is 123456789 * 987654321?"
        print(f"{question} (by the server's own sandbox)")
        print(await answer_hosted(client, options.model, question))
        return 0 if tools.drawn else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

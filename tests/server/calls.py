"""What a scripted model says to call a tool."""

import json


def call(name: str, written: str | None = None, /, **arguments) -> str:
    """A call as ChatML's template writes it; ``written`` is the arguments' JSON, where its very letters matter."""
    arguments_written = json.dumps(arguments) if written is None else written
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments_written}}}\n</tool_call>'

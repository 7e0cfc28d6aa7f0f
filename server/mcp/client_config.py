"""What to write into the configuration of an MCP client, ready to copy."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..json_values import JsonObject
from ..settings import ConfigError

NAME = "agenthost"


@dataclass(frozen=True)
class ClientFile:
    """One client's configuration.

    Args:
        place: where it is, for people.
        stdio: its text for a command with arguments.
        http: its text for a server at a URL; None where the client cannot reach one.
    """

    place: str
    stdio: Callable[[Sequence[str]], str]
    http: Callable[[str], str] | None


_NOT_KEPT = ("print_config", "url")
_OFF = {
    "cuda_graphs": "--disable-cuda-graph",
    "overlap": "--disable-overlap-schedule",
    "prefix_cache": "--disable-radix-cache",
}


def client_config(client: str, command: Sequence[str], url: str | None = None) -> str:
    """The configuration text for ``client``, one of :data:`CLIENTS`.

    Args:
        command: starts us over stdio.
        url: of a running server instead, such as ``http://127.0.0.1:8000/mcp``.

    Raises:
        ConfigError: the client reaches no server by URL.
    """
    file = CLIENTS[client]
    if url is None:
        return file.stdio(command)
    if file.http is None:
        raise ConfigError(f"{client} starts its MCP servers itself. Leave --url out.")
    return file.http(url)


def own_command(options: Mapping[str, Any]) -> list[str]:
    """What starts ``agenthost mcp`` with these options. By its full path: clients search no PATH of yours."""
    found = shutil.which("agenthost")
    beside = Path(sys.executable).with_name("agenthost")
    program = str(beside) if beside.exists() else found
    command = [program, "mcp"] if program else [sys.executable, "-P", "-m", "agenthost.server.cli", "mcp"]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if name == "workspace":
            command += [flag, str(Path(value).absolute())]
        elif isinstance(value, bool):
            command.append(flag if value else _OFF[name])
        elif name not in _NOT_KEPT:
            command += [flag, *map(str, value if isinstance(value, list) else [value])]
    return command


def _json(value: JsonObject) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _servers(key: str, **more: str) -> Callable[[Sequence[str]], str]:
    return lambda command: _json({key: {NAME: {**more, "command": command[0], "args": list(command[1:])}}})


def _remote(key: str, field: str = "url", **more: str) -> Callable[[str], str]:
    return lambda url: _json({key: {NAME: {**more, field: url}}})


def _codex(command: Sequence[str]) -> str:
    return f"[mcp_servers.{NAME}]\ncommand = {json.dumps(command[0])}\nargs = {json.dumps(list(command[1:]))}"


def _continue(command: Sequence[str]) -> str:
    args = "".join(f"\n      - {json.dumps(word)}" for word in command[1:])
    return f"mcpServers:\n  - name: {NAME}\n    command: {json.dumps(command[0])}\n    args:{args}"


def _goose(command: Sequence[str]) -> str:
    args = "".join(f"\n      - {json.dumps(word)}" for word in command[1:])
    return (
        f"extensions:\n  {NAME}:\n    enabled: true\n    name: {NAME}\n    type: stdio\n    timeout: 300\n"
        f"    cmd: {json.dumps(command[0])}\n    args:{args}"
    )


CLIENTS: dict[str, ClientFile] = {
    "claude-code": ClientFile(
        ".mcp.json in the project", _servers("mcpServers", type="stdio"), _remote("mcpServers", type="http")
    ),
    "claude-desktop": ClientFile(
        "claude_desktop_config.json (Settings, Developer, Edit Config)", _servers("mcpServers"), None
    ),
    "cline": ClientFile(
        "cline_mcp_settings.json (MCP Servers, Configure)",
        _servers("mcpServers"),
        _remote("mcpServers", type="streamableHttp"),
    ),
    "codex": ClientFile("~/.codex/config.toml", _codex, lambda url: f"[mcp_servers.{NAME}]\nurl = {json.dumps(url)}"),
    "continue": ClientFile(
        ".continue/mcpServers/agenthost.yaml",
        _continue,
        lambda url: f"mcpServers:\n  - name: {NAME}\n    type: streamable-http\n    url: {json.dumps(url)}",
    ),
    "cursor": ClientFile(
        ".cursor/mcp.json in the project, or ~/.cursor/mcp.json", _servers("mcpServers"), _remote("mcpServers")
    ),
    "gemini-cli": ClientFile("~/.gemini/settings.json", _servers("mcpServers"), _remote("mcpServers", "httpUrl")),
    "goose": ClientFile(
        "~/.config/goose/config.yaml",
        _goose,
        lambda url: (
            f"extensions:\n  {NAME}:\n    enabled: true\n    name: {NAME}\n    type: streamable_http\n"
            f"    timeout: 300\n    uri: {json.dumps(url)}"
        ),
    ),
    "lm-studio": ClientFile("~/.lmstudio/mcp.json", _servers("mcpServers"), _remote("mcpServers")),
    "opencode": ClientFile(
        "opencode.json",
        lambda command: _json({"mcp": {NAME: {"type": "local", "command": list(command), "enabled": True}}}),
        lambda url: _json({"mcp": {NAME: {"type": "remote", "url": url, "enabled": True}}}),
    ),
    "vscode": ClientFile(
        ".vscode/mcp.json in the project", _servers("servers", type="stdio"), _remote("servers", type="http")
    ),
    "windsurf": ClientFile(
        "~/.codeium/windsurf/mcp_config.json", _servers("mcpServers"), _remote("mcpServers", "serverUrl")
    ),
    "zed": ClientFile("settings.json", _servers("context_servers"), _remote("context_servers")),
}

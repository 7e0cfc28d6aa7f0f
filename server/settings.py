"""Gathers settings from flags, ``AGENTHOST_*`` variables and a TOML file, in that order of precedence.

Imports little: ``agenthost run`` reads the engine's settings with it before anything else, to start the engine at once.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from ..engine import EngineConfig
from ..engine.errors import InvalidConfig

if TYPE_CHECKING:
    from ..tools.browser.config import BrowserConfig
    from ..tools.sandbox.config import SandboxConfig
    from .external.config import ExternalConfig


class _Checked(Protocol):
    def check(self) -> None: ...


C = TypeVar("C", bound=_Checked)
PREFIX = "AGENTHOST_"
ENGINE_SETTINGS = frozenset(EngineConfig.__struct_fields__)
# BrowserConfig's fields, known without loading the tools.
BROWSER_SETTINGS = frozenset(
    ("browser", "browser_control", "search_url", "brave_key", "tavily_key", "search_index", "allow_host")
)
SANDBOX_SETTINGS = frozenset(("allow_unsafe_code", "sandbox_allow_hosts"))  # SandboxConfig's fields, likewise
EXTERNAL_SETTINGS = frozenset(("mcp_config", "mcp_approval", "mcp_allow_host"))


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the setting and says what it should be."""


def gather(flags: Mapping[str, Any], environment: Mapping[str, str], known: Collection[str]) -> dict[str, Any]:
    """The settings among ``known``. The flag or variable ``config`` names the file. Raises :class:`ConfigError`."""
    file = flags.get("config") or environment.get(f"{PREFIX}CONFIG")
    variables = {name: value for name in known if (value := environment.get(f"{PREFIX}{name.upper()}")) is not None}
    given = {name: value for name, value in flags.items() if name in known}
    return {**(_file(file, known) if file else {}), **variables, **given}


def engine_config(settings: Mapping[str, Any]) -> EngineConfig:
    """The engine's part of ``settings``. Raises :class:`ConfigError`."""
    values = {name: value for name, value in settings.items() if name in ENGINE_SETTINGS}
    try:
        config = msgspec.convert(values, EngineConfig, strict=False)
        config.check()
    except (msgspec.ValidationError, InvalidConfig) as error:
        raise ConfigError(f"configuration: {error}") from error
    return config


def browser_config(settings: Mapping[str, Any]) -> BrowserConfig:
    """The browser tools' part of ``settings``. Raises :class:`ConfigError`."""
    from ..tools.browser.config import BrowserConfig

    return _tools_config(settings, BrowserConfig, BROWSER_SETTINGS, "allow_host")


def sandbox_config(settings: Mapping[str, Any]) -> SandboxConfig:
    """The sandboxes' part of ``settings``. Raises :class:`ConfigError`."""
    from ..tools.sandbox.config import SandboxConfig

    return _tools_config(settings, SandboxConfig, SANDBOX_SETTINGS, "sandbox_allow_hosts")


def _tools_config(settings: Mapping[str, Any], kind: type[C], names: Collection[str], hosts: str) -> C:
    """``hosts`` is the setting that may be words, separated by commas or spaces."""
    values = {name: value for name, value in settings.items() if name in names}
    if hosts in values:
        values[hosts] = words(values[hosts])
    try:
        config = msgspec.convert(values, kind, strict=False)
        config.check()
    except ValueError as error:
        raise ConfigError(f"configuration: {error}") from error
    return config


def external_config(settings: Mapping[str, Any], environment: Mapping[str, str]) -> ExternalConfig:
    """The part of ``settings`` about external MCP servers; ``environment`` fills the variables of their file.

    Raises :class:`ConfigError`.
    """
    from ..tools.egress.policy import rules
    from ..tools.remote import RemoteConfigError, read_config
    from .external.config import ExternalConfig

    try:
        file = settings.get("mcp_config")
        servers = read_config(Path(file), environment) if file else []
        hosts = tuple(words(settings.get("mcp_allow_host", ())))
        rules(hosts)
    except RemoteConfigError as error:
        raise ConfigError(f"mcp_config: {error}") from error
    except ValueError as error:
        raise ConfigError(f"mcp_allow_host: {error}") from error
    approval = settings.get("mcp_approval", "ask")
    if approval not in ("ask", "never"):
        raise ConfigError(f"mcp_approval is {approval!r}, expected 'ask' or 'never'")
    state = settings.get("state_dir") or state_dir(environment)
    return ExternalConfig(tuple(servers), approval, hosts, Path(state) / "mcp-logins")


def state_dir(environment: Mapping[str, str]) -> str:
    """Where programs keep what must outlive them, by the XDG specification; root's where the system's programs do.

    A root server's workspaces are used by other users, who may not pass its home.
    """
    from ..tools.sandbox.identity import server_is_root

    if server_is_root() and "XDG_STATE_HOME" not in environment:
        return "/var/lib/agenthost"
    base = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME") or "~", ".local", "state")
    return os.path.join(os.path.expanduser(base), "agenthost")


def words(value: Any) -> Any:
    """Variables hold lists as words separated by commas or spaces; other values stay as they are."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _file(path: str, known: Collection[str]) -> dict[str, Any]:
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from error
    settings = {name.replace("-", "_"): value for name, value in settings.items()}
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"{path} has unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    return settings

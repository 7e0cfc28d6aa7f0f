"""The server's configuration: one frozen value from flags, ``AGENTHOST_*`` variables and a TOML file, in that order."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ..engine import EngineConfig
from .http.names import is_loopback

PREFIX = "AGENTHOST_"


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the setting, its source, and what it should be."""


def _words(value: object) -> object:
    """Variables hold lists as words separated by commas or spaces."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class ServerConfig(BaseModel):
    """What to serve, where, and to whom. The engine's own settings are fields of EngineConfig, by the same names.

    Attributes:
        host, port: where to listen.
        served_model_name: names by which clients may call the model; the first one is what answers say.
        api_key: what clients must send; required unless the server listens on this machine only.
        allowed_hosts: further Host header names; ``*`` for any.
        allowed_origins: web origins whose pages may call.
        max_body_bytes: the largest request body.
        chat_template: a file with a chat template, or the template itself.
        tool_call_parser: the tool-call format, when the template does not show it.
        engine: the engine's configuration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    served_model_name: Words = ()
    api_key: str | None = None
    allowed_hosts: Words = ()
    allowed_origins: Words = ()
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    chat_template: str | None = None
    tool_call_parser: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    engine: EngineConfig = EngineConfig()

    @model_validator(mode="after")
    def _key_beyond_loopback(self) -> Self:
        if not self.api_key and not is_loopback(self.host):
            raise ValueError(f"host {self.host!r} is reachable by others, so set an api_key that they must send")
        return self

    @classmethod
    def load(cls, flags: Mapping[str, Any], environment: Mapping[str, str]) -> ServerConfig:
        """Flags win over variables, which win over the file that the flag or variable ``config`` names.

        Raises :class:`ConfigError`.
        """
        engine_fields = set(EngineConfig.__struct_fields__)
        known = (set(cls.model_fields) - {"engine"}) | engine_fields
        variables = {
            name: value
            for key, value in environment.items()
            if key.startswith(PREFIX) and (name := key.removeprefix(PREFIX).lower()) in known
        }
        file = flags.get("config") or environment.get(f"{PREFIX}CONFIG")
        merged = {**(_file(file, known) if file else {}), **variables, **{k: v for k, v in flags.items() if k in known}}
        try:
            engine = msgspec.convert(
                {name: value for name, value in merged.items() if name in engine_fields}, EngineConfig, strict=False
            )
            return cls(engine=engine, **{name: value for name, value in merged.items() if name not in engine_fields})
        except msgspec.ValidationError as error:
            raise ConfigError(f"configuration: {error}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "configuration"
            raise ConfigError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def _file(path: str, known: set[str]) -> dict[str, Any]:
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from error
    settings = {name.replace("-", "_"): value for name, value in settings.items()}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ConfigError(f"{path} has unknown settings: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    return settings

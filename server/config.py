"""The server's configuration: one frozen value from flags, ``AGENTHOST_*`` variables and a TOML file, in that order."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..engine import EngineConfig
from ..tools.browser.config import BrowserConfig
from ..tools.sandbox.config import SandboxConfig
from .chat import formats, reasoning
from .external.config import ExternalConfig
from .http.names import as_browsers_write, is_loopback
from .settings import (
    BROWSER_SETTINGS,
    ENGINE_SETTINGS,
    EXTERNAL_SETTINGS,
    SANDBOX_SETTINGS,
    ConfigError,
    browser_config,
    engine_config,
    external_config,
    gather,
    sandbox_config,
    state_dir,
    words,
)

Words = Annotated[tuple[str, ...], BeforeValidator(words)]


class ServerConfig(BaseModel):
    """What to serve, where, and to whom. Settings of the engine, the browser and the sandboxes are fields of their
    configurations, by the same names.

    Attributes:
        host, port: where to listen.
        served_model_name: names by which clients may call the model; the first one is what answers say.
        api_key: what clients must send; it or ``api_key_file`` is required unless the server listens on this machine
            only.
        api_key_file: further keys, as digests with names and limits, see http/keys.py.
        requests_per_minute, concurrent_requests, stored_bytes: of each key that has no limit of its own; 0 is any.
        sessions_per_key: workspaces that one key may have at a time; without keys, that all callers have together.
        session_minutes: after how long without use a workspace goes; containers have times of their own.
        workspace_bytes, workspace_files: what each of them may hold.
        prefix_cache_per_key: keys share no cached prefixes, since timing and cached_tokens show what is cached.
        allowed_hosts: further Host header names; ``*`` for any.
        allowed_origins: web origins whose pages may call; ``*`` for any, where there are keys.
        max_body_bytes: the largest request body.
        sse_keep_alive_interval: seconds without an event after which a stream gets a comment; 0 for never.
        drain_seconds: how long requests may go on when the server is told to stop.
        otlp_traces_endpoint: where OpenTelemetry spans are sent by OTLP over HTTP; needs the extra ``otel``.
        audit_log: a file for a line about every call of a hosted tool.
        state_dir: where responses, conversations, files and workspaces are kept; None for a temporary place.
        store_url: a database's URL instead of an SQLite file in ``state_dir``.
        retention_days: after how many days responses go; 0 keeps them.
        chat_template: a file with a chat template, or the template itself.
        tool_call_parser: the tool-call format, when the template does not show it.
        reasoning_parser: how the model marks its thoughts, likewise.
        mcp_calls_per_second: of tools at ``/mcp`` by one caller, on the long run; 0 for any number.
        oauth_issuer: the authorization server whose tokens open ``/mcp``, besides the key.
        oauth_resource: this server's own URL of ``/mcp`` as clients know it; tokens must be made for it.
        oauth_scopes: that a token must have.
        conformance_fixtures: serve at ``/mcp`` what MCP's conformance suite calls, instead of the tools.
        log_level: the least that is logged; ``debug`` shows every request too.
        engine: the engine's configuration.
        browsing: the browser tools' configuration.
        sandbox: how code may run.
        external: external MCP servers and who may use them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    served_model_name: Words = ()
    api_key: str | None = None
    api_key_file: str | None = None
    requests_per_minute: Annotated[int, Field(ge=0)] = 0
    concurrent_requests: Annotated[int, Field(ge=0)] = 0
    stored_bytes: Annotated[int, Field(ge=0)] = 0
    sessions_per_key: Annotated[int, Field(ge=1)] = 1000
    session_minutes: Annotated[float, Field(ge=1)] = 60
    workspace_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    workspace_files: Annotated[int, Field(ge=100)] = 50_000
    prefix_cache_per_key: bool = False
    allowed_hosts: Words = ()
    allowed_origins: Annotated[Words, AfterValidator(as_browsers_write)] = ()
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    sse_keep_alive_interval: Annotated[float, Field(ge=0)] = 15.0
    drain_seconds: Annotated[int, Field(ge=0)] = 30
    otlp_traces_endpoint: str | None = None
    audit_log: str | None = None
    state_dir: str | None = None
    store_url: str | None = None
    retention_days: Annotated[float, Field(ge=0)] = 30
    chat_template: str | None = None
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    mcp_calls_per_second: Annotated[float, Field(ge=0)] = 50.0
    oauth_issuer: str | None = None
    oauth_resource: str | None = None
    oauth_scopes: Words = ()
    conformance_fixtures: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    engine: EngineConfig = EngineConfig()
    browsing: BrowserConfig = BrowserConfig()
    sandbox: SandboxConfig = SandboxConfig()
    external: ExternalConfig = ExternalConfig()

    @model_validator(mode="after")
    def _key_beyond_loopback(self) -> Self:
        if not self.api_key and not self.api_key_file and not is_loopback(self.host):
            raise ValueError(f"host {self.host!r} is reachable by others, so set an api_key that they must send")
        return self

    @model_validator(mode="after")
    def _key_for_any_page(self) -> Self:
        if "*" in self.allowed_origins and not self.api_key and not self.api_key_file:
            raise ValueError("allowed_origins has '*': any web page could call, so set an api_key that it must send")
        return self

    @model_validator(mode="after")
    def _spans_can_be_sent(self) -> Self:
        if self.otlp_traces_endpoint is not None:
            try:
                found = find_spec("opentelemetry.exporter.otlp.proto.http")
            except ModuleNotFoundError:
                found = None
            if found is None:
                raise ValueError("otlp_traces_endpoint needs OpenTelemetry: pip install 'agenthost[otel]'")
        return self

    @model_validator(mode="after")
    def _oauth_is_whole(self) -> Self:
        if (self.oauth_issuer is None) != (self.oauth_resource is None):
            raise ValueError("oauth_issuer and oauth_resource go together: who makes tokens, and for which URL")
        return self

    @field_validator("tool_call_parser", "reasoning_parser")
    @classmethod
    def _format_exists(cls, name: str | None, field: ValidationInfo) -> str | None:
        if name is None:
            return name
        if field.field_name == "tool_call_parser":
            formats.named(name)
        elif name not in reasoning.WHOLE_TURN:
            reasoning.named(name)
        return name

    @classmethod
    def load(cls, flags: Mapping[str, Any], environment: Mapping[str, str]) -> ServerConfig:
        """See :func:`settings.gather`.

        Raises :class:`ConfigError`.
        """
        own = set(cls.model_fields) - {"engine", "browsing", "sandbox", "external"}
        known = own | ENGINE_SETTINGS | BROWSER_SETTINGS | SANDBOX_SETTINGS | EXTERNAL_SETTINGS
        settings = gather(flags, environment, known)
        settings.setdefault("state_dir", state_dir(environment))
        values = {name: value for name, value in settings.items() if name in own}
        values["engine"] = engine_config(settings)
        values["browsing"], values["sandbox"] = browser_config(settings), sandbox_config(settings)
        values["external"] = external_config(settings, environment)
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "configuration"
            raise ConfigError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error

"""The streamable HTTP transport."""

from __future__ import annotations

from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http import EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings


def manager(server: Server, max_body: int, events: EventStore | None = None) -> StreamableHTTPSessionManager:
    """What serves ``server``; with ``events``, clients that lose a stream get what they missed."""
    return StreamableHTTPSessionManager(
        server,
        event_store=events,
        retry_interval=None if events is None else 100,
        max_request_body_size=max_body,
        # The guard in front of all routes has checked Host and Origin, against the operator's lists.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )

"""Events of streams, kept so that a client that lost its stream gets what it missed."""

from __future__ import annotations

from collections import OrderedDict

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage

_MOST = 1000


class MemoryEventStore(EventStore):
    """The last events, in this process."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, tuple[str, JSONRPCMessage | None]] = OrderedDict()
        self._stored = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._stored += 1
        event_id = str(self._stored)
        self._events[event_id] = (stream_id, message)
        if len(self._events) > _MOST:
            self._events.popitem(last=False)
        return event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last = self._events.get(last_event_id)
        if last is None:
            return None
        for event_id, (stream_id, message) in list(self._events.items()):
            if stream_id == last[0] and int(event_id) > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, event_id))
        return last[0]

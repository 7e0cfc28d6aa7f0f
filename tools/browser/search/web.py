"""Search by a service: a SearXNG server of the operator's, Brave, or Tavily."""

from __future__ import annotations

import html
import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import httpx2

from ...egress.connect import Egress
from ...egress.errors import EgressError
from ...egress.http import EgressTransport
from ...egress.policy import EgressPolicy, HostRule
from ...egress.target import Target
from ...errors import ToolError
from .base import Hit, SearchBackend

_SECONDS = 15.0
_LARGEST_ANSWER = 4 << 20
_LONGEST = 2000  # characters of a title or a snippet
_TAGS = re.compile(r"<[^<>]*>")  # a "<" ends the search for the end of another, which would take the square of the time


class WebSearch(SearchBackend):
    """Asks a service and reads its JSON.

    Args:
        url: the service. The operator chose it, so it may be at a private address.
        key: what it wants from its customers.
        policy: of the way out.
    """

    name: str

    def __init__(self, url: str, key: str = "", policy: EgressPolicy | None = None) -> None:
        policy = policy or EgressPolicy()
        target = Target.parse(url)
        chosen = HostRule(target.host, target.port)
        self.url = url.rstrip("/")
        self._key = key
        self._client = httpx2.AsyncClient(
            transport=EgressTransport(Egress(replace(policy, allow=(*policy.allow, chosen), max_bytes=1 << 40))),
            timeout=_SECONDS, trust_env=False, headers={"Accept": "application/json"},
        )  # fmt: skip

    async def search(self, query: str, count: int) -> list[Hit]:
        try:
            with anyio.fail_after(_SECONDS):
                async with self._client.stream(**self._request(query, count)) as response:
                    if response.status_code != 200:
                        raise ToolError(f"the search service {self.name} answered {response.status_code}. {_LATER}")
                    body = bytearray()
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > _LARGEST_ANSWER:
                            raise ToolError(f"the search service {self.name} answered too much. {_LATER}")
            return [hit for item in self._items(json.loads(body))[:count] if (hit := _hit(item))]
        except (httpx2.HTTPError, EgressError, TimeoutError) as error:
            raise ToolError(f"the search service {self.name} does not answer. {_LATER}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolError(f"the search service {self.name} gave no answer that can be read. {_LATER}") from error

    async def close(self) -> None:
        await self._client.aclose()

    @abstractmethod
    def _request(self, query: str, count: int) -> dict[str, Any]:
        """Arguments for an httpx request."""

    @abstractmethod
    def _items(self, answer: Any) -> list[Any]:
        """The results in an answer, each an object with title, url, and content or description."""


_LATER = "Try again later, or open a page by its address."


class SearxNG(WebSearch):
    """https://docs.searxng.org/dev/search_api.html; the server's settings must list ``json`` among its formats."""

    name = "SearXNG"

    def _request(self, query: str, count: int) -> dict[str, Any]:
        return {"method": "GET", "url": f"{self.url}/search", "params": {"q": query, "format": "json"}}

    def _items(self, answer: Any) -> list[Any]:
        return answer["results"]


class Brave(WebSearch):
    """https://api.search.brave.com/app/documentation/web-search"""

    name = "Brave"

    def __init__(self, key: str, policy: EgressPolicy | None = None, url: str = "https://api.search.brave.com") -> None:
        super().__init__(url, key, policy)

    def _request(self, query: str, count: int) -> dict[str, Any]:
        parameters = {"q": query[:400], "count": min(count, 20)}
        headers = {"X-Subscription-Token": self._key}
        return {"method": "GET", "url": f"{self.url}/res/v1/web/search", "params": parameters, "headers": headers}

    def _items(self, answer: Any) -> list[Any]:
        return (answer.get("web") or {}).get("results") or []


class Tavily(WebSearch):
    """https://docs.tavily.com/documentation/api-reference/endpoint/search"""

    name = "Tavily"

    def __init__(self, key: str, policy: EgressPolicy | None = None, url: str = "https://api.tavily.com") -> None:
        super().__init__(url, key, policy)

    def _request(self, query: str, count: int) -> dict[str, Any]:
        body = {"query": query[:400], "max_results": min(count, 20)}
        headers = {"Authorization": f"Bearer {self._key}"}
        return {"method": "POST", "url": f"{self.url}/search", "json": body, "headers": headers}

    def _items(self, answer: Any) -> list[Any]:
        return answer["results"]


def _hit(item: Mapping[str, Any]) -> Hit | None:
    url = str(item.get("url") or "")
    if not url.startswith(("http://", "https://")) or len(url) > 4096 or not url.isprintable():
        return None
    snippet = item.get("content") or item.get("description") or ""
    return Hit(_plain(item.get("title") or url), url, _plain(snippet))


def _plain(text: object) -> str:
    """Services mark what matched by tags."""
    return " ".join(html.unescape(_TAGS.sub("", str(text)[:_LONGEST])).split())

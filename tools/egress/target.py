"""Hosts and URLs in one spelling, so that rules and connections mean the same thing."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

import idna

from .addresses import literal
from .errors import Refused

PORTS = {"http": 80, "https": 443}
_LONGEST_URL = 8192


@dataclass(frozen=True)
class Target:
    """Where a URL leads.

    Args:
        url: the URL without fragment, its host in canonical form.
        host: a lower-case ASCII name without final dot, or an address in its shortest form, without brackets.
    """

    url: str
    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Target:
        """Read an http or https URL.

        Raises:
            Refused: another scheme, a user name in it, characters that parsers disagree about, or no usable host.
        """
        if len(url) > _LONGEST_URL:
            raise Refused(f"the address has more than {_LONGEST_URL} characters. Use a shorter one.")
        if any(c <= " " or c == "\\" or c == "\x7f" for c in url):
            raise Refused("the address has spaces, backslashes or control characters in it. Encode them with %.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Refused(f"the address cannot be read: {error}. Use one such as https://example.com/page.") from error
        if parts.scheme not in PORTS:
            raise Refused(f"only http and https addresses can be opened, not {parts.scheme or 'one without scheme'!r}.")
        if parts.username is not None or parts.password is not None:
            raise Refused("the address has a user name or password in it. Leave them out.")
        host = canonical_host(parts.hostname or "")
        port = PORTS[parts.scheme] if port is None else port
        return cls(_joined(parts, host, port), parts.scheme, host, port)


def canonical_host(host: str) -> str:
    """The one spelling of a host: see :class:`Target`.

    Raises:
        Refused: it is no host.
    """
    bracketed = host.startswith("[") or ":" in host
    name = host if bracketed else _ascii_name(host.rstrip("."))
    try:
        address = literal(name)
    except ValueError as error:
        raise Refused(f"{error}. Use a host name.") from error
    if address is None and bracketed:
        raise Refused(f"{host[:100]!r} is not an address. Use a host name.")
    return name if address is None else str(address)


def _ascii_name(name: str) -> str:
    try:
        # UTS 46 maps wide digits, circled letters and the like to what they stand for, as browsers do.
        return idna.encode(name, uts46=True, std3_rules=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return _plain_name(name)


def _plain_name(name: str) -> str:
    """A name that IDNA does not take but DNS may, such as one with an underscore."""
    labels = name.lower().split(".")
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    if len(name) > 253 or not all(0 < len(label) <= 63 and set(label) <= allowed for label in labels):
        raise Refused(f"{name[:100]!r} is not a host name. Use one such as example.com.")
    return name.lower()


def authority(host: str, port: int, default: int) -> str:
    """``host:port`` as it stands in a URL; the port only where it is not ``default``."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == default else f"{shown}:{port}"


def split_authority(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``, in canonical form.

    Raises:
        Refused: it is none.
    """
    host, _, port = text.rpartition(":")
    if not _is_port(port) or "@" in host or "/" in host or (":" in host and not _bracketed(host)):
        raise Refused(f"{text[:100]!r} is not a host with a port. Write it as example.com:443.")
    return canonical_host(host), int(port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536


def _bracketed(host: str) -> bool:
    try:
        return host[0] == "[" and host[-1] == "]" and bool(ipaddress.IPv6Address(host[1:-1]))
    except ValueError:
        return False


def _joined(parts: SplitResult, host: str, port: int) -> str:
    return urlunsplit((parts.scheme, authority(host, port, PORTS[parts.scheme]), parts.path or "/", parts.query, ""))

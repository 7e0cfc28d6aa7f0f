"""Which addresses are the public internet's, and which lead back into this host or its networks."""

from __future__ import annotations

import ipaddress
import socket

import psutil

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What `is_global` lets through in some Python versions, and what carries another address inside.
_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; a cloud keeps its metadata service there
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a cloud's host agent
        "::/8",  # loopback, IPv4-mapped, IPv4-compatible, NAT64
        "2001::/23",  # Teredo and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "fec0::/10",  # site-local
    )
]


def is_public(address: Address) -> bool:
    """Whether everybody means the same machine by this address.

    False for private, loopback, link-local, shared, multicast, reserved, documentation and metadata addresses, for
    every form of IPv6 that carries an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64), and for scoped ones.
    """
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def is_link_local(address: Address) -> bool:
    """Link-local, where clouds keep their metadata services: never meant by a name that an operator allows."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_link_local


def is_own(address: Address) -> bool:
    """Whether it belongs to an interface of this host: a public one leads to services that expect only neighbours."""
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                own = ipaddress.ip_address(entry.address.partition("%")[0])
                if own == address:
                    return True
    return False


def literal(host: str) -> Address | None:
    """The address that ``host`` spells, None if it is a name.

    Reads what browsers and the C library read: ``127.1``, ``0x7f.1``, ``0177.0.0.1``, ``2130706433``, ``[::1]``.

    Raises:
        ValueError: its last part is a number, but the whole is no address (browsers refuse such hosts too).
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    last = bare.rstrip(".").rpartition(".")[2].lower()
    if not (last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare.rstrip(".")))
    except OSError:
        raise ValueError(f"{host!r} is not an address") from None

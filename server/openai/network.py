"""A container's ``network_policy``: what its code may reach, within what the operator lets all code reach."""

from __future__ import annotations

from ..hands import Hands
from .errors import ApiError

_MOST = 100


def hosts_of(policy: object, hands: Hands, param: str) -> tuple[str, ...] | None:
    """The hosts that a policy names, none for no network; None where nothing is said. Raises :class:`ApiError`."""
    match policy:
        case None:
            return None
        case {"type": "disabled"}:
            return ()
        case {"type": "allowlist", "allowed_domains": [*domains], **more} if not more.get("domain_secrets"):
            hosts = tuple(domain for domain in domains if isinstance(domain, str))
            if len(hosts) == len(domains) <= _MOST:
                try:
                    hands.check_hosts(hosts)
                except ValueError as error:
                    raise ApiError(f"Invalid '{param}': {error}", code="invalid_value", param=param) from error
                return hosts
    message = (
        f"Invalid '{param}': expected the type disabled, or allowlist with up to {_MOST} allowed_domains and without "
        "secrets."
    )
    raise ApiError(message, code="invalid_value", param=param)

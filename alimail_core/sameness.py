"""Tell whether both ends of an account are one mailbox: it would be copied into itself, again and again."""

from __future__ import annotations

import ipaddress
from typing import Final

from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.text import same_address

_STANDARD_PORTS: Final = frozenset({110, 143, 993, 995})
"""IMAP and POP3, with and without implicit TLS: on one host they open the same mailboxes."""


def is_own_target(account: AccountSpec) -> bool:
    """Tell whether an account's target is its source, as far as that can be seen without asking any server."""
    same_user = same_address(account.source_user) == same_address(account.target_user)
    return same_user and _same_server(account.source, account.target)


def _same_server(source: Endpoint, target: Endpoint) -> bool:
    """Compare servers: by host and port where both tell their ``address``, otherwise by all that is known."""
    ours, theirs = (getattr(end.options, "address", None) for end in (source, target))
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return _plain(*ours) == _plain(*theirs)
    return source == target


def _plain(host: str, port: int | None) -> tuple[str, int | None]:
    """Return a server's name and port without what spells the same one in another way."""
    name = host.rstrip(".").casefold()
    try:
        name = str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        name = _idna(name)
    name = "localhost" if name in ("127.0.0.1", "::1") else name
    return name, None if port in _STANDARD_PORTS else port


def _idna(name: str) -> str:
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:  # no name that a resolver would take: `check` says so
        return name

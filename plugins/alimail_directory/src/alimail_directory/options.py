"""What an administrator can say of the Open Platform API; ``alimail plugins show alimail`` prints these texts."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from attrs import frozen

from alimail_core import Secret, option
from alimail_directory.api import CALLS_PER_SECOND, HOSTS


@frozen
class ApiOptions:
    """Where the organisation is, and how an application gets in that was made for it in the console."""

    application_id: Secret = option(
        "The id of an application that was made in the console (Advanced Features, API Open Platform), as a "
        "reference: `env:NAME`, `file:PATH`, `keyring:SERVICE/USER` or `command:PROGRAM ARGS`.",
        secret=True,
    )
    application_secret: Secret = option("The application's secret, as a reference likewise.", secret=True)
    region: Literal["cn", "hk", "sg", "de", "us"] = option(
        "The site that the organisation's mail was bought at: `cn` China mainland, `hk` Hong Kong, `sg` Singapore, "
        "`de` Germany, `us` United States.",
        default="cn",
    )
    url: str | None = option(
        "Where the API is, if not at the region's host: https://HOST[:PORT].", default=None
    )
    ca: Path | None = option(
        "A PEM file of the certificates to trust instead of the system's, for a server or proxy of your own.",
        default=None,
    )
    timeout: float = option("Seconds without an answer after which a call counts as lost.", default=30.0)
    calls_per_second: float = option(
        "How many calls are made a second, by all threads together. The whole domain has about 40: say less where "
        "other applications use it too.",
        default=CALLS_PER_SECOND,
    )
    connections: int = option("The most calls under way at once, to hide the way to the server.", default=24)
    force_password_change: bool = option(
        "Let new people choose a password of their own when they first log in. Until they have, mail programs and "
        "alimail may not get in with the first one: move the mail before you wish this.",
        default=False,
    )

    @url.validator
    def _check_url(self, _: object, value: str | None) -> None:
        if value is None:
            return
        parts = urlsplit(value)
        plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if not (parts.scheme == "https" or plain) or not parts.hostname:
            raise ValueError("must be https://HOST; http is for this machine's loopback alone")
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
            raise ValueError("must have nothing behind the host and port")

    @timeout.validator
    def _check_timeout(self, _: object, value: float) -> None:
        if not value > 0:
            raise ValueError("must be more than 0")

    @calls_per_second.validator
    def _check_calls(self, _: object, value: float) -> None:
        if not 0 < value <= 10_000:
            raise ValueError("must be more than 0")

    @connections.validator
    def _check_connections(self, _: object, value: int) -> None:
        if not 1 <= value <= 200:
            raise ValueError("must be from 1 to 200")

    @property
    def base_url(self) -> str:
        """Return where the API is, without a slash at its end."""
        return (self.url or f"https://{HOSTS[self.region]}").rstrip("/")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

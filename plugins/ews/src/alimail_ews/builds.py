"""Which product a server is, by the build that it tells in every answer.

Source: https://learn.microsoft.com/exchange/new-features/build-numbers-and-release-dates, and for 2007 and 2010
https://learn.microsoft.com/previous-versions/office/exchange-server-2010/hh135098(v=exchg.141).
"""

from __future__ import annotations

from typing import Final

_PRODUCTS: Final = (
    ((8, 0), "Exchange 2007 without a service pack"),
    ((8, 1), "Exchange 2007 SP1"),
    ((8, 2), "Exchange 2007 SP2"),
    ((8, 3), "Exchange 2007 SP3"),
    ((14, 0), "Exchange 2010 without a service pack"),
    ((14, 1), "Exchange 2010 SP1"),
    ((14, 2), "Exchange 2010 SP2"),
    ((14, 3), "Exchange 2010 SP3"),
    ((15, 0), "Exchange 2013"),
    ((15, 1), "Exchange 2016"),
    ((15, 2), "Exchange 2019"),
    ((15, 2, 2562), "Exchange SE"),
    ((15, 20), "Exchange Online"),
)
"""The first build of each, in order; SE goes on with 2019's numbers."""

ONLINE: Final = (
    "outlook.office365.com",
    "outlook.office.com",
    "outlook.office365.us",
    "outlook.com",
    "partner.outlook.cn",
)


def product(build: str) -> str:
    """Name the product that a build such as ``15.1.2507.35`` belongs to."""
    numbers = tuple(int(part) for part in build.split(".") if part.isdecimal())
    found = [name for first, name in _PRODUCTS if first <= numbers and first[:2] == numbers[:2]]
    return found[-1] if found else "a server with Exchange Web Services"


def is_online(host: str, build: str) -> bool:
    """Tell whether a server is Microsoft's own service."""
    name = host.lower().rstrip(".")
    return any(name == each or name.endswith(f".{each}") for each in ONLINE) or build.startswith("15.20.")

"""The way in to servers whose options leave it open (``tls = auto``): found by trying once, and then kept.

It is kept in the ledger, so that who stands on the way later cannot talk anybody into less. Where it has to change,
because the server has changed, an administrator says so: ``tls`` and ``port`` in the configuration.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve, frozen

from alimail_core.contract import SinkKind, SourceKind
from alimail_core.errors import Remark
from alimail_core.ledger import Ledger
from alimail_core.ledger.servers import Place, Way, keep_way, known_way
from alimail_core.network import ServerOptions
from alimail_core.spec import AccountSpec, Endpoint

_WORDS = {"implicit": "TLS from the first octet", "starttls": "STARTTLS", "none": "no encryption"}


@frozen
class Server:
    """A server of a migration, and how it is spoken to."""

    side: str
    """``"source"`` or ``"target"``."""
    kind: str
    """The plug-in."""
    host: str
    port: int
    tls: str
    """``"implicit"``, ``"starttls"`` or ``"none"``; ``"auto"`` where that was not found out yet, ``""`` where the
    plug-in does not tell."""
    found: bool = False
    """Found by trying, for ``tls = auto``, and kept; else as the configuration says."""
    accounts: int = 0


class Ways:
    """What is known of the servers of one migration. Safe to use from several threads.

    ``ledger`` gives the ledger, ``None`` where there is none yet.
    """

    def __init__(self, ledger: Callable[[], Ledger | None]) -> None:
        self._ledger = ledger
        self._found: dict[Place, Way] = {}
        self._kept: set[Place] = set()
        self._asking: dict[Place, threading.Lock] = {}

    def options_for(
        self,
        kind: SourceKind[Any] | SinkKind[Any],
        options: Any,
        tell: Callable[[str], None],
        *,
        keep: bool,
    ) -> Any:
        """Return an endpoint's options with nothing left open; asks the server where nobody has asked it before.

        ``tell`` is told in words what was found. ``keep``: write it into the ledger. Raises what ``kind.probe``
        raises, and ``LedgerError``.
        """
        if kind.probe is None or not isinstance(options, ServerOptions) or options.tls != "auto":
            return options
        place = _place(kind.name, options)
        with self._asking.setdefault(place, threading.Lock()):
            way = self._known(place, options)
            if way is None:
                found = kind.probe(options)
                way = found.tls, found.address[1]
                tell(f"{options.host}: {_told(way)}")
            ledger = self._ledger() if keep and place not in self._kept else None
            if ledger is not None:
                way = keep_way(ledger, place, way)
                self._kept.add(place)
            self._found[place] = way
        settled: Any = {"tls": way[0], "port": way[1]}
        return evolve(options, **settled)

    def remarks(self, kind: str, options: Any) -> list[Remark]:
        """Tell what was found of an endpoint that was opened; nothing where nothing had to be."""
        way = self._found.get(_place(kind, options)) if isinstance(options, ServerOptions) else None
        if way is None or options.tls != "auto":
            return []
        return [Remark("note", _told(way), f'tls = "{way[0]}" in the configuration would never try another.')]

    def servers(self, accounts: Iterable[AccountSpec]) -> list[Server]:
        """List the servers of accounts, with the way in where it is known. Raises ``LedgerError``."""
        used = Counter[tuple[str, int]]()
        ends: dict[int, Endpoint] = {}
        for each in accounts:
            for side, end in (("source", each.source), ("target", each.target)):
                ends[id(end)] = end  # mostly one for all accounts
                used[side, id(end)] += 1
        told = Counter[Server]()
        for (side, end_id), number in used.items():
            server = self._server(side, ends[end_id])
            told.update({server: number} if server is not None else {})
        return [evolve(server, accounts=number) for server, number in told.items()]

    def _server(self, side: str, end: Endpoint) -> Server | None:
        address = getattr(end.options, "address", None)
        if not isinstance(address, tuple):
            return None  # nothing on a network, such as a folder
        (host, port), tls = address, getattr(end.options, "tls", "")
        way = self._kept_way(_place(end.kind, end.options)) if tls == "auto" else None
        tls, port = way or (tls, port)
        return Server(side, end.kind, host, port, tls, way is not None)

    def _kept_way(self, place: Place) -> Way | None:
        ledger = self._ledger()
        return known_way(ledger, place) if ledger is not None else None

    def _known(self, place: Place, options: ServerOptions) -> Way | None:
        way = self._found.get(place)
        if way is None:
            way = self._kept_way(place)
        # A password went in clear by leave that is not given any more.
        return None if way and way[0] == "none" and not options.may_be_plain else way


def _place(kind: str, options: ServerOptions) -> Place:
    return kind, options.host.lower().rstrip("."), options.port or 0


def _told(way: Way) -> str:
    tls, port = way
    return f"tls = auto: the best that was found by trying is {_WORDS[tls]}, port {port}"

"""Read the URLs of ``alimail copy``: ``KIND://USER@HOST:PORT?OPTION=VALUE&...``.

Where the kind's option ``host`` must be given, HOST is it (``imap://anna@mail.example``); where it need not, HOST
is the domain of an address and USER@HOST the user (``alimail://anna@new.example?region=cn``). USER and the values
are percent-encoded UTF-8 (RFC 3986 §2.1); ``+`` stands for itself. A password has no place in a URL: command lines
are seen by others and kept in histories.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from alimail_core.contract import SinkKind, SourceKind
from alimail_core.errors import Fault, InputError
from alimail_core.registry import Registry
from alimail_core.spec import Endpoint
from alimail_core.structure import Misfits, describe_options, structure
from alimail_core.text import printable

Side: TypeAlias = Literal["source", "target"]

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*)://([^/?#]*)/?(?:\?([^#]*))?", re.DOTALL)
_HOST: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\]|([\w-]+(?:\.[\w-]+)*\.?)")
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SHAPE: Final = (
    "write KIND://USER@HOST:PORT?OPTION=VALUE, with @ : / ? # % and & in a part written %40 %3A ..."
)


def parse_url(text: str, registry: Registry, side: Side) -> tuple[Endpoint, str]:
    """Return the endpoint that a URL names, and the user who logs in there.

    Raises ``InputError`` with all faults, or ``PluginError`` where no plug-in has this kind. No message repeats
    the URL, which may hold a password.
    """
    return _Url(text, side).read(registry)


class _Url:
    """One URL and what is wrong with it."""

    def __init__(self, text: str, side: Side) -> None:
        self.text = text.strip()
        self.side = side
        self.faults: list[Fault] = []

    def read(self, registry: Registry) -> tuple[Endpoint, str]:
        match = _URL.fullmatch(self.text)
        if match is None:
            raise self._error("it has not the form of a URL for a mailbox", _SHAPE)
        scheme, place, query = match.groups()
        user, host, port = self._place(place)
        name = scheme.lower()
        kind = registry.source(name) if self.side == "source" else registry.sink(name)
        options = self._query(query or "")
        user = self._address(kind, options, user, host, port)
        endpoint = Endpoint(kind.name, self._structured(kind, options))
        self._raise_faults()
        return endpoint, user

    def _place(self, place: str) -> tuple[str, str, str]:
        user, at, host_and_port = place.rpartition("@")
        if not at or not user:
            raise self._error("it does not say whose mailbox it is", _SHAPE)
        if ":" in user:
            raise self._error(
                "it has a password in it",
                f"leave it out and say where it is with --{self.side}-secret, such as "
                f"--{self.side}-secret env:NAME; a colon in a user's name is written %3A",
            )
        if "@" in user:
            raise self._error("it has more than one @", "write the @ of the user as %40")
        bracket = host_and_port.rfind("]")
        colon = host_and_port.find(":", bracket + 1)
        host, port = (host_and_port, "") if colon < 0 else (host_and_port[:colon], host_and_port[colon + 1 :])
        return self._decoded(user, "the user"), self._host(host), self._port(port, colon >= 0)

    def _host(self, host: str) -> str:
        match = _HOST.fullmatch(host)
        if match is None:
            raise self._error("its host is not the name or address of one", _SHAPE)
        return match.group(1) or match.group(2)

    def _port(self, port: str, given: bool) -> str:
        if given and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
            self._fault("the port is not a number from 1 to 65535")
        return port

    def _query(self, query: str) -> dict[str, str]:
        options: dict[str, str] = {}
        for pair in filter(None, query.split("&")):
            key, equals, value = pair.partition("=")
            key = self._decoded(key, "an option")
            if not equals:
                self._fault(f"the option {printable(key)} has no value", f"write {printable(key)}=VALUE")
            elif key in options:
                self._fault(f"the option {printable(key)} is given twice")
            options[key] = self._decoded(value, f"the option {printable(key)}")
        return options

    def _address(
        self, kind: SourceKind[Any] | SinkKind[Any], options: dict[str, str], user: str, host: str, port: str
    ) -> str:
        """Put host and port where the kind wants them; return the user."""
        rows = {row.name: row for row in describe_options(kind.options)}
        at_host = "host" in rows and rows["host"].required
        for name, value in (("host", host if at_host else ""), ("port", port)):
            if value and name in options:
                self._fault(f"the {name} is given twice", f"give it before the ?, not as {name}=")
            elif value and name not in rows:
                self._fault(f"{kind.name} takes no {name}")
            elif value:
                options[name] = value
        if at_host:
            return user
        if "@" in user and user.rpartition("@")[2].lower() != host.lower():
            self._fault("the user has another domain than the URL", f"write {kind.name}://USER@DOMAIN")
        return user if "@" in user else f"{user}@{host}"

    def _structured(self, kind: SourceKind[Any] | SinkKind[Any], options: dict[str, str]) -> Any:
        try:
            return structure(options, kind.options, base=Path.cwd(), from_text=True)
        except Misfits as error:
            for item in error.items:
                self._fault(item.text, item.remedy)
            return None

    def _decoded(self, text: str, what: str) -> str:
        try:
            if _PERCENT.search(text):
                raise ValueError("a percent sign that begins no code")
            decoded = unquote_to_bytes(text).decode()
        except ValueError:  # UnicodeDecodeError is one; it holds the text, so it is not chained
            self._fault(f"{what} is not percent-encoded UTF-8", "write % itself as %25")
            return ""
        if any(ord(character) < 32 or ord(character) == 127 for character in decoded):
            self._fault(f"{what} has control characters in it")
        return decoded

    def _fault(self, message: str, remedy: str = "") -> None:
        self.faults.append(Fault(f"{self.side} URL", message, remedy))

    def _error(self, message: str, remedy: str) -> InputError:
        self._fault(message, remedy)
        return InputError(f"the {self.side} URL cannot be used", self.faults)

    def _raise_faults(self) -> None:
        if self.faults:
            raise InputError(f"the {self.side} URL cannot be used", self.faults)

"""What the check asks a server beside what a migration does: without a name, and for mail to measure with."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from typing import Final

from alimail_core import Transient, dial
from alimail_ews import soap
from alimail_ews.answers import Node
from alimail_ews.connections import NO_HTTP_REMEDY
from alimail_ews.options import EwsOptions
from alimail_ews.session import Session

_MESSAGES: Final = 20


def asked_openly(options: EwsOptions) -> tuple[int, str, http.client.HTTPMessage]:
    """Ask for EWS without a name; return status, reason and headers. Raises what ``dial`` does, or ``Transient``.

    By POST, as every client asks: to a GET some servers say only that it is none, whoever asks (HTTP 405).
    """
    ask = soap.get_folders([soap.distinguished("inbox", soap.Who())])
    body = soap.envelope(ask, soap.VERSIONS[-1], soap.Who())
    host = options.host if options.address[1] in (80, 443) else f"{options.host}:{options.address[1]}"
    connection = http.client.HTTPConnection(host)
    with dial(options) as sock:
        connection.sock = sock
        try:
            headers = {"Host": host, "User-Agent": "alimail", "Content-Type": "text/xml; charset=utf-8"}
            headers["SOAPAction"] = soap.action(ask)
            connection.request("POST", options.url_path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.reason, answer.headers
        except (OSError, http.client.HTTPException) as error:
            raise Transient(
                f"what answers there does not speak HTTP: {type(error).__name__}",
                remedy=NO_HTTP_REMEDY,
            ) from error


def keys_in(session: Session, name: str) -> list[str]:
    """Return the identifiers of some messages of a folder."""
    found = list(session.ask(soap.get_folders([soap.distinguished(name, session.who)])))
    folder = next((child for child in _children(found, "Folders")), None)
    identifier = folder.find("FolderId") if folder else None
    if identifier is None:
        return []
    listed = list(session.ask(soap.find_items(identifier.attributes["Id"], 0, _MESSAGES)))
    items = [item.find("ItemId") for item in _children(listed, "RootFolder", "Items")]
    return [item.attributes["Id"] for item in items if item is not None]


def _children(answers: Sequence[Node], *path: str) -> list[Node]:
    nodes = [answer.find(*path) for answer in answers]
    return [child for node in nodes if node is not None for child in node.children]


def octets_of(answer: Node) -> int:
    contents = [item.find("MimeContent") for item in _children([answer], "Items")]
    return sum(len(each.octets or b"") for each in contents if each is not None)

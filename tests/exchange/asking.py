"""A client of few words for the server's own tests: requests written by hand, answers taken apart."""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import define, field, frozen
from lxml import etree

from tests.exchange.server import ExchangeServer
from tests.exchange.soap import ERRORS, MESSAGES, NAMESPACES, SOAP, TYPES, Element

ROOT = '<m:FolderIds><t:DistinguishedFolderId Id="msgfolderroot"/></m:FolderIds>'


@frozen
class Said:
    """One answer."""

    status: int
    headers: http.client.HTTPMessage
    octets: bytes = field(repr=False)

    @property
    def tree(self) -> Element:
        """The envelope."""
        return etree.fromstring(self.octets)

    @property
    def fault(self) -> str | None:
        """The response code of a SOAP fault, ``None`` where there is none."""
        return self.tree.findtext(f".//{{{ERRORS}}}ResponseCode") if self.octets else None

    @property
    def codes(self) -> list[str]:
        """The response code of each response message."""
        return [str(node.text) for node in self.tree.iterfind(".//m:ResponseCode", NAMESPACES)]

    def values(self) -> dict[str, str]:
        """What ``MessageXml`` tells."""
        return {
            node.get("Name", ""): node.text or "" for node in self.tree.iterfind(".//t:Value", NAMESPACES)
        }

    def all(self, path: str) -> list[Element]:
        """Find elements anywhere."""
        return self.tree.findall(f".//{path}", NAMESPACES)

    def texts(self, path: str) -> list[str]:
        """Return the texts of elements anywhere."""
        return [node.text or "" for node in self.all(path)]


@define
class Asker:
    """Asks a server in somebody's name, each time on a connection of its own."""

    server: ExchangeServer
    login: str = "OLD\\svc"
    password: str = "secret"
    impersonate: str | None = None
    kind: str = "SmtpAddress"
    version: str | None = "Exchange2016"
    timeout: float = 20

    def ask(self, operation: str, inside: str, *, attributes: str = "", header: str = "") -> Said:
        """Ask for an operation; ``inside`` stands in its element."""
        body = f"<m:{operation} {attributes}>{inside}</m:{operation}>"
        return self.post(envelope(body, header=self._header() + header))

    def _header(self) -> str:
        said = "" if self.version is None else f'<t:RequestServerVersion Version="{self.version}"/>'
        if self.impersonate is not None:
            who = f"<t:{self.kind}>{self.impersonate}</t:{self.kind}>"
            said += (
                f"<t:ExchangeImpersonation><t:ConnectingSID>{who}</t:ConnectingSID></t:ExchangeImpersonation>"
            )
        return said

    def post(
        self, body: str | bytes, *, path: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        """Send octets with Basic, and return what came."""
        basic = base64.b64encode(f"{self.login}:{self.password}".encode()).decode()
        sent = {
            "Content-Type": "text/xml; charset=utf-8",
            "Authorization": f"Basic {basic}",
            **(headers or {}),
        }
        connection = self._connection()
        try:
            connection.request("POST", path or urlsplit(self.server.url).path, body, sent)
            response = connection.getresponse()
            return Said(response.status, response.headers, response.read())
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self.server.tls:
            return http.client.HTTPConnection("localhost", self.server.port, timeout=self.timeout)
        context = ssl.create_default_context(cafile=str(self.server.ca_file))
        return http.client.HTTPSConnection(
            "localhost", self.server.port, timeout=self.timeout, context=context
        )

    # -- what is asked often

    def get_folder(self, ids: str = ROOT, *, shape: str = "<t:BaseShape>Default</t:BaseShape>") -> Said:
        """Ask for folders."""
        return self.ask("GetFolder", f"<m:FolderShape>{shape}</m:FolderShape>{ids}")

    def find_items(
        self, folder: str = "inbox", *, view: str = "", shape: str = "<t:BaseShape>Default</t:BaseShape>"
    ) -> Said:
        """Ask what lies in a distinguished folder."""
        parents = f'<m:ParentFolderIds><t:DistinguishedFolderId Id="{folder}"/></m:ParentFolderIds>'
        inside = f"<m:ItemShape>{shape}</m:ItemShape>{view}{parents}"
        return self.ask("FindItem", inside, attributes='Traversal="Shallow"')

    def get_items(self, *ids: str, mime: bool = True, more: str = "") -> Said:
        """Ask for items with their MIME content."""
        listed = "".join(f'<t:ItemId Id="{identifier}"/>' for identifier in ids)
        shape = f"<t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>{str(mime).lower()}</t:IncludeMimeContent>"
        return self.ask("GetItem", f"<m:ItemShape>{shape}{more}</m:ItemShape><m:ItemIds>{listed}</m:ItemIds>")

    def sync(self, folder_id: str, state: str = "", most: int = 512, *, more: str = "") -> Said:
        """Ask what changed in a folder."""
        kept = f"<m:SyncState>{state}</m:SyncState>" if state else ""
        return self.ask(
            "SyncFolderItems",
            f"<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape>{more}</m:ItemShape>"
            f'<m:SyncFolderId><t:FolderId Id="{folder_id}"/></m:SyncFolderId>{kept}'
            f"<m:MaxChangesReturned>{most}</m:MaxChangesReturned>",
        )


def envelope(body: str, *, header: str = "") -> str:
    """Return a request's octets, as text."""
    spaces = f'xmlns:s="{SOAP}" xmlns:m="{MESSAGES}" xmlns:t="{TYPES}"'
    return f"<s:Envelope {spaces}><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"


def paths(*names: str) -> str:
    """Return ``AdditionalProperties`` of plain properties."""
    inside = "".join(f'<t:FieldURI FieldURI="{name}"/>' for name in names)
    return f"<t:AdditionalProperties>{inside}</t:AdditionalProperties>"

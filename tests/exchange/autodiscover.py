"""Autodiscover: where a mailbox's EWS is, as Outlook asks for it (POX, MS-OXDSCLI) and as newer clients do (SOAP)."""

from __future__ import annotations

from typing import Final, Protocol

from lxml import etree

from tests.exchange.organisation import Organisation
from tests.exchange.schema import parse
from tests.exchange.soap import SOAP, Answer, text
from tests.exchange.store import Mailbox

POX: Final = "/autodiscover/autodiscover.xml"
SERVICE: Final = "/autodiscover/autodiscover.svc"
PATHS: Final = (POX, SERVICE)

_REQUEST: Final = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006}"
_BASE: Final = b"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_RESPONSE: Final = b"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
_SOAP: Final = "http://schemas.microsoft.com/exchange/2010/Autodiscover"


class Located(Protocol):
    """What of the server its answers tell."""

    organisation: Organisation

    @property
    def url(self) -> str:
        """Where EWS answers."""


def answer(server: Located, path: str, body: bytes) -> Answer:
    """Answer whichever of the two was asked."""
    try:
        tree = parse(body)
    except etree.XMLSyntaxError:
        return Answer(200, _pox_error(600, "Invalid Request"))
    return _pox(server, tree) if path == POX else _service(server, tree)


def _pox(server: Located, tree: etree._Element) -> Answer:
    address = (tree.findtext(f"{_REQUEST}Request/{_REQUEST}EMailAddress") or "").strip()
    mailbox = server.organisation.mailbox(address)
    if mailbox is None:
        return Answer(200, _pox_error(500, "The email address can't be found."))
    protocols = b"".join(
        b"<Protocol><Type>%b</Type><Server>%b</Server><EwsUrl>%b</EwsUrl><ASUrl>%b</ASUrl></Protocol>"
        % (kind, text(server.organisation.domain), text(server.url), text(server.url))
        for kind in (b"EXCH", b"EXPR")
    )
    return Answer(
        200,
        b'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="%b"><Response xmlns="%b"><User><DisplayName>%b'
        b"</DisplayName><LegacyDN>%b</LegacyDN><AutoDiscoverSMTPAddress>%b</AutoDiscoverSMTPAddress>"
        b"<DeploymentId>00000000-0000-0000-0000-000000000000</DeploymentId></User><Account>"
        b"<AccountType>email</AccountType><Action>settings</Action><MicrosoftOnline>False</MicrosoftOnline>%b"
        b"</Account></Response></Autodiscover>"
        % (_BASE, _RESPONSE, text(mailbox.name), _legacy_dn(mailbox), text(mailbox.address), protocols),
    )


def _legacy_dn(mailbox: Mailbox) -> bytes:
    return b"/o=Old/ou=Exchange Administrative Group/cn=Recipients/cn=%b" % text(
        mailbox.address.split("@")[0]
    )


def _pox_error(code: int, words: str) -> bytes:
    return (
        b'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="%b"><Response><Error Time="00:00:00.0000000" '
        b'Id="1"><ErrorCode>%d</ErrorCode><Message>%b</Message><DebugData/></Error></Response></Autodiscover>'
        % (_BASE, code, words.encode())
    )


def _service(server: Located, tree: etree._Element) -> Answer:
    users = [node.text or "" for node in tree.iterfind(f".//{{{_SOAP}}}User/{{{_SOAP}}}Mailbox")]
    wanted = [node.text or "" for node in tree.iterfind(f".//{{{_SOAP}}}Setting")]
    responses = b"".join(_user_response(server, user, wanted) for user in users)
    return Answer(
        200,
        b'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="%b"><s:Header/><s:Body>'
        b'<GetUserSettingsResponseMessage xmlns="%b"><Response><ErrorCode>NoError</ErrorCode><ErrorMessage/>'
        b"<UserResponses>%b</UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>"
        % (SOAP.encode(), _SOAP.encode(), responses),
    )


def _user_response(server: Located, user: str, wanted: list[str]) -> bytes:
    mailbox = server.organisation.mailbox(user)
    if mailbox is None:
        return (
            b"<UserResponse><ErrorCode>InvalidUser</ErrorCode><ErrorMessage>Invalid user: '%b'</ErrorMessage>"
            b"<UserSettingErrors/><UserSettings/></UserResponse>" % text(user)
        )
    known = {
        "UserDisplayName": mailbox.name,
        "UserDN": _legacy_dn(mailbox).decode(),
        "AutoDiscoverSMTPAddress": mailbox.address,
        "InternalEwsUrl": server.url,
        "ExternalEwsUrl": server.url,
    }
    settings = b"".join(
        b'<UserSetting i:type="StringSetting"><Name>%b</Name><Value>%b</Value></UserSetting>'
        % (text(name), text(known[name]))
        for name in wanted
        if name in known
    )
    return (
        b"<UserResponse><ErrorCode>NoError</ErrorCode><ErrorMessage>No error.</ErrorMessage><UserSettingErrors/>"
        b'<UserSettings xmlns:i="http://www.w3.org/2001/XMLSchema-instance">%b</UserSettings></UserResponse>'
        % settings
    )

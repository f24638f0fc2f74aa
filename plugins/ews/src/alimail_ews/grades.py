"""From what Exchange answers to a grade and a remedy: the response codes of MS-OXWSCDATA §2.2.5.24, and HTTP's.

The tables name what decides something. What no table names is refused where one item or folder was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from attrs import frozen

from alimail_core import AlimailError, Denied, LoginDenied, Refused, Throttled, Transient
from alimail_ews.answers import Node

LOGIN_REMEDY: Final = (
    "Check the user's name (DOMAIN\\name or the whole address) and the password, and that the account is neither "
    "locked nor switched off. Where all of it is right, the way in may be what is refused, such as NTLM that is "
    "switched off in the domain, or a gateway under Extended Protection: try auth = basic or "
    "kerberos. Exchange Online takes tokens only (auth = oauth)."
)
LATER_REMEDY: Final = "The server asks to try later; alimail does that by itself."
SLOWER_REMEDY: Final = (
    "alimail waits as long as the server asks. If it happens all the time, give the service account and the "
    "mailboxes a throttling policy without limits (`alimail exchange prepare`), or lower max_connections."
)
NETLOGON_REMEDY: Final = (
    "The same password was taken before, so the server has no room to check it: lower max_connections, or raise "
    "MaxConcurrentApi there (`alimail exchange prepare`). alimail goes on by itself."
)
IMPERSONATION_REMEDY: Final = (
    "Give the service account the right ApplicationImpersonation over this mailbox (`alimail exchange prepare` "
    "writes the script), and wait until it has reached all servers, up to an hour; or use access = delegate. "
    "See also that the mailbox's own account is not disabled."
)
ADDRESS_REMEDY: Final = (
    "Give the mailbox's primary address: Get-Mailbox NAME | Format-List PrimarySmtpAddress."
)
MAILBOX_REMEDY: Final = (
    "See that the address is spelt right, that its account has a mailbox on this server, and that it is not "
    "disabled."
)
RIGHTS_REMEDY: Final = "Give the account FullAccess to the mailbox, or the right to impersonate its owner."
ANSWER_REMEDY: Final = "Check host and url_path: Exchange Web Services usually answer at /EWS/Exchange.asmx."
PUBLISHED_REMEDY: Final = (
    "What answers is no Exchange Web Services: check host and url_path, and that a proxy or gateway before the "
    "server lets /EWS through without a login page of its own."
)
PUBLIC_REMEDY: Final = (
    "The account that `public_folder_account` names needs a mailbox on this server, and there must be public "
    "folders (Get-PublicFolder -Recurse). Or leave public_folder out."
)
REPAIR_REMEDY: Final = (
    "Have Exchange mend the folder: New-MailboxRepairRequest -Mailbox ADDRESS -CorruptionType "
    "AggregateCounts,FolderView (2010 SP1 and later); then run again, which asks for all of it. In Outlook on the "
    "web its owner sees what is there and did not come. Of a public folder see that the account may read all items."
)
ONLINE_REMEDY: Final = (
    "Exchange Online has EWS closed to all but listed applications since October 2026, and to all from April 2027: "
    "use IMAP with tokens there (kind = imap, auth = xoauth2)."
)

Make: TypeAlias = Callable[[str], AlimailError]


def _denied(remedy: str) -> Make:
    return lambda message: Denied(message, remedy=remedy)


def _login_denied(remedy: str) -> Make:
    return lambda message: LoginDenied(message, remedy=remedy)


def _transient(message: str) -> AlimailError:
    return Transient(message, remedy=LATER_REMEDY)


def _throttled(message: str) -> AlimailError:
    return Throttled(message, remedy=SLOWER_REMEDY)


CODES: Final[Mapping[str, Make]] = {
    # May this account act for this mailbox at all?
    "ErrorImpersonateUserDenied": _denied(IMPERSONATION_REMEDY),
    "ErrorImpersonationDenied": _denied(IMPERSONATION_REMEDY),
    "ErrorImpersonationFailed": _denied(IMPERSONATION_REMEDY),
    "ErrorInvalidImpersonationHeaderData": _denied(ADDRESS_REMEDY),
    "ErrorInvalidExchangeImpersonationHeaderData": _denied(ADDRESS_REMEDY),
    "ErrorNonPrimarySmtpAddress": _denied(ADDRESS_REMEDY),
    "ErrorMissingEmailAddress": _denied(
        "The service account itself needs a mailbox on Exchange 2007 to 2013: give it one, or use another account."
    ),
    "ErrorNonExistentMailbox": _denied(MAILBOX_REMEDY),
    "ErrorMailboxConfiguration": _denied(MAILBOX_REMEDY),
    "ErrorAccountDisabled": _denied(MAILBOX_REMEDY),
    "ErrorInvalidSmtpAddress": _denied(ADDRESS_REMEDY),
    "ErrorNoMailboxFound": _denied(MAILBOX_REMEDY),
    "ErrorCannotFindUser": _denied(MAILBOX_REMEDY),
    "ErrorPasswordExpired": _login_denied("The password has expired: set a new one."),
    "ErrorPasswordChangeRequired": _login_denied(
        "The password has to be changed: log in with a browser once."
    ),
    "ErrorInvalidUserPrincipalName": _login_denied(LOGIN_REMEDY),
    "ErrorInvalidLogonType": _login_denied(LOGIN_REMEDY),
    "ErrorMailboxMoveInProgress": lambda message: Transient(
        message, remedy="The mailbox is on its way to another database; alimail tries again by itself."
    ),
    # Too much at once.
    "ErrorServerBusy": _throttled,
    "ErrorExceededConnectionCount": _throttled,
    "ErrorTooManyObjectsOpened": _throttled,
    # Not now.
    "ErrorTimeoutExpired": _transient,
    "ErrorConnectionFailed": _transient,
    "ErrorInternalServerTransientError": _transient,
    "ErrorMailboxStoreUnavailable": _transient,
    "ErrorMailboxFailover": _transient,
    "ErrorMailboxLogonFailed": _transient,
    "ErrorADUnavailable": _transient,
    "ErrorADOperation": _transient,
    "ErrorADSessionFilter": _transient,
    "ErrorProxiedSubscriptionCallFailure": _transient,
    "ErrorProxyCallFailed": _transient,
    "ErrorProxyRequestProcessingFailed": _transient,
    "ErrorNoRespondingCASInDestinationSite": _transient,
    "ErrorWrongServerVersionDelegate": _transient,
    "ErrorInsufficientResources": _transient,
}
"""What a response code means wherever it comes; all others are ``Refused``."""

GONE: Final = frozenset({"ErrorItemNotFound", "ErrorMessageNotFound"})
"""The server looked for an item, and it is not there."""
NO_NAME: Final = frozenset(
    {
        "ErrorInvalidId",
        "ErrorInvalidIdEmpty",
        "ErrorInvalidIdMalformed",
        "ErrorInvalidIdMalformedEwsLegacyIdFormat",
        "ErrorInvalidIdMonikerTooLong",
        "ErrorInvalidIdNotAnItemAttachmentId",
        "ErrorInvalidIdStoreObjectIdTooLong",
        "ErrorInvalidIdTooManyAttachmentLevels",
        "ErrorInvalidIdXml",
        "ErrorInvalidIdReturnedByResolveNames",
    }
)
"""An identifier that names nothing in this mailbox; it may fail everything that was asked for beside it."""
NO_STATE: Final = frozenset({"ErrorInvalidSyncStateData", "ErrorSyncStateDataInvalid"})
"""A state that the server cannot go on from."""
NO_FOLDER: Final = frozenset(
    {
        "ErrorFolderNotFound",
        "ErrorItemNotFound",
        "ErrorSyncFolderNotFound",
        "ErrorParentFolderNotFound",
        "ErrorAccessDenied",
    }
)
NO_ARCHIVE: Final = frozenset({"ErrorArchiveMailboxNotEnabled", *NO_FOLDER - {"ErrorAccessDenied"}})
"""There is no archive."""
NO_VERSION: Final = frozenset(
    {
        "ErrorInvalidServerVersion",
        "ErrorInvalidSchemaVersionForMailboxVersion",
        "ErrorIncorrectSchemaVersion",
    }
)
"""The server, or the mailbox's, speaks an older version only."""


@frozen
class Saying:
    """What a response message or a fault says: ``code`` is ``"NoError"`` where all is well."""

    code: str
    text: str
    pause: float | None = None
    """Seconds until it may be asked again, where it says so."""

    @property
    def words(self) -> str:
        """Return what the server said, fit for a terminal."""
        text = "".join(c if c.isprintable() else " " for c in self.text).strip()[:300]
        return f"{self.code}: {text}" if text else self.code


def saying_of(node: Node) -> Saying:
    """Read what a response message or a fault says (MS-OXWSCDATA §2.2.4.67)."""
    if node.name == "Fault":
        detail = node.find("detail") or Node("detail", {})
        code = detail.told("ResponseCode") or node.told("faultcode").rpartition(":")[2] or "Fault"
        text = detail.told("Message") or node.told("faultstring")
        return Saying(code.rpartition(".")[2], text, _pause(detail))
    code = node.told("ResponseCode") or "NoError"
    if node.attributes.get("ResponseClass") == "Error" and code == "NoError":
        code = "Error"
    return Saying(code, node.told("MessageText"), _pause(node))


def _pause(node: Node) -> float | None:
    """Return the seconds that the server asks to wait, of which it tells milliseconds."""
    xml = node.find("MessageXml")
    for value in xml.children if xml else ():
        if value.attributes.get("Name") == "BackOffMilliseconds" and value.text.strip().isdecimal():
            return min(int(value.text), 3_600_000) / 1000
    return None


def grade(saying: Saying) -> AlimailError:
    """Return the error that an answer other than ``NoError`` stands for, with the server's own words."""
    message = f"the server said: {saying.words}"
    if saying.pause is not None or saying.code in THROTTLING:
        return Throttled(message, retry_after=saying.pause, remedy=SLOWER_REMEDY)
    if saying.code == "ErrorAccessDenied":
        return Refused(message, remedy=RIGHTS_REMEDY)
    make = CODES.get(saying.code)
    return make(message) if make else Refused(message)


THROTTLING: Final = frozenset(code for code, make in CODES.items() if make is _throttled)

STATUSES: Final[Mapping[int, Make]] = {
    301: _denied(PUBLISHED_REMEDY),
    302: _denied(PUBLISHED_REMEDY),
    303: _denied(PUBLISHED_REMEDY),
    307: _denied(PUBLISHED_REMEDY),
    308: _denied(PUBLISHED_REMEDY),
    403: _denied(
        "EWS is switched off for this account or closed to this program: see Get-CASMailbox (EwsEnabled, "
        "EwsApplicationAccessPolicy) and Get-OrganizationConfig."
    ),
    404: _denied(ANSWER_REMEDY),
    405: _denied(ANSWER_REMEDY),
    410: _denied(ANSWER_REMEDY),
    413: lambda message: Refused(message, about="size"),
    501: Refused,
}
"""What an HTTP status means; 401 depends on what was before, 429 and 503 throttle, all others pass."""


def grade_status(status: int, reason: str, retry_after: str | None) -> AlimailError:
    """Return the error that an HTTP status other than 200 and 401 stands for; ``retry_after`` is its header."""
    message = f"the server answered with HTTP {status} {reason}".rstrip()
    if status in (429, 503) or retry_after:
        seconds = float(retry_after) if retry_after and retry_after.strip().isdecimal() else None
        return Throttled(
            message, retry_after=None if seconds is None else min(seconds, 3600.0), remedy=SLOWER_REMEDY
        )
    make = STATUSES.get(status)
    return make(message) if make else Transient(message, remedy=LATER_REMEDY)

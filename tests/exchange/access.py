"""Who may see what: impersonation (the header ``ExchangeImpersonation``), delegates, and whose folder it is."""

from __future__ import annotations

from typing import Final

from tests.exchange.organisation import Account, Organisation
from tests.exchange.soap import NAMESPACES, Element, Failure, Refusal, Request, children, local_name
from tests.exchange.store import Folder, Item, Mailbox, MalformedId

_ARCHIVE: Final = "archive"

NO_MAILBOX: Final = (
    "When making a request as an account that does not have a mailbox, you must specify the mailbox primary SMTP "
    "address for any distinguished folder Ids."
)


def impersonated(organisation: Organisation, account: Account, header: Element | None) -> Mailbox | None:
    """Return the mailbox that a request is made for, ``None`` for the account's own. Raises ``Refusal``."""
    who = None if header is None else header.find("t:ExchangeImpersonation/t:ConnectingSID/*", NAMESPACES)
    if who is None:
        return None
    kind, value = local_name(who), (who.text or "").strip()
    if not value:
        raise Refusal(
            "ErrorInvalidExchangeImpersonationHeaderData", "ExchangeImpersonation SOAP header is invalid."
        )
    mailbox = _named(organisation, kind, value)
    if not account.may_impersonate(mailbox):
        raise Refusal(
            "ErrorImpersonateUserDenied",
            "The account does not have permission to impersonate the requested user.",
        )
    if mailbox.disabled:
        raise Refusal(
            "ErrorImpersonationFailed", "Exchange Web Services are not able to impersonate the user."
        )
    return mailbox


def _named(organisation: Organisation, kind: str, value: str) -> Mailbox:
    everybody = organisation.mailboxes.values()
    if kind == "SID":
        found = next((one for one in everybody if one.sid == value), None)
        if found is None:
            raise Refusal("ErrorInvalidUserSid", "The user SID is invalid.")
    elif kind == "PrincipalName":
        found = next((one for one in everybody if one.upn.lower() == value.lower()), None)
        if found is None:
            raise Refusal("ErrorInvalidUserPrincipalName", "The user principal name (UPN) is invalid.")
    else:
        found = organisation.mailbox(value)
        if found is None:
            raise Refusal("ErrorNonExistentMailbox", "The SMTP address has no mailbox associated with it.")
        if kind == "PrimarySmtpAddress" and found.address != value.lower():
            raise Refusal(
                "ErrorNonPrimarySmtpAddress",
                "The primary SMTP address must be specified when referencing a mailbox.",
                {"Primary": found.address},
            )
    return found


def find_folder(organisation: Organisation, request: Request, node: Element) -> Folder:
    """Return the folder that a ``FolderId`` or ``DistinguishedFolderId`` names. Raises ``Failure`` or ``Refusal``."""
    if local_name(node) == "DistinguishedFolderId":
        return _distinguished(organisation, request, node)
    if local_name(node) != "FolderId":
        raise Failure("ErrorInvalidFolderId", "Folder id is invalid.")
    try:
        store, folder, _, is_item = organisation.find(node.get("Id", ""))
    except MalformedId as error:
        raise Failure("ErrorInvalidIdMalformed", "Id is malformed.") from error
    if is_item:
        raise Failure("ErrorCannotUseItemIdForFolderId", "An item Id can't be used as a folder Id.")
    _require_access(organisation, request, store)
    if folder is None:
        raise Failure("ErrorItemNotFound", "The specified object was not found in the store.")
    return folder


def _distinguished(organisation: Organisation, request: Request, node: Element) -> Folder:
    name = node.get("Id", "")
    address = node.findtext("t:Mailbox/t:EmailAddress", None, NAMESPACES)
    if name == "publicfoldersroot":
        store = organisation.public
        if address is not None:
            raise Failure(
                "ErrorInvalidOperation", "It is not valid to specify a mailbox with the public folder root."
            )
        if request.mailbox is None:
            raise Failure("ErrorMissingEmailAddress", NO_MAILBOX)
        if store is None:
            raise Failure(
                "ErrorNoPublicFolderReplicaAvailable", "There is no public folder replica available."
            )
        return store.distinguished(name)
    mailbox = request.mailbox
    if address is not None:
        mailbox = organisation.mailbox(address)
        if mailbox is None:
            raise Failure("ErrorNonExistentMailbox", "The SMTP address has no mailbox associated with it.")
        if mailbox.address != address.lower():
            raise Failure(
                "ErrorNonPrimarySmtpAddress",
                "The primary SMTP address must be specified when referencing a mailbox.",
                {"Primary": mailbox.address},
            )
    if mailbox is None:
        raise Failure("ErrorMissingEmailAddress", NO_MAILBOX)
    _require_access(organisation, request, mailbox)
    store = mailbox.archive if name.startswith(_ARCHIVE) else mailbox
    if store is None:
        raise Failure("ErrorArchiveMailboxNotEnabled", "The archive mailbox is not enabled for this user.")
    try:
        return store.distinguished(name)
    except KeyError as error:
        raise Failure(
            "ErrorFolderNotFound", "The specified folder could not be found in the store."
        ) from error


def find_item(organisation: Organisation, request: Request, node: Element) -> Item:
    """Return the item that an ``ItemId`` names. Raises ``Failure``, and ``MalformedId`` for what is no id at all."""
    if local_name(node) != "ItemId":
        raise Failure("ErrorCalendarCannotUseIdForRecurringMasterId", "Only item ids are known here.")
    identifier = node.get("Id", "")
    if not identifier:
        raise Failure("ErrorInvalidIdEmpty", "Id must be non-empty.")
    store, folder, item, is_item = organisation.find(identifier)
    if not is_item:
        raise Failure("ErrorCannotUseFolderIdForItemId", "A folder Id can't be used as an item Id.")
    _require_access(organisation, request, store)
    if folder is None or item is None:
        raise Failure("ErrorItemNotFound", "The specified object was not found in the store.")
    require_read(request, folder)
    return item


def require_read(request: Request, folder: Folder) -> None:
    """Refuse what is in a public folder to those who may only see that it is there."""
    address = request.mailbox.address if request.mailbox else ""
    if folder.readers is not None and address not in folder.readers:
        raise Failure("ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def folders_named(request: Request, where: str) -> list[Element]:
    """Return the folder ids in a list of a request."""
    return children(request.find(where))


def _require_access(organisation: Organisation, request: Request, store: Mailbox) -> None:
    owner = organisation.owner(store)
    if owner in (organisation.public, request.mailbox):
        return
    delegate = request.account if not request.impersonates else None
    if delegate is None or not delegate.may_open(owner):
        raise Failure("ErrorAccessDenied", "Access is denied. Check credentials and try again.")

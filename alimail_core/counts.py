"""Hold what the ledger knows to stand in the new mailboxes against the service's own books, without their protocol.

A folder is known by what it is for, and else by its name; of folders with one name the sum is compared, since the
books need not tell in which folder another one is. More than was carried is no fault: mail goes on arriving.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from attrs import frozen

from alimail_core.errors import InputError
from alimail_core.ledger import Ledger
from alimail_core.ledger.standing import StandingFolder, standing
from alimail_core.model import INBOX, MailCount
from alimail_core.provisioning.directory import fold
from alimail_core.provisioning.organisation import Organisation
from alimail_core.spec import AccountSpec


@frozen
class CountedFolder:
    """Folders of one name: how many messages were carried there, and how many the books have."""

    name: str
    carried: int
    told: int

    @property
    def short(self) -> bool:
        """Tell whether the books have fewer than were carried."""
        return self.told < self.carried


@frozen
class CountedAccount:
    """One account's folders; ``reason`` says why it could not be looked at."""

    source_address: str
    target_address: str
    folders: tuple[CountedFolder, ...] = ()
    reason: str = ""

    @property
    def good(self) -> bool:
        """Tell whether everything that was carried is in the books."""
        return not self.reason and not any(each.short for each in self.folders)

    @property
    def carried(self) -> int:
        """How many messages were carried into it."""
        return sum(each.carried for each in self.folders)

    @property
    def told(self) -> int:
        """How many messages the books have in these folders."""
        return sum(each.told for each in self.folders)


def count_mail(
    organisation: Organisation, accounts: Collection[AccountSpec], ledger: Ledger
) -> Iterator[CountedAccount]:
    """Compare the books with the ledger, for each account, in the order given.

    Accounts that share a target are compared with it together. Raises ``InputError`` where the configuration's
    provisioner counts no mail, and what opening it raises.
    """
    ids = {(each.source_address, each.target_address): each.id for each in ledger.accounts()}
    ours = standing(ledger)
    carried: dict[str, list[StandingFolder]] = {}
    for account in accounts:
        found = ours.get(ids.get((account.source_address, account.target_address), -1), [])
        carried.setdefault(fold(account.target_address), []).extend(found)
    with organisation.opener()() as provisioner:
        if not provisioner.traits.counts_mail:
            raise InputError("this provisioner counts no mail", remedy="Leave out --api.")
        addresses = {fold(each.target_address): each.target_address for each in accounts}
        told = {fold(each.address): each for each in provisioner.count_mail(addresses.values())}
    for account in accounts:
        key = fold(account.target_address)
        folders = compared(carried[key], told[key])
        yield CountedAccount(account.source_address, account.target_address, folders, told[key].reason)


def compared(carried: Iterable[StandingFolder], told: MailCount) -> tuple[CountedFolder, ...]:
    """Compare the folders of one mailbox that something was carried into."""
    uses = {each.special_use for each in told.folders} - {None}
    names: dict[str, str] = {}
    wanted, there = Counter[str](), Counter[str]()
    for folder in carried:
        if folder.path == INBOX:
            key, name = "inbox", "INBOX"
        elif folder.special_use in uses:
            assert folder.special_use is not None
            key, name = folder.special_use.value, folder.path[-1]
        else:
            key, name = f"name {fold(folder.path[-1])}", folder.path[-1]
        names.setdefault(key, name)
        wanted[key] += folder.messages
    for each in told.folders:
        use = each.special_use.value if each.special_use is not None else None
        there["inbox" if each.inbox else use or f"name {fold(each.name)}"] += each.messages
    return tuple(CountedFolder(names[key], wanted[key], there[key]) for key in names)

"""Who there is in an Exchange organisation: accounts, their rights, and whose each mailbox is."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator

from attrs import define, field

from tests.exchange.furniture import furnish
from tests.exchange.store import Folder, Item, Mailbox, MalformedId, read_id


@define(eq=False)
class Account:
    """Who may log in. ``mailbox`` is its own, if it has one."""

    login: str
    """``DOMAIN\\name``; the address of its mailbox and its UPN serve as well."""
    password: str = field(repr=False)
    mailbox: Mailbox | None = None
    upn: str = ""
    impersonates: set[str] = field(factory=set)
    """Primary addresses of whom it may impersonate; ``*``: everybody."""

    def may_impersonate(self, mailbox: Mailbox) -> bool:
        """Tell whether it has the right."""
        return bool(self.impersonates & {"*", mailbox.address})

    def may_open(self, mailbox: Mailbox) -> bool:
        """Tell whether a mailbox is its own or one that it has FullAccess to."""
        return mailbox is self.mailbox or self.login in mailbox.delegates


@define(eq=False)
class Organisation:
    """All mailboxes and accounts of one Exchange organisation."""

    domain: str = "old.example"
    netbios: str = "OLD"
    accounts: dict[str, Account] = field(factory=dict)
    mailboxes: dict[str, Mailbox] = field(factory=dict)
    public: Mailbox | None = None
    lock: threading.RLock = field(factory=threading.RLock, repr=False)

    def add_mailbox(
        self,
        name: str,
        *,
        password: str = "",
        language: str = "en",
        aliases: Iterable[str] = (),
        display: str = "",
    ) -> Mailbox:
        """Make a mailbox ``name@domain`` with the folders that Exchange gives one, and an account where it has a
        password.
        """
        address = f"{name}@{self.domain}"
        mailbox = Mailbox(address, display or name.title(), frozenset(aliases), upn=address)
        mailbox.sid = f"S-1-5-21-1004336348-1177238915-682003330-{1100 + len(self.mailboxes)}"
        furnish(mailbox, language)
        self.mailboxes[address] = mailbox
        if password:
            self.add_account(name, password, mailbox=mailbox)
        return mailbox

    def add_account(
        self, name: str, password: str, *, mailbox: Mailbox | None = None, impersonates: Iterable[str] = ()
    ) -> Account:
        """Let somebody log in as ``NETBIOS\\name`` or ``name@domain``."""
        login, upn = f"{self.netbios}\\{name}", f"{name}@{self.domain}"
        account = Account(login, password, mailbox, upn, set(impersonates))
        self.accounts[login.lower()] = self.accounts[upn.lower()] = account
        return account

    def account(self, login: str) -> Account | None:
        """Find an account by what was typed; a bare name is taken in our own domain."""
        if "\\" not in login and "@" not in login:
            login = f"{self.netbios}\\{login}"
        return self.accounts.get(login.lower())

    def mailbox(self, address: str) -> Mailbox | None:
        """Find a mailbox by any of its addresses."""
        address = address.lower()
        for mailbox in self.mailboxes.values():
            if address == mailbox.address or address in mailbox.aliases:
                return mailbox
        return None

    def add_archive(self, mailbox: Mailbox) -> Mailbox:
        """Give a mailbox an archive."""
        archive = Mailbox("", f"In-Place Archive - {mailbox.name}", upn=mailbox.address)
        archive.guid = uuid.uuid5(uuid.NAMESPACE_DNS, f"archive of {mailbox.address}").bytes
        root = archive.add_folder("", None, "", distinguished="archiveroot")
        top = archive.add_folder("Top of Information Store", root, "", distinguished="archivemsgfolderroot")
        archive.add_folder("Deleted Items", top, distinguished="archivedeleteditems")
        mailbox.archive = archive
        return archive

    def add_public_folders(self) -> Mailbox:
        """Make the tree of public folders."""
        self.public = Mailbox("", "Public folders")
        self.public.add_folder("", None, "", distinguished="publicfoldersroot")
        return self.public

    def all_stores(self) -> Iterator[Mailbox]:
        """Give every store that an identifier may name."""
        for mailbox in self.mailboxes.values():
            yield mailbox
            if mailbox.archive is not None:
                yield mailbox.archive
        if self.public is not None:
            yield self.public

    def owner(self, store: Mailbox) -> Mailbox:
        """Return whose store it is: an archive belongs to its mailbox."""
        return next((found for found in self.mailboxes.values() if found.archive is store), store)

    def find(self, identifier: str) -> tuple[Mailbox, Folder | None, Item | None, bool]:
        """Return the store, the folder and the item that an identifier names, and whether it names an item.

        The folder or the item is ``None`` where there is none (any more). Raises ``MalformedId``.
        """
        names_item, guid, database, folder_number, item_number = read_id(identifier)
        store = next((store for store in self.all_stores() if store.guid == guid), None)
        if store is None:
            raise MalformedId(identifier)
        folder = store.folders.get(folder_number) if database == store.database else None
        item = folder.items.get(item_number) if folder is not None else None
        return store, folder, item, names_item

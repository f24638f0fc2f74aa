"""The contract's own suite over real directories, and what is particular to a disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from alimail_core import (
    INBOX,
    Changes,
    Clock,
    Credentials,
    Denied,
    Folder,
    FolderPath,
    Gone,
    Message,
    Registry,
    Source,
    Transient,
)
from alimail_core.testing import Mail, SourceContract, message
from alimail_mbox import plugin

LETTERS = {flag: letter for letter, flag in plugin.FLAGS.items()}


def deliver(maildir: Path, mail: Mail, name: str) -> Path:
    """Put a message into a Maildir, made if need be, as a delivery agent and its reader do."""
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    letters = "".join(sorted(LETTERS[flag] for flag in mail.flags))
    file = maildir / "cur" / f"{name}:2,{letters}" if letters else maildir / "new" / name
    file.write_bytes(mail.octets)
    if mail.internal_date is not None:
        os.utime(file, (mail.internal_date.timestamp(),) * 2)
    return file


def open_at(root: Path, user: str = "ann") -> Source:
    """Open a user's mail; whoever asks for the password fails the test."""
    credentials = Credentials(user, lambda: pytest.fail("nobody needs a password here"))
    return plugin.open_maildir(plugin.MaildirOptions(root), credentials, Clock())


class TestContract(SourceContract):
    """Everything that alimail expects of a source."""

    keeps_keywords = False
    can_add = can_delete = can_flag = True

    def make(self, tmp_path: Path, folders: Mapping[FolderPath, Sequence[Mail]]) -> Callable[[], Source]:
        self.root, self.count = tmp_path, 0
        for path in (INBOX, *folders):
            for part in ("tmp", "new", "cur"):
                tmp_path.joinpath("ann", *path, part).mkdir(parents=True, exist_ok=True)
        for path, mails in folders.items():
            for mail in mails:
                self.add(path, mail)
        return lambda: open_at(tmp_path)

    def add(self, path: FolderPath, mail: Mail) -> None:
        self.count += 1
        deliver(self.root.joinpath("ann", *path), mail, f"17000000{self.count:02}.M1P1.host")

    def delete(self, path: FolderPath, key: str) -> None:
        self._file(path, key).unlink()

    def flag(self, path: FolderPath, key: str, flags: frozenset[str]) -> None:
        letters = "".join(sorted(LETTERS[flag] for flag in flags))
        self._file(path, key).rename(self.root.joinpath("ann", *path, "cur", f"{key}:2,{letters}"))

    def _file(self, path: FolderPath, key: str) -> Path:
        (file,) = self.root.joinpath("ann", *path).glob(f"*/{key}*")
        return file


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An inbox with one message, in the mail of ann."""
    deliver(tmp_path / "ann" / "INBOX", Mail(message("One")), "1.one")
    return tmp_path / "ann" / "INBOX"


def test_a_message_whose_flags_change_meanwhile_is_not_gone(tmp_path: Path, inbox: Path) -> None:
    """A file that got another name between listing and fetching is found under it."""
    folder = Folder(INBOX, handle="INBOX")
    with open_at(tmp_path) as source:
        entries = list(source.look(folder, ["1.one"]))
        (inbox / "new" / "1.one").rename(inbox / "cur" / "1.one:2,S")
        (answer,) = source.fetch([(folder, entries)])
    assert answer == Message(INBOX, "1.one", message("One"))


def test_a_message_that_is_renamed_while_a_directory_is_read_is_listed(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that a reading missed because its name changed meanwhile is found by reading again."""
    os.utime(inbox / "new", (0, 0))
    read, missed = plugin._files, inbox / "new" / "1.one"

    def unlucky(place: Path) -> Iterator[str]:
        found = read(place)
        if missed.exists():
            missed.rename(inbox / "cur" / "1.one:2,S")
            found = iter(())
        return found

    monkeypatch.setattr(plugin, "_files", unlucky)
    with open_at(tmp_path) as source:
        (page,) = source.changes([(Folder(INBOX, handle="INBOX"), None)])
    assert isinstance(page, Changes)
    assert [entry.key for entry in page.entries] == ["1.one"]


def test_a_file_that_was_replaced_is_gone(tmp_path: Path, inbox: Path) -> None:
    """What stands under a key with another size or date is another message."""
    folder = Folder(INBOX, handle="INBOX")
    with open_at(tmp_path) as source:
        (entry,) = source.look(folder, ["1.one"])
        (inbox / "new" / "1.one").write_bytes(message("Another"))
        assert list(source.fetch([(folder, [entry])])) == [Gone(INBOX, "1.one")]


def test_links_are_not_followed(tmp_path: Path, inbox: Path) -> None:
    """A link in an account's mail does not bring what is somebody else's."""
    deliver(tmp_path / "bob" / "INBOX", Mail(message("Not hers")), "3.three")
    (inbox / "new" / "2.two").symlink_to(tmp_path / "bob" / "INBOX" / "new" / "3.three")
    (tmp_path / "ann" / "Archive").symlink_to(tmp_path / "bob" / "INBOX")
    (tmp_path / "ann" / "Linked").mkdir()
    for part in ("new", "cur"):
        (tmp_path / "ann" / "Linked" / part).symlink_to(tmp_path / "bob" / "INBOX" / part)
    with open_at(tmp_path) as source:
        folders = {folder.path: folder for folder in source.folders()}
        assert {path: folder.selectable for path, folder in folders.items()} == {
            INBOX: True,
            ("Linked",): False,
        }
        assert [entry.key for entry in source.look(folders[INBOX], ["1.one", "2.two"])] == ["1.one"]


@pytest.mark.parametrize(
    ("number", "grade"), [(errno.EACCES, Denied), (errno.EIO, Denied), (errno.ENOENT, Transient)]
)
def test_a_directory_that_cannot_be_read_is_no_empty_one(
    tmp_path: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch, number: int, grade: type[Exception]
) -> None:
    """Whatever the disk refuses ends the listing: mail must not be left behind in silence."""
    scan = os.scandir

    def refuse(place: str | Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        if Path(place) == inbox:
            raise OSError(number, os.strerror(number), str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with open_at(tmp_path) as source, pytest.raises(grade):
        list(source.folders())


def test_names_that_are_no_unicode_are_read(tmp_path: Path, inbox: Path) -> None:
    """A folder whose name is not UTF-8 is listed by a visible name, and its messages are read."""
    deliver(inbox.parent / os.fsdecode(b"Gr\xfc\xdfe"), Mail(message("Two")), "2.two")
    with open_at(tmp_path) as source:
        (folder,) = [folder for folder in source.folders() if folder.path != INBOX]
        assert folder.path == ("Gr\\xfc\\xdfe",)
        assert [entry.key for entry in source.look(folder, ["2.two"])] == ["2.two"]


@pytest.mark.parametrize("user", ["", ".", "..", "ann/deep", "bob"])
def test_who_has_no_mail_is_denied(tmp_path: Path, user: str) -> None:
    """A user without an inbox, or with a name that is a path, is refused with what to do."""
    for place in (tmp_path, tmp_path / "mail", tmp_path / "mail" / "ann" / "deep"):
        deliver(place / "INBOX", Mail(message("One")), "1.one")
    with pytest.raises(Denied) as caught:
        open_at(tmp_path / "mail", user)
    assert caught.value.remedy


def test_alimail_accepts_the_plug_in() -> None:
    """The registry finds nothing to complain of, and knows the kind by its name."""
    registry = Registry()
    registry.register(plugin)
    assert registry.source("maildir").options is plugin.MaildirOptions
    assert not registry.problems

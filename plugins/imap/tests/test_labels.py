"""Gmail's labels: each message is carried once, from the most specific folder."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.model import INBOX, Changes, Folder, SpecialUse
from alimail_imap.labels import owns, rank_folder
from alimail_imap.source import ImapSource
from alimail_imap.testing import CannedServer, Reply
from alimail_imap.utf7 import encode

ALL = Folder(("[Gmail]", "All Mail"), SpecialUse.ALL)
SENT = Folder(("[Gmail]", "Sent Mail"), SpecialUse.SENT)
DRAFTS = Folder(("[Gmail]", "Drafts"), SpecialUse.DRAFTS)
IMPORTANT = Folder(("[Gmail]", "Important"), SpecialUse.IMPORTANT)
STARRED = Folder(("[Gmail]", "Starred"), SpecialUse.FLAGGED)
WORK = Folder(("Work",))
CLIENT = Folder(("Work", "客户"))
LABELS = {INBOX: b"\\Inbox", SENT.path: b"\\Sent", DRAFTS.path: b"\\Draft", STARRED.path: b"\\Starred"}
LABELS[IMPORTANT.path] = b"\\Important"
FOLDERS = [
    Folder(INBOX),
    SENT,
    DRAFTS,
    STARRED,
    IMPORTANT,
    WORK,
    CLIENT,
    Folder(("Zebra",)),
    Folder(("Work", "a")),
]


def label(folder: Folder) -> bytes:
    """Return the label that a folder stands for."""
    return LABELS.get(folder.path) or encode("/".join(folder.path))


@given(st.sets(st.sampled_from(FOLDERS), min_size=1), st.sets(st.sampled_from([*FOLDERS, ALL])))
def test_each_message_is_owned_by_exactly_one_folder(stands: set[Folder], hidden: set[Folder]) -> None:
    """Whatever labels a message has and whichever of them are hidden, one shown folder carries it."""
    shown = {rank_folder(one) for one in [*FOLDERS, ALL] if one not in hidden}
    seen = [one for one in {*stands, ALL} if one not in hidden]
    owners = [one for one in seen if owns(one, [label(other) for other in stands - {one}], shown)]
    assert len(owners) == bool(seen)


@pytest.mark.parametrize(
    ("folder", "labels", "own"),
    [
        (ALL, [], True),
        (ALL, [b"\\Inbox"], False),
        (ALL, [b"\\Important", b"\\Starred"], True),
        (Folder(INBOX), [b"\\Important", b"\\Sent"], False),
        (Folder(INBOX), [b"Work"], False),
        (WORK, [b"\\Inbox", b"Work/&W6JiNw-"], False),
        (CLIENT, [b"\\Inbox", b"Work"], True),
        (STARRED, [], False),
        (Folder(("[Gmail]", "Trash"), SpecialUse.TRASH), [b"Work"], True),
    ],
)
def test_the_most_specific_folder_owns(folder: Folder, labels: list[bytes], own: bool) -> None:
    """A label that a user made counts more than a system folder, a deeper one more than one above it."""
    assert owns(folder, labels, {rank_folder(one) for one in [*FOLDERS, ALL]}) is own


def keys(answer: str, capabilities: bytes) -> list[str]:
    """List a folder of three messages, of which one has a label of its own, with an option's value."""
    line = '* %d FETCH (X-GM-LABELS (%s) UID %d FLAGS () INTERNALDATE "01-Jan-2020 00:00:00 +0000" RFC822.SIZE 9)\r\n'
    labels = ["", '"\\\\Important" Work', "\\\\Starred"]
    words = "".join(line % (number, text, number) for number, text in enumerate(labels, 1)).encode()
    replies: dict[bytes, Reply] = {
        b"EXAMINE": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 4] ok\r\n",
        b"FETCH": words,
        b'LIST "" "*"': b'* LIST () "/" INBOX\r\n* LIST () "/" Work\r\n* LIST (\\All) "/" All\r\n',
    }
    with CannedServer(replies, capabilities=capabilities) as server:
        options = evolve(server.options, gmail_labels="one" if answer == "one" else "all")
        with ImapSource.open(options, server.credentials) as source:
            (page,) = source.changes([(Folder(INBOX), None)])
    assert isinstance(page, Changes)
    assert page.complete
    return [entry.key for entry in page.entries]


def test_a_listing_leaves_to_others_what_is_theirs() -> None:
    """By default the labelled message is carried from its label; by wish from every folder."""
    assert keys("one", b"IMAP4rev1 X-GM-EXT-1") == ["7/1", "7/3"]
    assert keys("all", b"IMAP4rev1 X-GM-EXT-1") == ["7/1", "7/2", "7/3"]
    assert keys("one", b"IMAP4rev1") == ["7/1", "7/2", "7/3"]

"""``changes`` against servers with and without the extensions, and against those that break their word."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alimail_core.errors import Throttled, Transient
from alimail_core.model import PAGE, Changes, Cursor, Folder, Unusable
from alimail_imap.listing import Mark
from alimail_imap.source import ImapSource
from alimail_imap.testing import CannedServer, Reply
from alimail_imap.uidsets import expand, parse_set

BOX = Folder(("Box",))
CLOCK = 1_700_000_000
POOR = b"IMAP4rev1 UIDPLUS"
CONDSTORE = b"IMAP4rev1 CONDSTORE"
QRESYNC = b"IMAP4rev1 CONDSTORE QRESYNC ENABLE"


class Mailbox:
    """A folder on a canned server: messages as (UID, size), and what EXAMINE says of it."""

    def __init__(
        self, *messages: tuple[int, int], uidvalidity: int = CLOCK, modseq: int | None = None
    ) -> None:
        self.messages = list(messages)
        self.uidvalidity = uidvalidity
        self.modseq = modseq
        self.uidnext: int | None = max([uid for uid, _ in messages], default=0) + 1

    def examine(self, command: bytes) -> bytes:
        lines = [b"* %d EXISTS" % len(self.messages), b"* OK [UIDVALIDITY %d] ok" % self.uidvalidity]
        lines += [b"* OK [UIDNEXT %d] ok" % self.uidnext] if self.uidnext else []
        lines += [b"* OK [HIGHESTMODSEQ %d] ok" % self.modseq] if self.modseq else []
        return b"".join(line + b"\r\n" for line in lines)

    def fetch(self, command: bytes) -> bytes:
        """Answer FETCH by sequence numbers."""
        first, _, last = command.split()[1].partition(b":")
        return b"".join(self.line(number) for number in range(int(first), int(last or first) + 1))

    def uid_fetch(self, command: bytes) -> bytes:
        """Answer UID FETCH."""
        wanted = set(expand(parse_set(command.split()[2])))
        return b"".join(self.line(n) for n, (uid, _) in enumerate(self.messages, 1) if uid in wanted)

    def line(self, number: int) -> bytes:
        uid, size = self.messages[number - 1]
        date = b'INTERNALDATE "01-Jan-2020 00:00:%02d +0000"' % (size % 60)
        return b"* %d FETCH (UID %d FLAGS (\\Seen) %s RFC822.SIZE %d)\r\n" % (number, uid, date, size)

    def replies(self) -> dict[bytes, Reply]:
        """Return what a server says that has this folder."""
        return {b"EXAMINE": self.examine, b"FETCH": self.fetch, b"UID FETCH": self.uid_fetch}


def ask(
    box: Mailbox, cursor: Cursor | None = None, capabilities: bytes = POOR, **replies: Reply
) -> tuple[list[Changes | Unusable], CannedServer]:
    """Ask one folder's changes; keyword replies override, spaces written as underscores."""
    told = {name.replace("_", " ").encode(): reply for name, reply in replies.items()}
    with (
        CannedServer(box.replies() | told, capabilities=capabilities) as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        return list(source.changes([(BOX, cursor)])), server


def pages(found: list[Changes | Unusable]) -> list[Changes]:
    """Return the pages, after a look at the rules that all of them keep."""
    given = [page for page in found if isinstance(page, Changes)]
    assert len(given) == len(found)
    assert [page.cursor is not None for page in given] == [False] * (len(given) - 1) + [True]
    assert len({(page.epoch, page.complete) for page in given}) == 1
    return given


def keys(found: list[Changes | Unusable]) -> list[str]:
    """Return the keys of all pages."""
    return [entry.key for page in pages(found) for entry in page.entries]


def test_a_first_listing_is_complete_and_ends_with_a_cursor() -> None:
    """Everything is told, with witness and flags."""
    found, _ = ask(Mailbox((3, 10), (9, 20)))
    (page,) = pages(found)
    assert page.complete
    assert page.epoch == str(CLOCK)
    entry = page.entries[1]
    assert (entry.key, entry.size, entry.flags) == (f"{CLOCK}/9", 20, frozenset({"\\Seen"}))
    assert entry.internal_date == datetime(2020, 1, 1, 0, 0, 20, tzinfo=UTC)


def test_an_empty_folder_is_one_empty_page() -> None:
    """An empty folder has a cursor as well, and is not asked to fetch anything."""
    found, server = ask(Mailbox())
    assert keys(found) == []
    assert not server.commands(b"FETCH")


def test_a_large_folder_comes_in_pages() -> None:
    """No page is larger than PAGE, and each message is told once."""
    box = Mailbox(*((uid, 100) for uid in range(1, 2 * PAGE + 2)))
    found, server = ask(box)
    assert [len(page.entries) for page in pages(found)] == [PAGE, PAGE, 1]
    assert len(set(keys(found))) == 2 * PAGE + 1
    assert len(server.commands(b"FETCH")) == 3


@pytest.mark.parametrize("said", [2, 3, 0])
@pytest.mark.parametrize("window", [1, PAGE + 1])
def test_a_server_that_expunges_while_it_lists_loses_no_message(window: int, said: int) -> None:
    """When sequence numbers move, the window is listed again; also where that is told twice, or not in truth."""
    box = Mailbox(*((uid, 100) for uid in range(1, PAGE + 40)))
    struck: list[bytes] = []

    def fetch(command: bytes) -> bytes:
        told = box.fetch(command)
        if struck or not command.startswith(b"FETCH %d:" % window):
            return told
        struck.append(command)
        del box.messages[: min(said, 2)]
        return told + b"* 1 EXPUNGE\r\n" * (said or 1)

    found, _ = ask(box, FETCH=fetch)
    assert {key.partition("/")[2] for key in keys(found)} >= {str(uid) for uid in range(3, PAGE + 40)}
    assert len(keys(found)) == len(set(keys(found)))
    assert struck


def test_a_server_that_expunges_whenever_it_lists_is_tried_again_later() -> None:
    """No folder is listed for ever."""
    box = Mailbox((1, 100), (2, 100))
    with pytest.raises(Transient, match="whenever"):
        ask(box, FETCH=lambda command: box.fetch(command) + b"* 1 EXPUNGE\r\n")


def test_a_message_whose_size_is_not_told_is_listed_without() -> None:
    """Exchange refuses the size of a damaged message; it is listed by UID and flags."""
    box = Mailbox((1, 10), (2, 20), (3, 30))

    def fetch(command: bytes) -> bytes:
        if command.startswith(b"FETCH 1:3"):
            return box.line(1) + box.line(3) + b"{tag} NO some of the messages could not be read\r\n"
        assert command == b"FETCH 2 (UID FLAGS)"
        return b"* 2 FETCH (UID 2 FLAGS ())\r\n"

    found, _ = ask(box, FETCH=fetch)
    (page,) = pages(found)
    assert [(entry.key.partition("/")[2], entry.size) for entry in page.entries] == [
        ("1", 10),
        ("2", None),
        ("3", 30),
    ]


def test_a_folder_that_is_not_listed_whole_is_unusable() -> None:
    """What the server hides must not look deleted."""
    box = Mailbox((1, 10), (2, 20))
    found, _ = ask(box, FETCH=lambda _: box.line(1))
    assert isinstance(found[0], Unusable)
    assert len(found) == 1


def test_hidden_messages_in_a_later_page_end_the_pass() -> None:
    """After the first page it is too late to call the folder unusable."""
    box = Mailbox(*((uid, 100) for uid in range(1, PAGE + 3)))

    def fetch(command: bytes) -> bytes:
        return box.fetch(command) if command.startswith(b"FETCH 1:") else b""

    with pytest.raises(Transient, match="does not list all"):
        ask(box, FETCH=fetch)


def test_a_folder_that_cannot_be_opened_is_unusable_in_its_place() -> None:
    """The others are answered all the same, in the order asked."""
    box = Mailbox((1, 10))
    replies = box.replies() | {
        b'EXAMINE "Bad"': b"{tag} NO [NOPERM] Permission denied\r\n",
        b"SELECT": b"{tag} NO x\r\n",
    }
    bad = Folder(("Bad",))
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        found = list(source.changes([(bad, None), (BOX, None), (bad, None)]))
    assert [type(one) for one in found] == [Unusable, Changes, Unusable]
    assert isinstance(found[0], Unusable)
    assert "Permission denied" in found[0].reason


def test_select_is_used_only_where_examine_is_refused() -> None:
    """A server without EXAMINE is opened with SELECT, and is not asked for EXAMINE again."""
    box = Mailbox((1, 10))
    busy = b"{tag} NO [UNAVAILABLE] Backend down\r\n"
    with pytest.raises(Transient):
        ask(box, EXAMINE=lambda _: busy, SELECT=box.examine)
    replies = box.replies() | {b"EXAMINE": b"{tag} BAD unknown command\r\n", b"SELECT": box.examine}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        assert keys(list(source.changes([(BOX, None)]))) == [f"{CLOCK}/1"]
        assert keys(list(source.changes([(BOX, None)]))) == [f"{CLOCK}/1"]
    assert len(server.commands(b"EXAMINE")) == 1
    assert len(server.commands(b"SELECT")) == 2


# The same UIDs, other messages


def cursor_of(box: Mailbox, capabilities: bytes = POOR) -> Cursor:
    """List a folder and return its cursor."""
    found, _ = ask(box, capabilities=capabilities)
    cursor = pages(found)[-1].cursor
    assert cursor is not None
    return cursor


def test_without_change_the_epoch_stays() -> None:
    """A second listing of the same folder names the same messages alike."""
    box = Mailbox((1, 10), (2, 20))
    again, _ = ask(box, cursor_of(box))
    assert keys(again) == [f"{CLOCK}/1", f"{CLOCK}/2"]


def test_a_new_uidvalidity_is_a_new_epoch() -> None:
    """Old keys mean nothing after it, and the answer is complete."""
    cursor = cursor_of(Mailbox((1, 10)))
    found, _ = ask(Mailbox((1, 10), uidvalidity=CLOCK + 5), cursor)
    (page,) = pages(found)
    assert page.complete
    assert page.epoch == str(CLOCK + 5)


def test_a_uidvalidity_that_goes_back_is_not_the_one_from_before() -> None:
    """A server that alternates between two values would otherwise give old keys to new messages."""
    first = cursor_of(Mailbox((1, 10), uidvalidity=2))
    found, _ = ask(Mailbox((1, 20), uidvalidity=1), first)
    assert pages(found)[0].epoch == "1.1"


def test_uidnext_going_back_is_a_new_epoch() -> None:
    """With a constant UIDVALIDITY a folder that was made again begins its UIDs anew."""
    cursor = cursor_of(Mailbox((1, 10), (2, 20), uidvalidity=1))
    found, _ = ask(Mailbox((1, 77), uidvalidity=1), cursor)
    assert keys(found) == ["1.1/1"]


def test_a_witness_that_differs_is_a_new_epoch() -> None:
    """A folder that was made again and filled further is known by its first and last messages."""
    cursor = cursor_of(Mailbox((1, 10), (2, 20), uidvalidity=1))
    found, _ = ask(Mailbox((1, 11), (2, 21), (3, 31), uidvalidity=1), cursor)
    assert keys(found) == ["1.1/1", "1.1/2", "1.1/3"]
    again = cursor_of(Mailbox((1, 11), (2, 21), (3, 31), uidvalidity=1))
    assert Mark.read(again) is not None


def test_a_folder_that_is_opened_without_its_count_is_not_taken_for_empty() -> None:
    """EXISTS must be told (RFC 9051 §6.3.2); where its line is lost or spoiled, all that was carried seemed gone."""
    cursor = cursor_of(Mailbox((1, 10), (2, 20)))
    with pytest.raises(Transient, match="without telling how much"):
        ask(Mailbox((1, 10), (2, 20)), cursor, EXAMINE=b"* 2 EXI\r\n* OK [UIDVALIDITY %d] ok\r\n" % CLOCK)


def test_markers_count_up_from_epoch_to_epoch() -> None:
    """A folder that is made again twice has three epochs, none like another."""
    box = Mailbox((1, 10), (2, 20), uidvalidity=1)
    epochs, cursor = [], None
    for size in (10, 11, 12):
        box.messages = [(1, size)]
        (page,) = pages(ask(box, cursor)[0])
        epochs.append(page.epoch)
        cursor = page.cursor
    assert epochs == ["1", "1.1", "1.2"]


def test_a_deleted_witness_says_nothing() -> None:
    """The last message may be deleted by its owner without a new epoch."""
    cursor = cursor_of(Mailbox((1, 10), (2, 20), uidvalidity=1))
    box = Mailbox((1, 10), uidvalidity=1)
    box.uidnext = 3
    assert keys(ask(box, cursor)[0]) == ["1/1"]


BAD_DATE: Cursor = {**Mark(CLOCK).cursor(), "witnesses": [[1, 10, "yesterday"]]}


@pytest.mark.parametrize(
    "cursor", [{}, {"uidvalidity": "x"}, {"witnesses": 5}, {"v": 9, "uidvalidity": 1}, BAD_DATE]
)
def test_a_cursor_that_cannot_be_read_is_none(cursor: Cursor) -> None:
    """Whatever a ledger hands back, the folder is listed whole."""
    (page,) = pages(ask(Mailbox((1, 10)), cursor)[0])
    assert page.complete


# Deltas


def test_condstore_tells_what_changed() -> None:
    """With nothing expunged only what CHANGEDSINCE names is listed."""
    box = Mailbox((1, 10), (2, 20), modseq=5)
    cursor = cursor_of(box, CONDSTORE)
    box = Mailbox((1, 10), (2, 20), (3, 30), modseq=7)

    def fetch(command: bytes) -> bytes:
        return (
            box.line(3)
            if b"CHANGEDSINCE 5" in command or command.startswith(b"UID FETCH 3")
            else box.uid_fetch(command)
        )

    found, server = ask(box, cursor, CONDSTORE, UID_FETCH=fetch, STATUS=b"* STATUS Box (MESSAGES 3)\r\n")
    assert not pages(found)[0].complete
    assert keys(found) == [f"{CLOCK}/3"]
    assert not server.commands(b"FETCH")


def test_condstore_with_something_expunged_lists_whole() -> None:
    """Without QRESYNC the server does not say what vanished; the count shows that something did."""
    cursor = cursor_of(Mailbox((1, 10), (2, 20), modseq=5), CONDSTORE)
    box = Mailbox((2, 20), modseq=5)
    found, _ = ask(box, cursor, CONDSTORE, STATUS=b"* STATUS Box (MESSAGES 1)\r\n")
    assert pages(found)[0].complete


def test_condstore_with_one_new_and_one_expunged_lists_whole() -> None:
    """The count is the same, and yet a message is gone: new ones are counted by their UIDs."""
    cursor = cursor_of(Mailbox((1, 10), (2, 20), modseq=5), CONDSTORE)
    box = Mailbox((2, 20), (3, 30), modseq=7)

    def fetch(command: bytes) -> bytes:
        return box.line(2) if command.startswith(b"UID FETCH 3:*") else box.uid_fetch(command)

    found, _ = ask(box, cursor, CONDSTORE, UID_FETCH=fetch, STATUS=b"* STATUS Box (MESSAGES 2)\r\n")
    assert pages(found)[0].complete


def test_qresync_tells_what_vanished() -> None:
    """VANISHED ranges become keys, those that never were below the old UIDNEXT aside."""
    cursor = cursor_of(Mailbox((1, 10), (2, 20), (3, 30), modseq=5), QRESYNC)
    box = Mailbox((2, 20), (4, 40), modseq=9)

    def fetch(command: bytes) -> bytes:
        if b"(CHANGEDSINCE 5 VANISHED)" in command:
            return b"* VANISHED (EARLIER) 1,3:3,5:4000000000\r\n" + box.line(2)
        return box.uid_fetch(command)

    found, _ = ask(box, cursor, QRESYNC, UID_FETCH=fetch, STATUS=b"* STATUS Box (MESSAGES 2)\r\n")
    given = pages(found)
    assert [key for page in given for key in page.gone] == [f"{CLOCK}/1", f"{CLOCK}/3"]
    assert keys(found) == [f"{CLOCK}/4"]
    assert not given[0].complete


def test_an_unchanged_folder_is_not_even_opened() -> None:
    """STATUS alone shows that nothing changed, flags included, where HIGHESTMODSEQ is told."""
    box = Mailbox((1, 10), modseq=5)
    cursor = cursor_of(box, QRESYNC)
    status = b"* STATUS Box (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d HIGHESTMODSEQ 5)\r\n" % CLOCK
    found, server = ask(box, cursor, QRESYNC, STATUS=status)
    assert keys(found) == []
    assert pages(found)[0].cursor == cursor
    assert not server.commands(b"EXAMINE")


def test_a_small_uidvalidity_is_not_believed_by_status_alone() -> None:
    """Where UIDVALIDITY may be a constant the witnesses are looked at even when every number is the same."""
    box = Mailbox((1, 10), modseq=5, uidvalidity=1)
    cursor = cursor_of(box, QRESYNC)
    box.messages = [(1, 11)]
    status = b"* STATUS Box (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1 HIGHESTMODSEQ 5)\r\n"
    assert pages(ask(box, cursor, QRESYNC, STATUS=status)[0])[0].epoch == "1.1"


def test_the_folder_that_is_open_is_not_asked_by_status() -> None:
    """A server may answer STATUS of the selected folder with what this connection knew before."""
    box = Mailbox((1, 10), modseq=5)
    stale = b"* STATUS Box (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d HIGHESTMODSEQ 5)\r\n" % CLOCK
    replies = box.replies() | {b"STATUS": stale, b"UID FETCH": b""}
    with (
        CannedServer(replies, capabilities=QRESYNC) as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        cursor = pages(list(source.changes([(BOX, None)])))[-1].cursor
        assert len(list(source.changes([(BOX, cursor)]))) == 1
    assert len(server.commands(b"EXAMINE")) == 2


def test_highestmodseq_going_back_is_a_new_epoch() -> None:
    """A mailbox restored from a backup has old UIDs for new messages."""
    cursor = cursor_of(Mailbox((1, 10), modseq=9), QRESYNC)
    found, _ = ask(Mailbox((1, 10), modseq=5), cursor, QRESYNC, STATUS=b"* STATUS Box (MESSAGES 1)\r\n")
    assert pages(found)[0].epoch == f"{CLOCK}.1"


def test_a_refused_delta_is_transient_and_never_a_short_answer() -> None:
    """When CHANGEDSINCE ends in a NO the cursor does not move on."""
    box = Mailbox((1, 10), modseq=5)
    cursor = cursor_of(box, QRESYNC)
    box = Mailbox((1, 10), (2, 20), modseq=9)

    def fetch(command: bytes) -> bytes:
        return b"{tag} NO cannot\r\n" if b"CHANGEDSINCE" in command else box.uid_fetch(command)

    with pytest.raises(Transient):
        ask(box, cursor, QRESYNC, UID_FETCH=fetch, STATUS=b"* STATUS Box (MESSAGES 2)\r\n")


def test_a_throttled_listing_is_throttled_and_not_unusable() -> None:
    """The folder is as good as before; the pass backs off."""
    with pytest.raises(Throttled):
        ask(Mailbox((1, 10)), FETCH=b"{tag} NO [THROTTLED] slow down\r\n")

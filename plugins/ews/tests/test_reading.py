"""Messages: in requests of a sensible size, whatever fails among them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core import INBOX, Changes, Entry, Folder, Gone, Message, Throttled, Unreadable
from alimail_core.testing import message
from alimail_core.testing.asking import folder_of, listing
from alimail_ews import reading
from alimail_ews.answers import Node
from alimail_ews.grades import Saying
from alimail_ews.options import EwsOptions
from alimail_ews.parallel import Channel, Stopped
from alimail_ews.reading import Reader, Sizes
from alimail_ews.session import Malformed
from alimail_ews.source import EwsSource
from plugins.ews.tests.conftest import Office
from tests.exchange import Item, faults


def deliver(office: Office, number: int) -> list[Item]:
    """Put messages into amy's inbox."""
    return [office.amy.deliver("inbox", message(f"No. {n}", message_id=f"{n}@x")) for n in range(number)]


def fetched(source: EwsSource) -> tuple[Folder, list[Message | Gone | Unreadable]]:
    """List the inbox, fetch all of it, and see that each entry is answered once."""
    listed = listing(source, INBOX)
    answers = list(source.fetch([(listed.folder, list(listed.entries.values()))]))
    assert Counter(answer.key for answer in answers) == Counter(list(listed.entries))
    return listed.folder, answers


def test_small_messages_share_requests(office: Office) -> None:
    """A hundred of them come in one request."""
    deliver(office, 250)
    with office.open() as source:
        _, answers = fetched(source)
    assert sum(isinstance(each, Message) for each in answers) == 250
    assert office.server.requests["GetItem"] == 3


def test_large_messages_are_asked_for_alone(office: Office) -> None:
    """Sizes decide what goes together, from the listing or, a day later, asked for anew."""
    sizes = [3_000_000, 50_000, 900_000, 900_000, 900_000, 60_000]
    for size in sizes:
        office.amy.deliver("inbox", message("x", body="y" * size))
    with office.open() as source:
        fetched(source)
        entries = list(listing(source, INBOX).entries.values())
    assert office.server.requests["GetItem"] == 3
    office.server.requests.clear()
    with office.open() as source:
        assert len(list(source.fetch([(folder_of(source, INBOX), entries)]))) == len(sizes)
    assert office.server.requests["GetItem"] == 3 + 1


@pytest.mark.parametrize(
    "code",
    [
        "ErrorMimeContentConversionFailed",
        "ErrorItemCorrupt",
        "ErrorInternalServerError",
        "ErrorMessageSizeExceeded",
    ],
)
def test_an_item_that_cannot_be_rendered_is_named(office: Office, code: str) -> None:
    """The others come; that one is told with the server's own words."""
    items = deliver(office, 5)
    office.amy.change(items[2], failure=code)
    with office.open() as source:
        _, answers = fetched(source)
    (bad,) = [each for each in answers if not isinstance(each, Message)]
    assert isinstance(bad, Unreadable)
    assert bad.key == items[2].id
    assert code in bad.reason


def test_an_identifier_that_fails_all_is_found(office: Office) -> None:
    """One that is none makes Exchange refuse all that were asked for beside it."""
    deliver(office, 9)
    with office.open() as source:
        listed = listing(source, INBOX)
        entries = [*listed.entries.values()]
        entries.insert(4, Entry("no identifier"))
        answers = list(source.fetch([(listed.folder, entries)]))
    assert [each.key for each in answers if isinstance(each, Gone)] == ["no identifier"]
    assert sum(isinstance(each, Message) for each in answers) == 9


def test_a_message_that_was_moved_is_gone(office: Office) -> None:
    """It has another identifier in its new folder, where a listing finds it."""
    items = deliver(office, 3)
    with office.open() as source:
        listed = listing(source, INBOX)
        office.amy.move(items[1], office.amy.folder(("Elsewhere",)))
        answers = list(source.fetch([(listed.folder, list(listed.entries.values()))]))
    assert sorted(type(each).__name__ for each in answers) == ["Gone", "Message", "Message"]


def test_a_draft_that_was_written_on_is_another_message(office: Office) -> None:
    """Its identifier stays, so the witness tells."""
    draft = office.amy.deliver("drafts", message("Plan"), flags=["\\Draft"])
    path = ("Drafts",)
    with office.open() as source:
        listed = listing(source, path)
        office.amy.change(draft, mime=message("Plan B"))
        (answer,) = source.fetch([(listed.folder, list(listed.entries.values()))])
        assert isinstance(answer, Gone)
        again = listing(source, path, listed.cursor)
        (answer,) = source.fetch([(again.folder, list(again.entries.values()))])
    assert isinstance(answer, Message)
    assert b"Plan B" in answer.octets


def test_throttling_while_messages_come_is_told(office: Office) -> None:
    """What came before stays true; the rest waits for a better time."""
    deliver(office, 300)
    with office.open(mailbox_connections=1) as source:
        listed = listing(source, INBOX)
        office.server.faults.add(faults.busy(400), operation="GetItem", skip=1)
        answers = source.fetch([(listed.folder, list(listed.entries.values()))])
        assert len(list(islice(answers, 100))) == 100
        with pytest.raises(Throttled) as caught:
            next(answers)
    assert caught.value.retry_after == 0.4


def test_contacts_and_appointments_among_mail_stay(office: Office) -> None:
    """Deleted Items hold what is no mail as well; it is not even listed."""
    office.amy.deliver("deleteditems", message("A letter"))
    office.amy.deliver("deleteditems", b"BEGIN:VCARD\r\nEND:VCARD\r\n", item_class="IPM.Contact")
    with office.open() as source:
        assert len(listing(source, ("Deleted Items",)).entries) == 1


class Telling:
    """A session that answers GetItem from a table, however oddly."""

    options = EwsOptions("mail.example", mailbox_connections=2)

    def __init__(self, bad: set[str], fails_all: bool, busy: int, cut: int | None) -> None:
        self.bad, self.fails_all, self.busy, self.cut = bad, fails_all, busy, cut
        self.asked: list[Sequence[str]] = []

    def ask(self, operation: Sequence[str], swell: object) -> list[Node]:
        """Answer as the table has it: see ``Session.ask``."""
        self.asked.append(operation)
        if self.fails_all and self.bad & set(operation):
            return [_told("ErrorInvalidId")]
        if self.cut is not None and len(operation) > self.cut:
            raise Malformed("cut off")
        answers = []
        for number, key in enumerate(operation):
            if self.busy and number >= self.busy:
                answers.append(_told("ErrorServerBusy"))
            else:
                answers.append(_told("ErrorItemCorrupt") if key in self.bad else _told("NoError", key))
        return answers


def _told(code: str, key: str = "") -> Node:
    item = (
        [Node("Items", {}, children=[Node("Message", {}, children=[Node("ItemId", {"Id": key})])])]
        if key
        else []
    )
    return Node("GetItemResponseMessage", {}, children=[Node("ResponseCode", {}, code), *item])


@given(
    st.lists(st.text("abcdefgh", min_size=1, max_size=2), unique=True, max_size=12),
    st.data(),
    st.booleans(),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(1, 5)),
)
def test_every_key_is_answered_once(
    keys: list[str], data: st.DataObject, fails_all: bool, busy: int, cut: int | None
) -> None:
    """Whatever one item does to those beside it, each good one is given and each bad one is named."""
    bad = set(data.draw(st.lists(st.sampled_from(keys), max_size=3))) if keys else set()
    session = Telling(bad, fails_all, busy, cut)
    reader = Reader(session, None, Sizes(), lambda _: True)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "get_items", lambda asked, mime: list(asked))
        told = list(reader._answers(keys, mime=True))
    assert Counter(key for key, _ in told) == Counter(keys)
    assert {key for key, answer in told if isinstance(answer, Saying)} == bad
    assert len(session.asked) <= 4 * len(keys) + 1


def test_one_large_message_at_a_time() -> None:
    """While one is on its way or waits to be taken, no other one begins."""
    channel: Channel[str] = Channel(limit=10)
    channel.begin_large("a")
    began = threading.Event()

    def other() -> None:
        channel.begin_large("b")
        began.set()

    thread = threading.Thread(target=other)
    thread.start()
    channel.put("first", 5, "a")
    channel.put("small", 5, "c")
    assert not began.wait(0.05)
    assert channel.take() == "first"
    assert began.wait(10)
    thread.join()
    assert channel.take() == "small"
    channel.stop()
    with pytest.raises(Stopped):
        channel.begin_large("d")
    with pytest.raises(Stopped):
        channel.put("x", 1, "d")


def test_large_messages_wait_for_each_other(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each large message asks for its turn while it is read, whatever its listing said of its size."""
    asked = []
    monkeypatch.setattr(reading, "LARGE", 100)
    monkeypatch.setattr(reading, "_MESSAGES", 1)
    monkeypatch.setattr(Channel, "begin_large", lambda self, who: asked.append(who))
    deliver(office, 3)
    with office.open() as source:
        fetched(source)
    assert len(set(asked)) == 3


def test_a_page_of_changes_is_a_page(office: Office) -> None:
    """A listing of many messages comes in pages, the last of which has the cursor."""
    office.server.validate = False
    deliver(office, 1_100)
    with office.open() as source:
        pages = list(source.changes([(folder_of(source, INBOX), None)]))
    assert [len(page.entries) for page in pages if isinstance(page, Changes)] == [512, 512, 76]
    assert [page.cursor is not None for page in pages if isinstance(page, Changes)] == [False, False, True]

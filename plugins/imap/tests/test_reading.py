"""``fetch``, ``headers`` and ``look``: exactly one answer for each entry, whatever the server leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count

import pytest
from attrs import evolve

from alimail_core.errors import Throttled, Transient
from alimail_core.model import BATCH_MESSAGES, Changes, Entry, Folder, Gone, Message, Unreadable
from alimail_imap.reading import COMMAND_OCTETS, IN_FLIGHT_MESSAGES, Answer
from alimail_imap.source import ImapSource
from alimail_imap.testing import CannedServer, Reply
from alimail_imap.wire import MAX_LITERAL

BOX = Folder(("Box",))
OTHER = Folder(("Other",))
EXAMINE = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n"
LISTED = b'* 1 FETCH (UID %d FLAGS () INTERNALDATE "01-Jan-2020 00:00:00 +0000" RFC822.SIZE 3)\r\n'


def body(uid: int, octets: bytes = b"abc", number: int = 1) -> bytes:
    """Write a FETCH response with octets."""
    return b"* %d FETCH (UID %d RFC822.SIZE 3 BODY[] {%d}\r\n%s)\r\n" % (number, uid, len(octets), octets)


def fetch(replies: dict[bytes, Reply], *requests: tuple[Folder, list[Entry]]) -> dict[str, Answer]:
    """Fetch; return the answer to each key, of which there is exactly one."""
    with (
        CannedServer({b"EXAMINE": EXAMINE} | replies) as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        answers = list(source.fetch(requests))
    found = {"/".join((*answer.folder, answer.key)): answer for answer in answers}
    assert len(found) == len(answers) == sum(len(entries) for _, entries in requests)
    return found


def test_messages_of_many_folders_come_with_their_folder() -> None:
    """The next folder is opened while the last is still answered, and nothing is mixed up."""
    answers = fetch(
        {b"UID FETCH 1:2": body(1) + body(2), b"UID FETCH 7": body(7, b"xyz")},
        (BOX, [Entry("1/1"), Entry("1/2")]),
        (OTHER, [Entry("1/7")]),
        (BOX, [Entry("1/7")]),
    )
    assert set(answers) == {"Box/1/1", "Box/1/2", "Other/1/7", "Box/1/7"}
    assert all(isinstance(answer, Message) for answer in answers.values())


def test_few_of_many_small_messages_are_asked_for_at_once() -> None:
    """What is known of each message that is asked for is in memory until its answer comes."""
    asked = 0

    def requests() -> Iterator[tuple[Folder, Sequence[Entry]]]:
        nonlocal asked
        for first in range(1, 10 * IN_FLIGHT_MESSAGES, BATCH_MESSAGES):
            asked += BATCH_MESSAGES
            yield BOX, [Entry(f"1/{uid}", 3) for uid in range(first, first + BATCH_MESSAGES)]

    with (
        CannedServer({b"EXAMINE": EXAMINE, b"UID FETCH 1:": body(1)}) as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        assert isinstance(next(source.fetch(requests())), Message)
    assert IN_FLIGHT_MESSAGES <= asked <= IN_FLIGHT_MESSAGES + BATCH_MESSAGES


def test_answers_in_any_order_and_unasked_ones_are_told_apart() -> None:
    """What was not asked for is passed over, what is told twice is taken once."""
    words = body(9) + body(2) + b"* 1 FETCH (FLAGS (\\Seen))\r\n" + body(1) + body(1, b"again")
    answers = fetch({b"UID FETCH 1:2 ": words}, (BOX, [Entry("1/1"), Entry("1/2")]))
    first = answers["Box/1/1"]
    assert isinstance(first, Message)
    assert first.octets == b"abc"


def test_an_entry_without_answer_is_asked_for_again_and_gone() -> None:
    """Gone only after the server has said that the key does not exist."""
    answers = fetch(
        {b"UID FETCH 1:2 (UID RFC822": body(1), b"UID FETCH 2 (UID FLAGS": b""},
        (BOX, [Entry("1/1"), Entry("1/2")]),
    )
    assert isinstance(answers["Box/1/2"], Gone)


def test_an_entry_that_exists_and_has_no_content_is_unreadable() -> None:
    """BODY[] NIL is asked for once more alone, and then told as what it is."""
    nothing = b"* 1 FETCH (UID 1 BODY[] NIL)\r\n"
    answers = fetch(
        {b"UID FETCH 1 (UID RFC822": nothing, b"UID FETCH 1 (UID FLAGS": LISTED % 1}, (BOX, [Entry("1/1")])
    )
    assert isinstance(answers["Box/1/1"], Unreadable)


@pytest.mark.parametrize("nothing", [b'""', b"{0}\r\n", b"NIL"])
def test_an_empty_body_of_a_message_with_a_size_is_no_content(nothing: bytes) -> None:
    """A server that cannot open a message and says OK all the same has no empty message carried for it."""
    says = b"* 1 FETCH (UID 1 RFC822.SIZE 3 BODY[] " + nothing + b")\r\n"
    answers = fetch({b"UID FETCH 1 (UID FLAGS": LISTED % 1, b"UID FETCH 1": says}, (BOX, [Entry("1/1", 3)]))
    assert isinstance(answers["Box/1/1"], Unreadable)


def test_a_message_that_is_empty_is_carried() -> None:
    """Its size says so too."""
    says = b'* 1 FETCH (UID 1 RFC822.SIZE 0 BODY[] "")\r\n'
    answer = fetch({b"UID FETCH 1": says}, (BOX, [Entry("1/1", 0)]))["Box/1/1"]
    assert isinstance(answer, Message)
    assert answer.octets == b""


def test_one_message_that_the_server_chokes_on_costs_no_other() -> None:
    """After a NO each message that is missing is asked for by itself."""
    no = b"{tag} NO [SERVERBUG] Internal error reading message\r\n"
    answers = fetch(
        {
            b"UID FETCH 1:3 (UID RFC822": body(1) + no,
            b"UID FETCH 2:3 (UID FLAGS": LISTED % 2 + LISTED % 3,
            b"UID FETCH 2 (UID RFC822": no,
            b"UID FETCH 3 (UID RFC822": body(3),
        },
        (BOX, [Entry("1/1"), Entry("1/2"), Entry("1/3")]),
    )
    bad = answers["Box/1/2"]
    assert isinstance(bad, Unreadable)
    assert "Internal error reading message" in bad.reason
    assert isinstance(answers["Box/1/3"], Message)


def test_a_witness_that_no_longer_holds_is_gone() -> None:
    """The UID stands for another message now: its octets are not handed out under the old key."""
    early = datetime(2019, 1, 1, tzinfo=UTC)
    date = b'* 1 FETCH (UID 2 INTERNALDATE "01-Jan-2020 00:00:00 +0000" RFC822.SIZE 3 BODY[] {3}\r\nabc)\r\n'
    answers = fetch(
        {b"UID FETCH 1:3 ": body(1) + date + body(3)},
        (BOX, [Entry("1/1", size=99), Entry("1/2", 3, early), Entry("1/3", size=3)]),
    )
    assert [type(answers[f"Box/1/{uid}"]) for uid in (1, 2, 3)] == [Gone, Gone, Message]


@pytest.mark.parametrize("key", ["2/1", "1.1/1", "nonsense", "1/x", "/1", ""])
def test_keys_that_cannot_be_here_are_gone(key: str) -> None:
    """A key of another UIDVALIDITY, or none of ours, names no message."""
    replies: dict[bytes, Reply] = {
        b"FETCH": LISTED % 1,
        b"UID FETCH": body(1),
        b"EXAMINE": EXAMINE.replace(b"3 EX", b"1 EX"),
    }
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        list(source.changes([(BOX, None)]))
        assert list(source.fetch([(BOX, [Entry(key)])])) == [Gone(BOX.path, key)]
        assert list(source.look(BOX, [key])) == []


def test_what_was_renumbered_since_it_was_listed_is_not_gone() -> None:
    """A server that gives a folder a new UIDVALIDITY whenever it opens it must not make its messages look deleted."""
    opened = count(1)

    def examine(_: bytes) -> bytes:
        return b"* 1 EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n" % next(opened)

    replies: dict[bytes, Reply] = {b"EXAMINE": examine, b"FETCH": LISTED % 1, b"UID FETCH": body(1)}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        [changes] = source.changes([(BOX, None)])
        assert isinstance(changes, Changes)
        [answer] = source.fetch([(BOX, list(changes.entries))])
    assert isinstance(answer, Unreadable)
    assert "UIDVALIDITY" in answer.reason


def test_what_was_renumbered_since_another_session_listed_it_is_not_gone() -> None:
    """What an earlier connection had listed is asked for over the next one, which has not listed it."""
    answers = fetch({b"UID FETCH": body(1)}, (BOX, [Entry("7/1"), Entry("1/1")]))
    assert [type(answers[f"Box/{key}"]) for key in ("7/1", "1/1")] == [Unreadable, Message]


def test_an_old_and_a_new_key_of_one_uid_are_answered_each() -> None:
    """After a folder was made again, a UID may be asked for under two epochs at once."""
    one = EXAMINE.replace(b"3 EXISTS", b"1 EXISTS")
    replies: dict[bytes, Reply] = {b"FETCH": LISTED % 1, b"UID FETCH": body(1), b"EXAMINE": one}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        list(source.changes([(BOX, None)]))
        answers = {answer.key: answer for answer in source.fetch([(BOX, [Entry("1.1/1"), Entry("1/1")])])}
    assert isinstance(answers["1.1/1"], Gone)
    assert isinstance(answers["1/1"], Message)


def test_a_fetch_opens_its_folder_anew() -> None:
    """What was expunged since the listing must not be handed out from an old view of the folder."""
    one = EXAMINE.replace(b"3 EXISTS", b"1 EXISTS")
    replies: dict[bytes, Reply] = {b"FETCH": LISTED % 1, b"UID FETCH": body(1), b"EXAMINE": one}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        list(source.changes([(BOX, None)]))
        assert len(list(source.fetch([(BOX, [Entry("1/1")])]))) == 1
    assert len(server.commands(b"EXAMINE")) == 2


def test_a_folder_that_cannot_be_opened_makes_its_messages_unreadable() -> None:
    """And those of the folder after it are fetched all the same."""
    no = b"{tag} NO [NOPERM] denied\r\n"
    answers = fetch(
        {b'EXAMINE "Box"': no, b'SELECT "Box"': no, b"UID FETCH": body(1)},
        (OTHER, [Entry("1/1")]),
        (BOX, [Entry("1/1"), Entry("1/2")]),
        (Folder(("Third",)), [Entry("1/1")]),
    )
    assert isinstance(answers["Box/1/1"], Unreadable)
    assert isinstance(answers["Third/1/1"], Message)
    assert isinstance(answers["Other/1/1"], Message)


def test_a_stream_that_is_closed_early_leaves_the_connection_in_step() -> None:
    """After a close the next call gets its own answers."""
    words = b"".join(body(uid) for uid in range(1, 30))
    replies: dict[bytes, Reply] = {
        b"EXAMINE": EXAMINE,
        b"UID FETCH 1:29": words,
        b"UID FETCH 5 (UID FLAGS": LISTED % 5,
    }
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        stream = source.fetch([(BOX, [Entry(f"1/{uid}") for uid in range(1, 30)])])
        assert isinstance(next(stream), Message)
        stream.close()  # type: ignore[attr-defined]
        assert [entry.key for entry in source.look(BOX, ["1/5"])] == ["1/5"]


def test_large_messages_are_asked_for_alone() -> None:
    """No command asks for more than a batch, or one larger message."""
    large = Entry("1/2", size=9_000_000)
    replies: dict[bytes, Reply] = {
        b"EXAMINE": EXAMINE,
        b"UID FETCH": lambda command: body(int(command.split()[2])),
    }
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        list(source.fetch([(BOX, [Entry("1/1", 3), large, evolve(large, key="1/3"), Entry("1/4", 3)])]))
    asked = [command.split()[2] for command in server.commands(b"UID FETCH") if b"BODY" in command]
    assert asked[:4] == [b"1", b"2", b"3", b"4"]


def test_requests_are_read_lazily() -> None:
    """A long list of requests is not read before its messages are wanted."""
    read: list[int] = []

    def requests() -> object:
        for number in range(100):
            read.append(number)
            yield BOX, [Entry("1/1")]

    replies: dict[bytes, Reply] = {b"EXAMINE": EXAMINE, b"UID FETCH": body(1)}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        stream = source.fetch(requests())  # type: ignore[arg-type]
        next(stream)
        assert len(read) < 5
        stream.close()  # type: ignore[attr-defined]


def test_headers_leave_out_what_is_gone() -> None:
    """Each header block comes with its key; the body is not asked for."""
    words = (
        b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] {14}\r\nSubject: a\r\n\r\n)\r\n"
    )
    replies: dict[bytes, Reply] = {b"EXAMINE": EXAMINE, b"UID FETCH 1:2": words}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        (headers,) = source.headers(BOX, [Entry("1/1"), Entry("1/2")])
    assert (headers.key, headers.octets) == ("1/1", b"Subject: a\r\n\r\n")
    assert all(b"BODY.PEEK[HEADER" in command for command in server.commands(b"UID FETCH"))


def test_a_giant_is_not_even_asked_for() -> None:
    """A message larger than what we take is unreadable, and costs no other message."""
    replies: dict[bytes, Reply] = {b"EXAMINE": EXAMINE, b"UID FETCH 2": body(2)}
    entries = [Entry("1/1", size=MAX_LITERAL + 1), Entry("1/2", size=3)]
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        answers = {answer.key: answer for answer in source.fetch([(BOX, entries)])}
    assert isinstance(answers["1/1"], Unreadable)
    assert isinstance(answers["1/2"], Message)
    assert not server.commands(b"UID FETCH 1")


def test_a_throttled_server_is_not_asked_for_one_message_after_another() -> None:
    """The state of the server is not the fault of a message: the pass backs off."""
    no = b"{tag} NO [THROTTLED] slow down\r\n"
    with pytest.raises(Throttled):
        fetch({b"UID FETCH": no}, (BOX, [Entry("1/1"), Entry("1/2")]))


def test_a_look_that_the_server_refuses_is_no_proof_of_absence() -> None:
    """A key counts as gone only where the server answered: a damaged message is found by its flags."""
    no = b"{tag} NO [SERVERBUG] cannot read size\r\n"
    flags = b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n"
    replies: dict[bytes, Reply] = {b"EXAMINE": EXAMINE, b"UID FETCH 1:2 (UID FLAGS INT": no}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        server.replies[b"UID FETCH 1:2 (UID FLAGS)"] = flags
        assert list(source.look(BOX, ["1/1", "1/2"])) == [Entry("1/1", flags=frozenset({"\\Seen"}))]
        server.replies[b"UID FETCH 1:2 (UID FLAGS)"] = no
        with pytest.raises(Transient):
            list(source.look(BOX, ["1/1", "1/2"]))


def test_a_look_into_a_folder_that_is_there_and_does_not_open_is_transient() -> None:
    """Only a folder that is not listed any more has no messages for sure."""
    no = b"{tag} NO not now\r\n"
    replies: dict[bytes, Reply] = {b"EXAMINE": no, b"SELECT": no}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        assert list(source.look(BOX, ["1/1"])) == []
        server.replies[b'LIST "" "Box"'] = b'* LIST () "/" Box\r\n'
        with pytest.raises(Transient):
            list(source.look(BOX, ["1/1"]))


def test_an_answer_that_comes_before_its_turn_is_taken() -> None:
    """Dovecot tells the next command's message before it has said that the one before is done."""
    size = COMMAND_OCTETS
    answer = b"* %d FETCH (UID %d BODY[] {5}\r\nearly)\r\n"
    answers = fetch(
        {b"UID FETCH 1 ": answer % (1, 1) + answer % (2, 2), b"UID FETCH 2": b""},
        (BOX, [Entry("1/1", size), Entry("1/2", size)]),
    )
    assert all(isinstance(found, Message) and found.octets == b"early" for found in answers.values())


def test_an_early_answer_is_not_taken_for_another_folders() -> None:
    """UIDs of the folder that is opened next mean nothing yet."""
    answers = fetch(
        {b"UID FETCH 1 ": body(1) + body(7, b"no"), b"UID FETCH 7": body(7, b"yes")},
        (BOX, [Entry("1/1")]),
        (OTHER, [Entry("1/7")]),
    )
    other = answers["Other/1/7"]
    assert isinstance(other, Message)
    assert other.octets == b"yes"


def test_commands_that_are_answered_side_by_side_cost_no_other_command() -> None:
    """Dovecot answers two FETCHs mixed, and ends them in whatever order: the UID tells whose an answer is."""
    size = COMMAND_OCTETS
    answer = b"* %d FETCH (UID %d BODY[] {5}\r\nmixed)\r\n"
    replies: dict[bytes, Reply] = {
        b"EXAMINE": EXAMINE,
        b"UID FETCH 1:2 ": answer % (1, 1) + b"* OK {tag} is not done yet\r\n",
        b"UID FETCH 3:4 ": b"".join(answer % (n, n) for n in (3, 2, 4))
        + b"{tag} OK done\r\n{last} OK done\r\n",
    }
    entries = [Entry(f"1/{uid}", size // 2) for uid in range(1, 5)]
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        answers = list(source.fetch([(BOX, entries)]))
    assert sorted(answer.key for answer in answers if isinstance(answer, Message)) == [
        "1/1",
        "1/2",
        "1/3",
        "1/4",
    ]
    assert len(server.commands(b"UID FETCH")) == 2


def test_a_refused_folder_is_given_nothing_of_the_one_that_stayed_open() -> None:
    """Some servers keep the old folder open when they refuse the new one: its messages are not the new one's."""
    size = COMMAND_OCTETS
    no = b"{tag} NO [NOPERM] denied\r\n"
    answers = fetch(
        {b'EXAMINE "Box"': no, b"UID FETCH": lambda command: body(int(command.split()[2]))},
        (OTHER, [Entry("1/1")]),
        (BOX, [Entry("1/2", size), Entry("1/3", size)]),
        (OTHER, [Entry("1/2")]),
    )
    found = {place: type(answer) for place, answer in answers.items()}
    assert found == {
        "Other/1/1": Message,
        "Box/1/2": Unreadable,
        "Box/1/3": Unreadable,
        "Other/1/2": Message,
    }

"""Storing messages: byte-exact, in flight, and with exactly one honest outcome each, whatever the server does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from attrs import evolve

from alimail_core.errors import Denied, InDoubt, Interrupted, OverQuota, Refused, Throttled, Transient
from alimail_core.model import Batch, Cursor, Delivery, Folder, NotStored, Stored
from alimail_imap.append import AppendStrategy, Multi, Pipelined, read_appenduid
from alimail_imap.connection import Connection
from alimail_imap.listing import Mark
from alimail_imap.sink import ImapSink
from alimail_imap.spread import AT_ONCE, Spread, choose
from alimail_imap.testing import CLOSE, CannedServer, Reply
from alimail_imap.tokens import parse_status

BOX = Folder(("Box",))
OTHER = Folder(("Other",))
RICH = b"IMAP4rev1 LITERAL+ MULTIAPPEND UIDPLUS"
PLUS = b"IMAP4rev1 LITERAL+ UIDPLUS"
POOR = b"IMAP4rev1 UIDPLUS"
ALIBABA = b"IMAP4rev1 IDLE XLIST UIDPLUS ID SASL-IR AUTH=XOAUTH AUTH=XOAUTH2 AUTH=EXTERNAL"
CLOCK = 1_700_000_000
"""A UIDVALIDITY as a clock gives it, which is trusted without a listing."""


def delivery(id: int, octets: bytes = b"", folder: Folder = BOX) -> Delivery:
    """Make a delivery; without octets it is some message of its own."""
    return Delivery(id, folder, octets or b"Subject: %d\r\n\r\nhello\r\n" % id)


def store(
    server: CannedServer, *batches: Batch, error: type[Exception] | None = None
) -> dict[int, Stored | NotStored]:
    """Append batches; return the outcome of each delivery, of which there is exactly one."""
    found: list[Stored | NotStored] = []
    with server, ImapSink.open(server.options, server.credentials) as sink:
        if error is None:
            found.extend(sink.append(batches))
        else:
            with pytest.raises(error) as caught:
                found.extend(sink.append(batches))
            assert type(caught.value) is error
    outcomes = {outcome.id: outcome for outcome in found}
    assert len(found) == len(outcomes) == sum(map(len, batches))
    return outcomes


def graded(outcome: Stored | NotStored) -> type[Exception]:
    """Return the grade of an outcome that is none of success."""
    assert isinstance(outcome, NotStored)
    return type(outcome.error)


class Uids:
    """Answers APPEND with ascending UIDs, or with other words for a message that holds a word."""

    def __init__(self, **words: bytes) -> None:
        self.next = 1
        self.words = {key.encode(): words for key, words in words.items()}

    def __call__(self, command: bytes) -> bytes:
        for word, answer in self.words.items():
            if word in command:
                return answer
        first, self.next = self.next, self.next + command.count(b"Subject:")
        last = self.next - 1
        uids = b"%d" % first if first == last else b"%d:%d" % (first, last)
        return b"{tag} OK [APPENDUID %d %s] done\r\n" % (CLOCK, uids)


@pytest.mark.parametrize(
    ("capabilities", "kind", "most"),
    [(RICH, Multi, AT_ONCE), (PLUS, Pipelined, AT_ONCE), (ALIBABA, Pipelined, None)],
)
def test_the_strategy_suits_the_server(
    capabilities: bytes, kind: type[AppendStrategy], most: int | None
) -> None:
    """MULTIAPPEND needs literals that do not wait; many connections only pay where literals wait."""
    with (
        CannedServer(capabilities=capabilities) as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        strategy = choose(sink.connection)
        assert isinstance(strategy, Spread)
        assert type(strategy.way) is kind
        assert strategy.pace.bears == most


@pytest.mark.parametrize("capabilities", [RICH, PLUS, POOR, b"IMAP4rev1 LITERAL- UIDPLUS"])
def test_octets_arrive_as_they_are(capabilities: bytes) -> None:
    """NUL, bare CR, bare LF, 8-bit and a missing last line end are sent as they are, with date and flags."""
    octets = b"Subject: \xff\xfe\n\rx\0\r\n\r\nno end" + b"y" * 5000
    when = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    message = Delivery(1, BOX, octets, frozenset({"\\Seen", "$X", "\\Recent", "bad keyword"}), when)
    server = CannedServer({b"APPEND": Uids()}, capabilities=capabilities)
    assert store(server, [message]) == {1: Stored(1, f"{CLOCK}/1")}
    (command,) = server.commands(b"APPEND")
    head, _, rest = command.partition(b"\r\n")
    assert head.startswith(b'APPEND "Box" ($X \\Seen) "03-Feb-2001 04:05:06 +0000" {%d' % len(octets))
    assert rest == octets


@pytest.mark.parametrize("capabilities", [RICH, PLUS, POOR])
def test_many_messages_of_many_folders_each_get_their_key(capabilities: bytes) -> None:
    """APPENDUID is matched to its message through every strategy."""
    batches = [[delivery(n, folder=(BOX, OTHER)[n % 2]) for n in range(k, k + 20)] for k in (0, 20, 40)]
    server = CannedServer({b"APPEND": Uids()}, capabilities=capabilities)
    outcomes = store(server, *batches)
    keys = [outcome.key for outcome in outcomes.values() if isinstance(outcome, Stored)]
    assert len(set(keys)) == 60
    assert None not in keys
    sent = b"".join(server.commands(b"APPEND"))
    assert all(sent.count(b"Subject: %d\r\n" % n) == 1 for n in range(60))


def test_a_batch_is_one_command_a_folder_where_the_server_can() -> None:
    """MULTIAPPEND makes one round trip of a batch; an empty message, which would cancel it, goes alone."""
    server = CannedServer({b"APPEND": Uids()}, capabilities=RICH)
    batch = [delivery(1), delivery(2, folder=OTHER), delivery(3), Delivery(4, BOX, b"")]
    store(server, batch)
    assert len(server.commands(b'APPEND "Box"')) == 2
    assert len(server.commands(b'APPEND "Other"')) == 1


@pytest.mark.parametrize("capabilities", [RICH, PLUS, POOR])
def test_no_key_is_told_where_a_uid_may_come_again(capabilities: bytes) -> None:
    """A UIDVALIDITY of 1 may be a constant: before the folder was listed its UIDs are no safe names."""
    server = CannedServer({b"APPEND": b"{tag} OK [APPENDUID 1 5] done\r\n"}, capabilities=capabilities)
    assert store(server, [delivery(1)]) == {1: Stored(1, None)}


def test_after_a_listing_the_keys_carry_its_epoch() -> None:
    """APPENDUID and listing name a message alike, marker included."""
    replies: dict[bytes, Reply] = {
        b"APPEND": b"{tag} OK [APPENDUID 1 5] done\r\n",
        b"SELECT": b"* 0 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT 5] ok\r\n",
    }
    cursor: Cursor = Mark(1, uidnext=9).cursor()
    with CannedServer(replies) as server, ImapSink.open(server.options, server.credentials) as sink:
        assert len(list(sink.changes([(BOX, cursor)]))) == 1
        assert list(sink.append([[delivery(1)]])) == [Stored(1, "1.1/5")]


@pytest.mark.parametrize(("more", "left"), [(b" UNSELECT", [b"UNSELECT"]), (b"", [])])
def test_no_folder_is_open_while_messages_are_stored(more: bytes, left: list[bytes]) -> None:
    """The server need not look after each command for what has come into it; and never CLOSE, which expunges."""
    replies: dict[bytes, Reply] = {
        b"APPEND": Uids(),
        b"SELECT": b"* 0 EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n" % CLOCK,
    }
    server = CannedServer(replies, capabilities=PLUS + more)
    with server, ImapSink.open(server.options, server.credentials) as sink:
        assert len(list(sink.changes([(BOX, None)]))) == 1
        assert [len(list(sink.append([[delivery(number)]]))) for number in (1, 2)] == [1, 1]
        assert len(list(sink.changes([(BOX, None)]))) == 1
    verbs = [command.split()[0] for command in server.received]
    told = [verb for verb in verbs if verb in (b"SELECT", b"UNSELECT", b"CLOSE", b"APPEND")]
    assert told == [b"SELECT", *left, b"APPEND", b"APPEND", b"SELECT"]


@pytest.mark.parametrize(
    ("told", "key"),
    [
        (b"%d 7" % CLOCK, f"{CLOCK}/7"),
        (b"%d 6" % CLOCK, None),
        (b"%d 0" % CLOCK, None),
        (b"%d 7" % (CLOCK + 1), None),
        (b"%d 99999999999999999999" % CLOCK, None),
        (b"0 7", None),
    ],
)
@pytest.mark.parametrize("capabilities", [RICH, PLUS, POOR])
def test_a_key_that_does_not_fit_the_listing_is_none(
    capabilities: bytes, told: bytes, key: str | None
) -> None:
    """A UID from before the listing, or of another UIDVALIDITY, names some other message: ours is looked for."""
    replies: dict[bytes, Reply] = {
        b"APPEND": b"{tag} OK [APPENDUID " + told + b"] done\r\n",
        b"SELECT": b"* 0 EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n* OK [UIDNEXT 7] ok\r\n" % CLOCK,
    }
    server = CannedServer(replies, capabilities=capabilities)
    with server, ImapSink.open(server.options, server.credentials) as sink:
        assert len(list(sink.changes([(BOX, None)]))) == 1
        assert list(sink.append([[delivery(1)]])) == [Stored(1, key)]


@pytest.mark.parametrize("capabilities", [PLUS, POOR, RICH])
def test_a_refused_message_costs_no_other(capabilities: bytes) -> None:
    """NO to one message is its own affair; with MULTIAPPEND it is in doubt with its command, and over."""
    server = CannedServer(
        {b"APPEND": Uids(poison=b"{tag} NO Message contains NUL characters\r\n")}, capabilities=capabilities
    )
    outcomes = store(server, [delivery(1)], [delivery(2, b"Subject: poison\r\n"), delivery(3)], [delivery(4)])
    if capabilities is RICH:
        doubted = outcomes[2]
        assert isinstance(doubted, NotStored)
        assert isinstance(doubted.error, InDoubt)
        assert doubted.error.over
        assert graded(outcomes[3]) is InDoubt
    else:
        assert graded(outcomes[2]) is Refused
        assert isinstance(outcomes[3], Stored)
    assert isinstance(outcomes[1], Stored)
    assert isinstance(outcomes[4], Stored)


def test_after_a_refused_multiappend_its_messages_travel_alone() -> None:
    """Offered again, each gets the server's own words."""
    server = CannedServer({b"APPEND": Uids(poison=b"{tag} NO bare newline\r\n")}, capabilities=RICH)
    batch = [delivery(1), delivery(2, b"Subject: poison\r\n"), delivery(3)]
    with server, ImapSink.open(server.options, server.credentials) as sink:
        assert {graded(outcome) for outcome in sink.append([batch])} == {InDoubt}
        again = {outcome.id: outcome for outcome in sink.append([batch])}
    assert graded(again[2]) is Refused
    assert isinstance(again[1], Stored)
    assert isinstance(again[3], Stored)


def test_a_refused_literal_is_never_sent() -> None:
    """NO instead of the go-ahead refuses the message before one octet of it left."""
    server = CannedServer(
        {b"APPEND": Uids()},
        capabilities=POOR,
        literals={b'APPEND "Other"': b"{tag} NO [TOOBIG] too large\r\n"},
    )
    outcomes = store(server, [delivery(1), delivery(2, folder=OTHER), delivery(3)])
    assert graded(outcomes[2]) is Refused
    assert isinstance(outcomes[3], Stored)
    assert b"Subject: 2" not in b"".join(server.received)


@pytest.mark.parametrize("capabilities", [PLUS, POOR])
def test_the_next_command_is_with_the_server_before_the_answer(capabilities: bytes) -> None:
    """A message costs one round trip: the server has the next command while it has not answered the last."""
    server = CannedServer({b"APPEND": Uids()}, capabilities=capabilities, late=4)
    outcomes = store(server, *[[delivery(number)] for number in range(5)])
    assert {type(outcome) for outcome in outcomes.values()} == {Stored}


def test_turn_by_turn_waits_for_each_answer() -> None:
    """A server that cannot take commands in flight is asked one at a time."""
    server = CannedServer({b"APPEND": Uids()}, capabilities=PLUS, late=1)
    options = evolve(server.options, timeout=1.5)
    with server, ImapSink.open(options, server.credentials, choose=lambda _: Pipelined(messages=1)) as sink:
        stream = sink.append([[delivery(1)], [delivery(2)]])
        assert graded(next(stream)) is InDoubt


@pytest.mark.parametrize("capabilities", [RICH, PLUS, POOR])
def test_a_full_mailbox_ends_the_account_and_not_the_message(capabilities: bytes) -> None:
    """Everything that was taken is answered first, and nothing is refused for it."""
    server = CannedServer(
        {b"APPEND": Uids(full=b"{tag} NO [OVERQUOTA] Quota exceeded\r\n")}, capabilities=capabilities
    )
    batch = [delivery(1), delivery(2, b"Subject: full\r\n", OTHER), delivery(3, folder=Folder(("Third",)))]
    outcomes = store(server, batch, error=OverQuota)
    assert isinstance(outcomes[1], Stored)
    assert graded(outcomes[2]) is Transient


def test_a_throttled_server_is_left_alone() -> None:
    """The sink answers what it took and hands the wish for a slower pace on."""
    server = CannedServer({b"APPEND": b"{tag} NO [THROTTLED] slow down, 30 seconds\r\n"}, capabilities=POOR)
    outcomes = store(server, [delivery(1), delivery(2)], error=Throttled)
    assert {graded(outcome) for outcome in outcomes.values()} == {Throttled}


@pytest.mark.parametrize("capabilities", [RICH, PLUS, POOR])
def test_a_lost_answer_is_in_doubt(capabilities: bytes) -> None:
    """What was sent and not answered is in doubt; what was never begun may be sent again."""
    server = CannedServer({b"APPEND": Uids(lost=CLOSE)}, capabilities=capabilities)
    outcomes = store(server, [delivery(1)], [delivery(2, b"Subject: lost\r\n")], error=Transient)
    assert isinstance(outcomes[1], Stored)
    assert graded(outcomes[2]) is InDoubt


def test_a_connection_lost_before_the_go_ahead_leaves_no_doubt() -> None:
    """Of a message whose literal the server never asked for, nothing was sent."""
    server = CannedServer({b"APPEND": Uids()}, capabilities=POOR, literals={b'APPEND "Other"': CLOSE})
    outcomes = store(server, [delivery(1), delivery(2, folder=OTHER), delivery(3)], error=Transient)
    assert graded(outcomes[2]) is Transient
    assert graded(outcomes[3]) is Transient


def test_an_ok_instead_of_a_go_ahead_is_no_success() -> None:
    """A server that says OK to a message that it never asked for did not store it."""
    server = CannedServer({}, capabilities=POOR, literals={b"APPEND": b"{tag} OK [APPENDUID 1 1] done\r\n"})
    (outcome,) = store(server, [delivery(1)], error=Transient).values()
    assert isinstance(outcome, NotStored)
    assert type(outcome.error) is Transient
    assert "before it had the message" in outcome.error.message


def test_a_bye_in_answer_to_a_message_is_in_doubt_with_its_words() -> None:
    """Gmail closes the connection at a message that it does not like; its words are kept."""
    server = CannedServer({b"APPEND": b"* BYE Invalid character in literal\r\n" + CLOSE}, capabilities=POOR)
    (outcome,) = store(server, [delivery(1)], error=Transient).values()
    assert isinstance(outcome, NotStored)
    assert isinstance(outcome.error, InDoubt)
    assert "Invalid character in literal" in outcome.error.message


@pytest.mark.parametrize("code", [b"TRYCREATE", b"NONEXISTENT"])
@pytest.mark.parametrize("capabilities", [RICH, PLUS, POOR])
def test_a_folder_that_is_not_there_refuses_its_messages_alone(capabilities: bytes, code: bytes) -> None:
    """Certainly nothing was stored, of many messages as well, so there is no doubt; and it is no message's fault."""
    server = CannedServer(
        {b"APPEND": Uids(), b'APPEND "Other"': b"{tag} NO [%s] no such mailbox\r\n" % code},
        capabilities=capabilities,
    )
    outcomes = store(server, [delivery(1), delivery(2, folder=OTHER), delivery(3, folder=OTHER), delivery(4)])
    refused = [one.error for one in (outcomes[2], outcomes[3]) if isinstance(one, NotStored)]
    assert [(type(error), getattr(error, "about", "")) for error in refused] == [(Refused, "folder")] * 2
    assert [type(outcomes[id]) for id in (1, 4)] == [Stored, Stored]
    assert not server.commands(b"CREATE")


def test_a_batch_that_cannot_be_had_leaves_no_one_unanswered() -> None:
    """When the engine stops between two batches, what was taken is answered before its error goes on."""

    def batches() -> Iterator[Batch]:
        yield [delivery(1), delivery(2)]
        raise Interrupted("asked to stop")

    with (
        CannedServer({b"APPEND": Uids()}) as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        stream = sink.append(batches())
        assert isinstance(next(stream), Stored)
        assert isinstance(next(stream), Stored)
        with pytest.raises(Interrupted):
            next(stream)


def test_a_dead_connection_refuses_without_doubt() -> None:
    """A sink whose connection is gone before anything was sent says so, and the message may be sent again."""
    with (
        CannedServer({b"APPEND": CLOSE}) as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        with pytest.raises(Transient):
            list(sink.append([[delivery(1)]]))
        found: list[Stored | NotStored] = []
        with pytest.raises(Transient):
            found.extend(sink.append([[delivery(2)]]))


@pytest.mark.parametrize(
    ("words", "messages", "expected"),
    [
        (b"OK [APPENDUID 38505 3955] ok", 1, (38505, [3955])),
        (b"OK [APPENDUID 38505 3955:3957] ok", 3, (38505, [3955, 3956, 3957])),
        (b"OK [APPENDUID 38505 7,3,9] ok", 3, (38505, [7, 3, 9])),
        (b"OK [APPENDUID 38505 3955:3957] ok", 2, (38505, [None, None])),
        (b"OK [APPENDUID 1 1:4294967295] ok", 2, (1, [None, None])),
        (b"OK [APPENDUID x 1] ok", 1, (0, [None])),
        (b"OK [APPENDUID 1 *] ok", 1, (0, [None])),
        (b"OK [APPENDUID] ok", 1, (0, [None])),
        (b"OK ok", 2, (0, [None, None])),
    ],
)
def test_appenduid_is_read_or_left(
    words: bytes, messages: int, expected: tuple[int, list[int | None]]
) -> None:
    """An APPENDUID that does not fit what was sent tells nothing."""
    status = parse_status(words)
    assert status is not None
    assert read_appenduid(status, messages) == expected


def test_a_strategy_of_ones_own_is_used() -> None:
    """Another plug-in may send messages in its own way."""

    class Never:
        def append(self, link: object, batches: object) -> Iterator[Stored | NotStored]:
            raise Denied("not today")

    def mine(connection: Connection) -> AppendStrategy:
        return Never()

    with (
        CannedServer() as server,
        ImapSink.open(server.options, server.credentials, choose=mine) as sink,
        pytest.raises(Denied, match="not today"),
    ):
        sink.append([])


@pytest.mark.parametrize("capabilities", [RICH, POOR])
def test_an_empty_batch_is_nothing(capabilities: bytes) -> None:
    """It is taken and has no outcomes; the batches after it are stored."""
    outcomes = store(CannedServer({b"APPEND": Uids()}, capabilities=capabilities), [], [delivery(1)], [])
    assert set(outcomes) == {1}


def test_a_keyword_that_the_folder_cannot_store_costs_no_message() -> None:
    """After a listing without ``\\*`` only what can be stored is sent along."""
    flags = b"* OK [PERMANENTFLAGS (\\Seen \\Flagged)] five\r\n"
    replies: dict[bytes, Reply] = {
        b"APPEND": Uids(),
        b"SELECT": b"* 0 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n" + flags,
    }
    wished = Delivery(1, BOX, b"Subject: a\r\n", frozenset({"\\Seen", "$Forwarded"}))
    with CannedServer(replies) as server, ImapSink.open(server.options, server.credentials) as sink:
        assert len(list(sink.changes([(BOX, None)]))) == 1
        assert len(list(sink.append([[wished]]))) == 1
    assert server.commands(b"APPEND")[0].startswith(b'APPEND "Box" (\\Seen) {')

"""By which keys messages are known, and which sizes are believed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alimail_core import AlimailError, Denied, Transient
from alimail_core.testing.mail import message
from alimail_pop3.login import connect
from alimail_pop3.maildrop import Maildrop, read_maildrop
from alimail_pop3.testing import CannedServer, Reply

MAILS = [message(f"No. {n}", message_id=f"{n}@example.org") for n in range(4)]
UNKNOWN = b"-ERR unknown command\r\n"


def drop(server: CannedServer) -> Maildrop:
    """List a server's maildrop in a session of its own."""
    connection = connect(server.options, server.credentials)
    try:
        return read_maildrop(connection)
    finally:
        connection.close()


def test_unique_identifiers_are_keys() -> None:
    """Each message is known by what UIDL tells, and its size as LIST does."""
    with CannedServer(MAILS) as server:
        found = drop(server)
    assert found.numbers == {f"uidl/id{n}": n + 1 for n in range(4)}
    assert [found.size(key) for key in found.numbers] == [len(mail) for mail in MAILS]


@pytest.mark.parametrize(
    "reply",
    [UNKNOWN, b"+OK\r\n.\r\n", b"+OK\r\n1 x\r\n2 x\r\n3 x\r\n4 x\r\n.\r\n", b"+OK\r\n1\r\n2\r\n.\r\n"],
)
def test_without_identifiers_headers_are_keys(reply: bytes) -> None:
    """Where UIDL is missing, empty or the same for all, a message is known by its header, wherever it stands."""
    with CannedServer(MAILS, {b"UIDL": reply}) as server:
        before = drop(server)
        server.messages = MAILS[::-1]
        after = drop(server)
    assert len(before.numbers) == 4
    assert all(key.startswith("header/") for key in before.numbers)
    assert {key: 5 - number for key, number in before.numbers.items()} == after.numbers


def test_only_what_has_no_identifier_of_its_own_is_known_by_its_header() -> None:
    """Two messages that share one are told apart by their headers; the others keep theirs."""
    with CannedServer(MAILS, uidls=[b"a", b"b", b"a"]) as server:
        found = drop(server)
    assert [key.partition("/")[0] for key in found.numbers] == ["uidl", "header", "header", "header"]
    assert sorted(found.numbers.values()) == [1, 2, 3, 4]
    assert len(server.commands(b"TOP")) == 3 + 3  # headers, and the sizes that are tried


def test_equal_headers_are_counted() -> None:
    """Copies that share everything have a key each, all the same."""
    with CannedServer([MAILS[0]] * 3, {b"UIDL": UNKNOWN}) as server:
        keys = sorted(drop(server).numbers)
    assert [key[-2:] for key in keys] == ["/1", "/2", "/3"]


@pytest.mark.parametrize("capabilities", [None, [b"USER", b"UIDL"]])
def test_without_top_whole_messages_are_read(capabilities: Sequence[bytes] | None) -> None:
    """A server without TOP, told or not, gives its headers with RETR."""
    with CannedServer(MAILS, {b"UIDL": UNKNOWN}) as server:
        wanted = drop(server).numbers
    with CannedServer(MAILS, {b"UIDL": UNKNOWN, b"TOP": UNKNOWN}, capabilities=capabilities) as server:
        found = drop(server)
    assert found.numbers == wanted
    assert not found.exact
    assert len(server.commands(b"RETR")) == 4
    assert len(server.commands(b"TOP")) == (4 if capabilities is None else 0)


def test_a_message_that_cannot_be_read_has_a_key_all_the_same() -> None:
    """What a server has and does not give is to be told of, not passed over."""
    broken = b"-ERR cannot open message\r\n"
    with CannedServer(MAILS, {b"UIDL": UNKNOWN, b"TOP 2": broken, b"RETR 2": broken}) as server:
        found = drop(server)
    assert found.numbers["header/unreadable/1"] == 2
    assert len(found.numbers) == 4


@pytest.mark.parametrize(
    ("sizes", "exact"),
    [
        ([len(mail) for mail in MAILS], True),
        ([mail.count(b"\n") * -1 + len(mail) for mail in MAILS], False),
        ([len(mail) + 1 for mail in MAILS], False),
        ([0, 0, 0, 0], False),
        ([2**40] * 4, False),
    ],
)
def test_sizes_are_tried_before_they_are_believed(sizes: list[int], exact: bool) -> None:
    """Many servers list what a message has on their disk; a size that is wrong is no witness and is not told."""
    with CannedServer(MAILS, sizes=sizes) as server:
        found = drop(server)
    assert found.exact is exact
    assert [found.entry(key).size for key in found.numbers] == (sizes if exact else [None] * 4)
    assert not server.commands(b"RETR")  # which could count as having read it


@pytest.mark.parametrize("number", [b"x", b"-1", b"0", b"99999999999999999999", b"?", b"\xd9\xa3"])
@pytest.mark.parametrize("command", [b"LIST", b"UIDL"])
def test_a_list_that_cannot_be_read_is_not_guessed_at(command: bytes, number: bytes) -> None:
    """To pass over a line would be to pass over a message. What the server said is told, and that it must mend it."""
    replies: dict[bytes, Reply] = {command: b"+OK\r\n1 5\r\n" + number + b" 5\r\n.\r\n"}
    with CannedServer(MAILS, replies) as server, pytest.raises(Denied, match="cannot be read") as error:
        drop(server)
    assert server.commands(command) == [command] * 2
    assert f"to {command.decode()} it says '" in str(error.value)
    assert "IMAP" in error.value.remedy


@pytest.mark.parametrize("spoilt", [b"+OK\r\n1 5\r\n\0\xff\r\n.\r\n", b"-ERR not now\r\n"])
@pytest.mark.parametrize("command", [b"LIST", b"UIDL"])
def test_a_list_that_is_spoilt_once_is_asked_for_again(command: bytes, spoilt: bytes) -> None:
    """Something on the way may do that; and whoever announces UIDL has it, so that no other keys are made."""
    with CannedServer(MAILS) as server:
        wanted = drop(server).numbers
        told = iter([spoilt, server._answer(command)])
        server.replies[command] = lambda _: next(told)
        assert drop(server).numbers == wanted


def test_a_size_that_is_none_costs_no_message() -> None:
    """What stands where a size is due is not told."""
    with CannedServer(
        MAILS, {b"LIST": b"+OK\r\n1 many\r\n2\r\n3 99999999999999999999\r\n4 7\r\n.\r\n"}
    ) as server:
        found = drop(server)
    assert len(found.numbers) == 4
    assert not found.exact


def test_an_empty_maildrop_may_be_refused() -> None:
    """Some servers say no to the list of nothing."""
    with CannedServer([], {b"LIST": b"-ERR no messages\r\n"}) as server:
        assert not drop(server).numbers


@pytest.mark.parametrize(
    ("reply", "kind"), [(b"-ERR [SYS/PERM] broken\r\n", Denied), (b"-ERR what?\r\n", Transient)]
)
def test_a_refused_list_is_graded(reply: bytes, kind: type[AlimailError]) -> None:
    """Without a list nothing can be said of any message."""
    with CannedServer(MAILS, {b"LIST": reply}) as server, pytest.raises(kind) as error:
        drop(server)
    assert "asks to try later" not in error.value.remedy  # it did not


def test_a_passing_refusal_of_identifiers_is_no_lack_of_them() -> None:
    """Else every message would look new for one pass."""
    with CannedServer(MAILS, {b"UIDL": b"-ERR [SYS/TEMP] later\r\n"}) as server, pytest.raises(Transient):
        drop(server)


@pytest.mark.parametrize("stat", [b"-ERR\r\n", b"+OK\r\n", b"+OK x y\r\n", b"+OK 99999999999999999999 1\r\n"])
def test_a_count_that_makes_no_sense_is_none(stat: bytes) -> None:
    """STAT is a hint and nothing more."""
    with CannedServer(MAILS, {b"STAT": stat}) as server:
        connection = connect(server.options, server.credentials)
        assert len(read_maildrop(connection).numbers) == 4
        connection.close()

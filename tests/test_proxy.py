"""The proxies pass octets untouched, break the way where told, and look like Alibaba Mail where asked."""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Self

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.testing.alibaba import CAPABILITIES, AlibabaServer
from alimail_core.testing.faultproxy import FaultProxy, Moment, WireFault
from alimail_core.testing.fixtures import StartAlibaba
from alimail_core.testing.oracle import digests
from alimail_core.testing.proxy import DelayProxy
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.streams import Line, Part, Stream

LETTER = b"Subject: hello\r\n\r\nWorld\r\n"


@frozen
class Talk:
    """A client that says what it is told, and hears every line as it comes."""

    connection: socket.socket
    reader: socket.SocketIO

    @classmethod
    @contextmanager
    def to(cls, port: int) -> Iterator[Talk]:
        with (
            socket.create_connection(("127.0.0.1", port), 30) as connection,
            connection.makefile("rb") as reader,
        ):
            yield cls(connection, reader)  # type: ignore[arg-type]

    def say(self, *octets: bytes) -> Self:
        self.connection.sendall(b"".join(octets))
        return self

    def hear(self) -> bytes:
        return self.reader.readline()

    def ask(self, command: str) -> list[str]:
        """Send one command under the tag ``t``; return the lines of its answer, the tagged one last."""
        self.say(b"t ", command.encode(), b"\r\n")
        lines: list[str] = []
        while not lines or not lines[-1].startswith("t "):
            line = self.hear().decode()
            assert line, lines
            lines.append(line.rstrip("\r\n"))
        return lines

    def log_in(self, user: str, password: str) -> Self:
        self.hear()
        assert self.ask(f"LOGIN {user} {password}")[-1].startswith("t OK")
        return self


def held(server: Dovecot | AlibabaServer, user: str) -> Counter[str]:
    return digests(server.snapshot(user)).get(("INBOX",), Counter())


def digest(octets: bytes) -> str:
    return sha256(octets).hexdigest()


# -- the stream, without input or output


@given(st.data(), st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_a_stream_is_cut_the_same_wherever_its_octets_were_split(
    data: st.DataObject, literals: list[bytes]
) -> None:
    """Lines and literals do not depend on how the octets came."""
    command = b"a APPEND x" + b"".join(b" {%d+}\r\n%s" % (len(each), each) for each in literals) + b"\r\n"
    stream = Stream(client=True)
    lines: list[Line] = []
    parts, at = b"", 0
    while at < len(command):
        end = data.draw(st.integers(at + 1, len(command)))
        for item in stream.feed(command[at:end]):
            if isinstance(item, Line):
                lines.append(item)
            else:
                parts += item.octets
        at = end
    assert parts == b"".join(literals)
    assert [line.first for line in lines] == [True] + [False] * len(literals)
    assert [line.literal for line in lines] == [*map(len, literals), None]


def test_a_refused_literal_is_followed_by_another_command() -> None:
    """What follows an announcement without ``+`` is a command; after ``+`` it is the literal."""
    stream = Stream(client=True)
    (first,) = stream.feed(b"a APPEND x {4}\r\n")
    (second,) = stream.feed(b"b NOOP\r\n")
    assert isinstance(first, Line)
    assert isinstance(second, Line)
    assert (first.synchronising, second.first) == (True, True)
    (_,) = stream.feed(b"c APPEND x {4}\r\n")
    stream.grant()
    assert [type(item) for item in stream.feed(b"b NO\r\n")] == [Part, Line]


# -- the way


@pytest.mark.server
def test_overlapped_literals_and_large_ones_pass_untouched(source_server: Dovecot) -> None:
    """Two synchronising APPENDs in progress and a message of 40 MB arrive octet by octet, also with a delay."""
    big = LETTER + b"0123456789abcdef\r\n" * (40 * 2**20 // 18)
    user = source_server.new_user()
    with (
        DelayProxy((source_server.host, source_server.imap_port), round_trip=0.002) as proxy,
        Talk.to(proxy.port) as talk,
    ):
        talk.log_in(user, source_server.password)
        talk.say(b"a APPEND INBOX {%d}\r\n" % len(LETTER))
        assert talk.hear().startswith(b"+")
        talk.say(LETTER, b"\r\nb APPEND INBOX {%d}\r\n" % len(big))
        assert talk.hear().startswith(b"a OK")
        assert talk.hear().startswith(b"+")
        talk.say(big, b"\r\n")
        assert talk.hear().startswith(b"b OK")
        talk.ask("SELECT INBOX")
        talk.say(b"c FETCH 2 BODY.PEEK[]\r\n")
        assert talk.hear().endswith(b"{%d}\r\n" % len(big))
        assert talk.reader.read(len(big)) == big
    assert held(source_server, user) == Counter([digest(LETTER), digest(big)])


@pytest.mark.server
def test_an_append_is_finished_after_its_connection_died(source_server: Dovecot) -> None:
    """The server stores the message whose client was cut off, at once or when it is released."""
    user = source_server.new_user()
    with FaultProxy((source_server.host, source_server.imap_port)) as proxy:
        for fault, meanwhile, finally_held in ((WireFault.LOST, 2, 2), (WireFault.LATE, 3, 4)):
            with Talk.to(proxy.port) as talk:
                talk.log_in(user, source_server.password)
                proxy.strike(fault, Moment.APPEND_AFTER, 2)
                for tag, answer in ((b"a", b"a OK"), (b"b", b"")):
                    talk.say(tag, b" APPEND INBOX {%d+}\r\n" % len(LETTER), LETTER, b"\r\n")
                    assert talk.hear()[:4] == answer
            if fault is WireFault.LOST:
                assert proxy.release() == 1
            assert held(source_server, user).total() == meanwhile
            proxy.release()
            assert held(source_server, user).total() == finally_held


@pytest.mark.server
@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_way_is_cut_after_exactly_so_many_octets(source_server: Dovecot, direction: str) -> None:
    """A direction passes what it was told to pass, and then the connection is gone."""
    user = source_server.new_user()
    with DelayProxy((source_server.host, source_server.imap_port)) as proxy, Talk.to(proxy.port) as talk:
        talk.log_in(user, source_server.password)
        if direction == "down":
            proxy.cut_after(5, "down")
            talk.say(b"t NOOP\r\n")
            assert talk.reader.read(100) == b"t OK "
        else:
            proxy.cut_after(len(b"a NOOP\r\nb"), "up")
            talk.say(b"a NOOP\r\nb NOOP\r\n")
            assert talk.hear()[:4] in (b"a OK", b"")
            assert talk.hear() == b""
        with Talk.to(proxy.port) as again:
            again.log_in(user, source_server.password)


@pytest.mark.server
def test_connections_are_refused_dropped_and_stalled(source_server: Dovecot) -> None:
    """One client too many hears BYE; a stalled one hears nothing until the way is free; a dropped one is gone."""
    upstream = (source_server.host, source_server.imap_port)
    with DelayProxy(upstream, max_connections=1) as proxy, Talk.to(proxy.port) as talk:
        talk.log_in(source_server.new_user(), source_server.password)
        with Talk.to(proxy.port) as second:
            assert second.hear() == b"* BYE Too many connections\r\n"
        proxy.stall()
        talk.say(b"a NOOP\r\n")
        talk.connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            talk.connection.recv(1)
        talk.connection.settimeout(30)
        proxy.resume()
        assert talk.connection.recv(100).startswith(b"a OK")
        proxy.drop_all()
        assert talk.connection.recv(100) == b""
        assert proxy.accepted == 1


# -- the Alibaba profile


@pytest.fixture
def user(alibaba_server: AlibabaServer) -> str:
    """A mailbox that nobody has used."""
    return alibaba_server.new_user()


@pytest.fixture
def talk(alibaba_server: AlibabaServer, user: str) -> Iterator[Talk]:
    """A client that is logged in."""
    with Talk.to(alibaba_server.imap_port) as talk:
        yield talk.log_in(user, alibaba_server.password)


@pytest.mark.server
def test_greeting_and_capabilities_are_as_poor_as_known(alibaba_server: AlibabaServer) -> None:
    """The greeting tells no capabilities, and the list is the same before and after login."""
    with Talk.to(alibaba_server.imap_port) as talk:
        assert re.fullmatch(rb"\* OK AliYun IMAP Server Ready\(10[.0-9]+\)\r\n", talk.hear())
        before = talk.ask("CAPABILITY")
        assert before[0] == "* CAPABILITY " + CAPABILITIES.decode()
        assert "[" not in talk.ask(f"LOGIN {alibaba_server.new_user()} {alibaba_server.password}")[-1]
        assert talk.ask("CAPABILITY")[0] == before[0]


@pytest.mark.server
@pytest.mark.parametrize(
    "command",
    [
        "NAMESPACE",
        "ENABLE UTF8=ACCEPT",
        "UNSELECT",
        "MOVE 1 INBOX",
        "UID MOVE 1 INBOX",
        "GETQUOTAROOT INBOX",
        "STARTTLS",
        "EXAMINE INBOX",
        "SELECT INBOX (CONDSTORE)",
        'LIST (SPECIAL-USE) "" "*"',
        'LIST "" "*" RETURN (SPECIAL-USE)',
        "STATUS INBOX (HIGHESTMODSEQ)",
        "UID SEARCH RETURN (ALL) ALL",
        "UID FETCH 1 (FLAGS) (CHANGEDSINCE 1)",
        "UID STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)",
        "UID FETCH 1 BINARY.PEEK[]",
        "NOTIFY NONE",
    ],
)
def test_what_is_not_announced_is_refused(talk: Talk, command: str) -> None:
    """Every extension is answered BAD, also where the Dovecot behind has it."""
    talk.ask("SELECT INBOX")
    assert talk.ask(command)[-1].startswith("t BAD")


@pytest.mark.server
def test_the_headers_of_a_message_may_be_called_what_an_extension_is(talk: Talk) -> None:
    """A header field's name is not taken for an extension."""
    talk.ask("SELECT INBOX")
    assert talk.ask("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (X-BINARY PREVIEW)])")[-1].startswith("t OK")


@pytest.mark.server
def test_only_login_opens_the_door(alibaba_server: AlibabaServer, user: str) -> None:
    """AUTHENTICATE is refused; a wrong password says nothing about its cause; literals are taken."""
    with Talk.to(alibaba_server.imap_port) as talk:
        talk.hear()
        assert talk.ask("AUTHENTICATE PLAIN AGEAYg==")[-1].startswith("t NO")
        assert talk.ask(f"LOGIN {user} wrong")[-1] == "t NO LOGIN failed"
        talk.say(b"a LOGIN {%d}\r\n" % len(user))
        assert talk.hear().startswith(b"+")
        talk.say(user.encode(), b" {%d}\r\n" % len(alibaba_server.password))
        assert talk.hear().startswith(b"+")
        talk.say(alibaba_server.password.encode(), b"\r\n")
        assert talk.hear().startswith(b"a OK")


@pytest.mark.server
def test_literals_without_waiting_are_refused(alibaba_server: AlibabaServer, talk: Talk, user: str) -> None:
    """LITERAL+ ends the connection, and nothing is stored."""
    talk.say(b"a APPEND INBOX {%d+}\r\n" % len(LETTER), LETTER, b"\r\n")
    assert talk.hear().startswith(b"a BAD")
    assert talk.hear().startswith(b"* BYE")
    assert held(alibaba_server, user) == Counter()


@pytest.mark.server
def test_several_messages_in_one_append_are_refused(
    alibaba_server: AlibabaServer, talk: Talk, user: str
) -> None:
    """MULTIAPPEND is answered BAD, nothing of it is stored, and the connection goes on."""
    talk.say(b"a APPEND INBOX {%d}\r\n" % len(LETTER))
    assert talk.hear().startswith(b"+")
    talk.say(LETTER, b" {%d}\r\n" % len(LETTER))
    assert talk.hear().startswith(b"a BAD")
    assert talk.ask("NOOP")[-1].startswith("t OK")
    assert held(alibaba_server, user) == Counter()


@pytest.mark.server
def test_special_folders_are_listed_in_chinese_with_their_attributes(talk: Talk) -> None:
    """LIST and XLIST tell them unasked, with / as delimiter and no word on children."""
    expected = {
        '* LIST () "/" INBOX',
        '* LIST (\\Sent) "/" &XfJT0ZAB-',
        '* LIST (\\Drafts) "/" &g0l6Pw-',
        '* LIST (\\Junk) "/" &V4NXPpCuTvY-',
        '* LIST (\\Trash) "/" &XfJSIJZkkK5O9g-',
    }
    assert set(talk.ask('LIST "" "*"')[:-1]) == expected
    assert any("\\Trash" in line for line in talk.ask('XLIST "" "*"'))


@pytest.mark.server
def test_a_selected_folder_looks_like_theirs(talk: Talk) -> None:
    """Five flags without ``\\*``, UNSEEN 0, UIDVALIDITY 1, and nothing that an extension would add."""
    answer = talk.ask("SELECT INBOX")
    assert "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)" in answer
    codes = [match[0] for line in answer if (match := re.search(r"\[.*\]", line))]
    flags = "[PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)]"
    assert sorted(codes) == sorted([flags, "[UIDVALIDITY 1]", "[UIDNEXT 1]", "[UNSEEN 0]", "[READ-WRITE]"])
    assert talk.ask("STATUS INBOX (UIDVALIDITY UIDNEXT)")[0] == "* STATUS INBOX (UIDNEXT 1 UIDVALIDITY 1)"


@pytest.mark.server
def test_overlapped_appends_are_answered_in_order_with_their_uids(
    alibaba_server: AlibabaServer, talk: Talk, user: str
) -> None:
    """APPENDUID comes under UIDVALIDITY 1; a command that follows APPENDs is answered after them."""
    talk.say(b"a APPEND INBOX {%d}\r\n" % len(LETTER))
    assert talk.hear().startswith(b"+")
    talk.say(LETTER, b"\r\nb APPEND INBOX (\\Seen) {1}\r\n")
    assert talk.hear().startswith(b"a OK [APPENDUID 1 1]")
    assert talk.hear().startswith(b"+")
    talk.say(b"x\r\nc APPEND {5}\r\n")
    assert talk.hear().startswith(b"b ")
    assert talk.hear().startswith(b"+")
    talk.say(b"INBOX (\\Draft) {%d}\r\n" % len(LETTER))
    assert talk.hear().startswith(b"+")
    talk.say(LETTER, b"\r\nd EXAMINE INBOX\r\ne NOOP\r\n")
    assert [talk.hear()[:4] for _ in range(3)] == [b"c OK", b"d BA", b"e OK"]
    assert held(alibaba_server, user)[digest(LETTER)] == 2


@pytest.mark.server
def test_keywords_are_dropped_and_the_message_is_kept(
    alibaba_server: AlibabaServer, talk: Talk, user: str
) -> None:
    """APPEND and STORE keep the five flags alone."""
    talk.say(b'a APPEND INBOX (\\Seen $Forwarded) "01-Feb-2003 04:05:06 +0000" {%d}\r\n' % len(LETTER))
    talk.hear()
    talk.say(LETTER, b"\r\n")
    assert talk.hear().startswith(b"a OK")
    talk.ask("SELECT INBOX")
    assert talk.ask("UID STORE 1 +FLAGS (\\Flagged $Work)")[-1].startswith("t OK")
    assert talk.ask("UID STORE 1 +FLAGS.SILENT $Work")[-1].startswith("t OK")
    (kept,) = alibaba_server.snapshot(user)[("INBOX",)]
    assert kept.flags == {"\\Seen", "\\Flagged"}
    assert kept.internal_date.year == 2003


@pytest.mark.server
def test_a_folder_made_anew_begins_its_uids_anew_under_the_same_uidvalidity(talk: Talk) -> None:
    """Deleted and made again, a folder gives UID 1 of UIDVALIDITY 1 a second time."""
    for _ in range(2):
        talk.ask("CREATE Box")
        talk.say(b"a APPEND Box {%d}\r\n" % len(LETTER))
        talk.hear()
        talk.say(LETTER, b"\r\n")
        assert talk.hear().startswith(b"a OK [APPENDUID 1 1]")
        talk.ask("DELETE Box")


@pytest.mark.server
@pytest.mark.parametrize("name", ["a+b", '"a*b"', '"a\\\\b"', "&ACsA4A-"])
def test_names_that_trip_it_are_refused(talk: Talk, name: str) -> None:
    """Plus, asterisk and backslash are refused as they stand and as modified UTF-7, in a literal as well."""
    assert talk.ask(f"CREATE {name}")[-1].startswith("t NO")
    talk.say(b"a CREATE {3}\r\n")
    assert talk.hear().startswith(b"+")
    talk.say(b"x+y\r\n")
    assert talk.hear().startswith(b"a NO")
    assert talk.ask("CREATE &XfJT0ZAB-/&+,s-")[-1].startswith("t OK")


@pytest.mark.server
def test_it_speaks_tls_and_what_was_delivered_is_there(alibaba_server: AlibabaServer, user: str) -> None:
    """The helpers of Dovecot work behind the profile, over implicit TLS and with imaplib."""
    alibaba_server.deliver(user, ("Büro", "x" * 200), LETTER)
    context = ssl.create_default_context(cafile=alibaba_server.ca_file)
    with imaplib.IMAP4_SSL("localhost", alibaba_server.imaps_port, ssl_context=context) as imap:
        imap.login(user, alibaba_server.password)
        assert imap.select(f'"B&APw-ro/{"x" * 200}"') == ("OK", [b"1"])
        _, (found, *_) = imap.fetch("1", "(BODY.PEEK[])")
        assert isinstance(found, tuple)
        assert found[1] == LETTER
    assert digests(alibaba_server.snapshot(user)) == {("Büro", "x" * 200): Counter([digest(LETTER)])}


@pytest.mark.server
def test_connections_are_limited(alibaba: StartAlibaba) -> None:
    """The profile takes as many connections as it was told to, and counts the commands that it gets."""
    server = alibaba(max_connections=1)
    with Talk.to(server.imap_port) as talk:
        talk.log_in(server.new_user(), server.password)
        with Talk.to(server.imap_port) as second:
            assert second.hear().startswith(b"* BYE")
    assert server.proxy.commands == {"LOGIN": 1}

"""Hostile and broken target servers: nothing is lost or doubled, and the account ends well or with a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import define, field, frozen

from alimail_core.migration import MigrationSummary
from alimail_core.model import INBOX
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import Kept
from alimail_core.testing.proxy import CutError, DelayProxy, Session
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.streams import Item, Line
from alimail_imap.testing import CLOSE
from alimail_imap.wire import MAX_TEXT
from tests.real.bench import HurriedClock
from tests.real.mailboxes import Carrier, Server, account, folder_of

pytestmark = pytest.mark.server

MESSAGES = 12
TARGETS = ("rich", "alibaba")
ALWAYS = 1_000

Spoil: TypeAlias = Callable[[bytes, bytes], bytes]
"""Makes of a tag and the line that answers it what is said instead; ``CLOSE`` at its end breaks off."""


class SpoilingSession(Session):
    """Says something else than the server's answers to commands of one kind."""

    proxy: SpoilingProxy

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._struck: set[bytes] = set()
        self._ends = False

    async def command(self, item: Item) -> None:
        """Note the commands whose answers are to be spoilt."""
        if isinstance(item, Line) and item.first and item.words[1] == self.proxy.command:
            self._struck.add(item.words[0])
        await super().command(item)

    def response(self, item: Item) -> None:
        """Spoil an answer; after a goodbye nothing is said any more."""
        tag = item.words[0] if isinstance(item, Line) and item.first else b""
        if self._ends:
            return
        if tag not in self._struck | {self.proxy.command} or not self.proxy.left:
            super().response(item)
            return
        self.proxy.left -= 1
        words = self.proxy.spoil(tag, item.octets)
        self.say(words.removesuffix(CLOSE))
        self._ends = words.endswith(CLOSE)

    async def flush(self) -> None:
        """Break off where that was wished, once everything was said."""
        await super().flush()
        if self._ends:
            await self.down.finish()
            raise CutError


@define(eq=False)
class SpoilingProxy(DelayProxy):
    """Stands before a server that does what it is told and says something else."""

    session = SpoilingSession
    command: bytes = field(default=b"APPEND", kw_only=True)
    """Whose tagged answers are spoilt; ``+`` for the go-aheads."""
    spoil: Spoil = field(kw_only=True)
    left: int = field(default=1, kw_only=True)
    """How many answers are spoilt."""


@frozen
class Behind:
    """A server that is reached by way of a proxy."""

    server: Server
    proxy: DelayProxy

    @property
    def host(self) -> str:
        """Loopback."""
        return self.proxy.host

    @property
    def imap_port(self) -> int:
        """The proxy's."""
        return self.proxy.port

    @property
    def password(self) -> str:
        """Every user's password."""
        return self.server.password


@define
class Scene:
    """Two accounts from one source, one of them into a target that lies; both hold the same messages."""

    source: Dovecot
    target: Dovecot | AlibabaServer
    folder: Path
    users: list[str] = field(init=False)
    targets: list[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.users = [self.source.new_user("old") for _ in range(2)]
        self.targets = [self.target.new_user("new") for _ in range(2)]
        for user in self.users:
            for number in range(MESSAGES):
                octets = message(f"Number {number}", "x" * number, message_id=f"{number}@example.org")
                date = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number)
                self.source.deliver(user, INBOX, octets, flags=["\\Seen"] if number % 2 else [], date=date)

    def run(self, spoil: Spoil, *, command: bytes = b"APPEND", times: int = 1) -> MigrationSummary:
        """Make a pass whose first account's target spoils some answers; the second account is carried always."""
        upstream = (self.target.host, self.target.imap_port)
        with SpoilingProxy(upstream, command=command, spoil=spoil, left=times) as proxy:
            with self.carrier(Behind(self.target, proxy)).migration() as migration:
                summary = migration.run()
            assert proxy.left < times
        assert summary.accounts[1].state == "done"
        assert self.target.snapshot(self.targets[1])[INBOX] == self.source.snapshot(self.users[1])[INBOX]
        return summary

    def carrier(self, first: Server | None = None) -> Carrier:
        """Return what carries both accounts; the first into a target that has become honest, if none is told."""
        places = zip(self.users, (first or self.target, self.target), self.targets, strict=True)
        specs = tuple(account(self.source, user, place, target) for user, place, target in places)
        return Carrier(self.folder, specs, clock=HurriedClock(1_000))

    def found(self) -> Counter[Kept]:
        """Return what the target that lies holds."""
        return self.target.snapshot(self.targets[0])[INBOX]

    def sent(self) -> Counter[Kept]:
        """Return what it shall hold."""
        return self.source.snapshot(self.users[0])[INBOX]

    def assert_once(self) -> None:
        """Everything stands in the target once, an honest look proves it, and a further pass writes nothing."""
        assert self.found() == self.sent()
        proof = folder_of(self.carrier().proof(), INBOX)
        assert (proof.proven, proof.findings) == (MESSAGES, ())
        self.carrier().assert_nothing_new()
        assert self.found() == self.sent()


@pytest.fixture(params=TARGETS)
def scene(request: pytest.FixtureRequest, source_server: Dovecot, tmp_path: Path) -> Scene:
    """Return a scene at a target of each kind; an Alibaba Mail is started only where it is asked for."""
    names = {"rich": "target_server", "alibaba": "alibaba_server"}
    return Scene(source_server, request.getfixturevalue(names[request.param]), tmp_path)


BREAKS: dict[str, tuple[Spoil, str]] = {
    "a wrong tag": (lambda _, line: b"ZZ9" + line[line.index(b" ") :], "not IMAP"),
    "garbage": (lambda *_: bytes(range(256)) + b"\r\n", "not IMAP"),
    "no status": (lambda tag, _: tag + b" MAYBE\r\n", "no status"),
    "go-aheads for nothing": (lambda *_: b"+ go on\r\n" * 20, "nothing to go on with"),
    "an endless line": (lambda *_: b"* OK " + b"x" * (MAX_TEXT + 1_000_000) + CLOSE, "endless line"),
    "a huge literal": (lambda *_: b"* LIST () {99999999999}\r\n" + CLOSE, "more than we take"),
    "half an answer": (lambda tag, _: tag + b" O" + CLOSE, "closed the connection"),
    "a goodbye": (lambda *_: b"* BYE Going down for maintenance\r\n" + CLOSE, "maintenance"),
    "an answer and a goodbye": (lambda _, line: line + b"* BYE Enough of you\r\n" + CLOSE, "Enough"),
}


@pytest.mark.long
@pytest.mark.parametrize("how", BREAKS)
def test_an_answer_to_a_message_that_breaks_the_protocol(how: str, scene: Scene) -> None:
    """What the spoilt answer was for is in doubt, is looked for and found, and nothing is written twice."""
    summary = scene.run(BREAKS[how][0])
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", MESSAGES)
    scene.assert_once()


@pytest.mark.long
@pytest.mark.parametrize("scene", ["alibaba"], indirect=True)
@pytest.mark.parametrize("how", BREAKS)
def test_a_go_ahead_that_breaks_the_protocol(how: str, scene: Scene) -> None:
    """A message whose octets were never asked for was not sent; it goes when the server asks for it."""
    summary = scene.run(BREAKS[how][0], command=b"+")
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", MESSAGES)
    scene.assert_once()


@pytest.mark.long
@pytest.mark.parametrize("command", [b"LOGIN", b"LIST", b"SELECT"])
@pytest.mark.parametrize("how", BREAKS)
def test_a_target_that_always_breaks_the_protocol(how: str, command: bytes, scene: Scene) -> None:
    """The account ends with the reason after some attempts; what arrived is there once, and a later pass goes on."""
    spoil, reason = BREAKS[how]
    summary = scene.run(spoil, command=command, times=ALWAYS)
    assert (summary.accounts[0].state, summary.exit_code) == ("failed", 1)
    assert reason in summary.accounts[0].reason
    assert scene.found() <= scene.sent()
    assert scene.carrier().run().state == "done"
    scene.assert_once()


@pytest.mark.long
@pytest.mark.parametrize("how", BREAKS)
def test_a_target_that_never_answers_to_a_message_as_it_should(how: str, scene: Scene) -> None:
    """What it stores all the same is found there, and so the work gets done."""
    summary = scene.run(BREAKS[how][0], times=ALWAYS)
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", MESSAGES)
    scene.assert_once()


@pytest.mark.parametrize("said", [b"NO Not now", b"BAD"])
def test_a_no_that_is_not_true(said: bytes, scene: Scene) -> None:
    """Where no reason is given, the message is looked for before it is sent again: it has arrived."""
    summary = scene.run(lambda tag, _: tag + b" " + said + b"\r\n")
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", MESSAGES)
    scene.assert_once()


NOISE = (
    b"* 9 EXISTS\r\n* 3 EXPUNGE\r\n* 0 RECENT\r\n* 1 FETCH (FLAGS (\\Seen) UID 7)\r\n* XYZZY {3}\r\nabc\r\n"
    b'* OK [ALERT] Boo\r\n* NO [OVERQUOTA] Nearly\r\n* BAD What?\r\n* LIST () "/" Ghost\r\n* VANISHED 1:12\r\n'
)


@pytest.mark.parametrize(
    ("scene", "command"), [("rich", b"APPEND"), ("alibaba", b"APPEND"), ("alibaba", b"+")], indirect=["scene"]
)
def test_unasked_responses_in_the_middle_of_a_message(command: bytes, scene: Scene) -> None:
    """A server may talk of anything while it takes messages; they arrive, and once."""
    summary = scene.run(lambda _, line: NOISE + line, command=command, times=ALWAYS)
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", MESSAGES)
    scene.assert_once()


_APPENDUID = re.compile(rb"APPENDUID (\d+) ([\d:]+)")


def lie(change: Callable[[bytes, bytes], bytes]) -> Spoil:
    """Return what makes of APPENDUID's UIDVALIDITY and UIDs another answer."""
    return lambda _, line: _APPENDUID.sub(lambda told: b"APPENDUID " + change(told[1], told[2]), line)


def less(uids: bytes, by: int) -> bytes:
    """Count UIDs down."""
    return re.sub(rb"\d+", lambda uid: b"%d" % max(1, int(uid[0]) - by), uids)


LIES: dict[str, Spoil] = {
    "UIDs that nobody has": lie(lambda validity, uids: validity + b" " + less(uids, -1_000)),
    "no such word": lie(lambda *_: b"what?"),
    "UID 0": lie(lambda validity, _: validity + b" 0"),
    "a UID beyond all": lie(lambda validity, _: validity + b" 99999999999999999999"),
    "all UIDs at once": lie(lambda validity, _: validity + b" 1:4294967295"),
    "UIDs of others' messages": lie(lambda validity, uids: validity + b" " + less(uids, MESSAGES)),
    "another UIDVALIDITY": lie(lambda validity, uids: b"%d " % (int(validity) + 1) + uids),
    "UIDVALIDITY 0": lie(lambda _, uids: b"0 " + uids),
}


@pytest.mark.long
@pytest.mark.parametrize("what", LIES)
def test_a_lie_about_uids_is_not_believed(what: str, scene: Scene) -> None:
    """Messages are found by what they are: none is mixed up with another's, and those of others stay as they are."""
    for number in range(MESSAGES):
        scene.target.deliver(
            scene.targets[0], INBOX, message(f"Theirs {number}", message_id=f"{number}@theirs")
        )
    theirs = scene.found()
    summary = scene.run(LIES[what], times=ALWAYS)
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", MESSAGES)
    assert scene.found() == scene.sent() + theirs
    proof = folder_of(scene.carrier().proof(), INBOX)
    assert (proof.proven, proof.extra) == (MESSAGES, MESSAGES)
    scene.carrier().assert_nothing_new()
    assert scene.found() == scene.sent() + theirs


UNSEEN: dict[str, Spoil] = {
    "one UID for all": lie(lambda validity, uids: validity + (b" 1" if uids.isdigit() else b" " + uids)),
    "each the next one's UID": lie(lambda validity, uids: validity + b" " + less(uids, -1)),
}


@pytest.mark.long
@pytest.mark.parametrize("what", UNSEEN)
def test_a_lie_about_uids_that_nobody_can_see_is_told_by_the_proof(what: str, scene: Scene) -> None:
    """What is taken for another message is neither lost nor doubled, and verify calls nothing proven that is not."""
    scene.run(UNSEEN[what], times=ALWAYS)
    assert scene.found() == scene.sent()
    proof = folder_of(scene.carrier().proof(), INBOX)
    assert proof.proven + len(proof.findings) == MESSAGES
    summary = scene.carrier().run()
    assert (summary.copied, summary.adopted) == (0, 0)
    assert scene.found() == scene.sent()

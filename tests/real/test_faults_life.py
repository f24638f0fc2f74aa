"""What befalls a run beside the wire: full disks, busy owners, other tools, limits, tokens; and secrets kept."""

from __future__ import annotations

import resource
from itertools import count
from pathlib import Path

import pytest
from attrs import evolve, field, frozen

from alimail_core.contract import Credentials
from alimail_core.events import BatchSettled, Event
from alimail_core.model import INBOX
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.faultproxy import FaultProxy, Moment, WireFault
from alimail_core.testing.fixtures import StartAlibaba
from alimail_core.testing.mail import message
from alimail_core.testing.servers import Dovecot
from tests.real.bench import (
    FOLDERS,
    SYSTEM,
    Bench,
    Office,
    Place,
    assert_all_there,
    assert_claims,
    assert_written_once,
    differences,
    end,
    fill,
)

pytestmark = pytest.mark.server


# the ledger's disk


@pytest.mark.parametrize("room", [16 * 1024, 160 * 1024])
def test_a_disk_that_fills_under_the_ledger(
    room: int,
    source_server: Dovecot,
    target_server: Dovecot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run ends with a word on the disk and what to do; once there is room, the rest comes, and nothing twice.

    The process may write files of so many octets and no more, which its kernel tells it as a full disk's.
    """
    office = Office(tmp_path, Place.at(source_server, "old"), Place.at(target_server, "new"))
    fill(office.source, room, 400, odd=False)
    messages = office.source.on_disk()
    # Else it would keep the first octets of what it compiles, and no process could import that any more.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    process = office.start()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, room))
    code, output = end(process)
    assert code != 0, output
    assert "Make room on the disk" in output
    assert "Traceback" not in output
    assert office.target.on_disk() < messages
    code, output = office.run()
    assert code == 0, output
    assert_all_there(office.source, office.target)
    assert_written_once(office.target)
    assert_claims(office.ledger, messages)


# people and other tools meanwhile


def test_an_owner_who_works_in_the_source_meanwhile(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """Mail that is read, deleted, moved and received during a pass is there in the end, as it is then, and once."""
    bench = Bench(Place.at(source_server, "old"), Place.at(target_server, "new"), tmp_path / "ledger")
    for number in range(60):
        bench.source.deliver(INBOX, message(f"number {number}", message_id=f"{number}@x"), days=number)
    for folder in FOLDERS[1:]:
        source_server.create(bench.source.user, folder)
    steps = count()

    def observe(event: Event) -> None:
        if isinstance(event, BatchSettled) and (step := next(steps)) < 5:
            use(bench.source, step)

    bench.observe = observe
    assert bench.run().state in ("done", "problems")
    bench.observe = lambda _: None
    assert bench.run().state == "done"
    missing, extra = differences(bench.source, bench.target)
    assert missing == {}
    # What was carried before its owner deleted it is kept (deletions = keep).
    assert sum(held.total() for held in extra.values()) <= 10
    assert all(held.total() == len(held) for held in bench.target.snapshot().values())
    bench.assert_settled()


def use(place: Place, step: int) -> None:
    """Do what people do: read, delete, move, receive."""
    with place.dovecot.direct(place.user) as imap:
        imap.select("INBOX")
        imap.store(f"{step + 1}", "+FLAGS", "(\\Seen \\Flagged)")
        imap.store("20:21", "+FLAGS", "(\\Deleted)")
        imap.expunge()
        imap.uid("MOVE", f"{50 + step}", "Sent")
    place.deliver(INBOX, message(f"new {step}", message_id=f"new{step}@x"))


@pytest.mark.parametrize("target", ["target_server", "alibaba_server"])
def test_a_target_that_mbsync_has_filled(
    target: str, request: pytest.FixtureRequest, source_server: Dovecot, tmp_path: Path
) -> None:
    """Copies to which mbsync has added its X-TUID are known again and not copied; the rest is."""
    bench = Bench(
        Place.at(source_server, "old"), Place.at(request.getfixturevalue(target), "new"), tmp_path / "ledger"
    )
    fill(bench.source, 5, 60, odd=False)
    tuid, copied = count(), 0
    for folder, mail in bench.source.read().items():
        with bench.target.appending(folder) as append:
            for octets, flags, date in mail[::2]:
                header, blank, body = octets.partition(b"\r\n\r\n")
                altered = header + b"\r\nX-TUID: %012d" % next(tuid) + blank + body
                append(altered, flags & set(SYSTEM), date)
                copied += 1
    messages = bench.source.on_disk()
    summary = bench.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", messages - copied, copied)
    bench.assert_settled()
    assert_written_once(bench.target)
    assert_claims(bench.ledger, messages)


# servers with limits


def test_a_server_that_bears_few_connections(
    source_server: Dovecot, alibaba: StartAlibaba, tmp_path: Path
) -> None:
    """Where each connection more than two is sent away, two carry everything, once."""
    server: AlibabaServer = alibaba(max_connections=2)
    bench = Bench(Place.at(source_server, "old"), Place.at(server, "new"), tmp_path / "ledger")
    bench.options = evolve(bench.options, batch_messages=100)
    fill(bench.source, 6, 120, odd=False)
    summary = bench.run()
    assert (summary.state, summary.copied) == ("done", 120)
    bench.assert_complete()
    assert_written_once(bench.target)


# tokens


@frozen
class Tokened(Place):
    """A mailbox whose password is asked for at each login, as an access token is."""

    asked: list[str] = field(factory=list, kw_only=True)

    @property
    def credentials(self) -> Credentials:
        """Note each question."""

        def token() -> str:
            self.asked.append(self.user)
            return self.server.password

        return Credentials(self.user, token)


def test_a_token_that_expires_in_the_middle_of_a_run(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """The server ends the session; the secret is asked for anew, and the run goes on where it was."""
    upstream = (source_server.host, source_server.imap_port)
    with FaultProxy(upstream, words=b"Session expired, log in again") as proxy:
        source = Tokened(source_server, source_server.new_user("old"), proxy.port)
        bench = Bench(source, Place.at(target_server, "new"), tmp_path / "ledger")
        fill(source, 7, 60, odd=False)
        proxy.strike(WireFault.BYE, Moment.FETCH_BEFORE, 2)
        summary = bench.run()
        assert proxy.struck == [(WireFault.BYE, Moment.FETCH_BEFORE)]
        assert (summary.state, summary.copied) == ("done", 60)
        assert len(source.asked) == 2
        bench.assert_complete()
    assert_written_once(bench.target)


# secrets


PLANTED = "pl4nted-target-Secret"


def test_no_secret_is_anywhere(tmp_path: Path, source_server: Dovecot) -> None:
    """Passwords are in no argument, log, ledger, output or report, even where a server says them aloud."""
    with Dovecot(password=PLANTED) as target_server:
        place = Place.at(target_server, "new")
        words = f"LOGIN failed: {place.user} {PLANTED} is wrong".encode()
        with FaultProxy((target_server.host, target_server.imap_port), words=words) as proxy:
            office = Office(tmp_path, Place.at(source_server, "old"), evolve(place, port=proxy.port))
            fill(office.source, 8, 30, odd=False)
            proxy.strike(WireFault.NO, Moment.LOGIN)
            shown = look_at(office)
            proxy.strike(WireFault.BYE, Moment.LIST)
            proxy.strike(WireFault.NO, Moment.APPEND_AFTER, 2)
            shown += look_at(office)
            proxy.strike(WireFault.NO, Moment.SELECT)
            for verb in (("verify", "--full"), ("report",), ("status",), ("check",), ("plan",)):
                shown += look_at(office, *verb)
            assert len(proxy.struck) == 4
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("report" in path.name for path in files), files
    everything = {str(path): path.read_bytes() for path in files} | dict(enumerate(shown))
    assert any(b"LOGIN failed" in octets for octets in everything.values())
    for secret in (PLANTED, source_server.password):
        assert [name for name, octets in everything.items() if secret.encode() in octets] == []


def look_at(office: Office, *words: str) -> list[bytes]:
    """Run ``alimail``; return what other users of the machine may see of it, and what it says."""
    process = office.start(*words)
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    return [arguments, end(process)[1].encode()]

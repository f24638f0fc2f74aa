"""What people and servers do to folders meanwhile: made again, renumbered, full, delivered into."""

from __future__ import annotations

from pathlib import Path

import pytest

from alimail_core.events import BatchSettled, Event
from alimail_core.model import INBOX
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot
from tests.real.bench import PROJECTS, Bench, Place, assert_written_once, fill

pytestmark = pytest.mark.server


def mail(*numbers: int) -> list[bytes]:
    """Build messages of different sizes."""
    return [message(f"number {n}", "x" * n + "\r\n", message_id=f"{n}@x") for n in numbers]


# made again


def test_a_target_folder_made_again_under_its_uidvalidity(
    source_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """Its keys are not believed: what others put there stays theirs, and what was ours comes again on wish alone."""
    bench = Bench(Place.at(source_server, "old"), Place.at(alibaba_server, "new"), tmp_path / "ledger")
    bench.source.deliver(PROJECTS, *mail(1, 2, 3, 4))
    bench.run()
    alibaba_server.delete(bench.target.user, PROJECTS)
    bench.target.deliver(PROJECTS, *mail(71, 72), flags=["\\Answered"])
    bench.source.deliver(PROJECTS, *mail(5))
    bench.source.set_flags(PROJECTS, 1, "\\Flagged")
    summary = bench.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", 1, 0)
    assert bench.target.sizes(PROJECTS) == sizes(71, 72, 5)
    assert all("\\Flagged" not in kept.flags for kept in bench.target.snapshot()[PROJECTS])
    assert any("--refill" in note for note in bench.notes())
    bench.assert_settled()
    assert bench.run(refill=True).copied == 4
    assert bench.target.sizes(PROJECTS) == sizes(71, 72, 5, 1, 2, 3, 4)
    bench.assert_settled()


def test_a_source_folder_made_again_under_its_uidvalidity(
    alibaba_server: AlibabaServer, target_server: Dovecot, tmp_path: Path
) -> None:
    """Old keys do not vouch for new messages: those that are new are carried, those that came again are not."""
    bench = Bench(Place.at(alibaba_server, "old"), Place.at(target_server, "new"), tmp_path / "ledger")
    bench.source.deliver(PROJECTS, *mail(1, 2, 3, 4), days=30)
    bench.run()
    alibaba_server.delete(bench.source.user, PROJECTS)
    bench.source.deliver(PROJECTS, *mail(11, 12, 3, 4, 15), days=20)
    summary = bench.run()
    assert (summary.state, summary.copied) == ("done", 3)
    assert bench.target.sizes(PROJECTS) == sizes(1, 2, 3, 4, 11, 12, 15)
    bench.assert_settled()
    assert_written_once(bench.target)


def sizes(*numbers: int) -> list[int]:
    """Return the sizes of ``mail(*numbers)``, ascending."""
    return sorted(len(octets) for octets in mail(*numbers))


# renumbered


@pytest.mark.parametrize("side", ["source", "target"])
def test_renumbered(side: str, source_server: Dovecot, target_server: Dovecot, tmp_path: Path) -> None:
    """New UIDs for every message of a folder, under a new UIDVALIDITY, cost a look and no copy."""
    bench = Bench(Place.at(source_server, "old"), Place.at(target_server, "new"), tmp_path / "ledger")
    fill(bench.source, 6, 60)
    bench.run()
    place = {"source": bench.source, "target": bench.target}[side]
    place.renumber(INBOX)
    bench.source.deliver(INBOX, *mail(1, 2))
    summary = bench.run()
    assert (summary.state, summary.copied) == ("done", 2)
    bench.assert_complete()


# full


@pytest.mark.parametrize("target", ["target_server", "alibaba_server"])
def test_a_target_that_is_full_and_freed_again(
    target: str, request: pytest.FixtureRequest, source_server: Dovecot, tmp_path: Path
) -> None:
    """The account stops with the remedy, settled; once there is room, the next pass brings the rest."""
    server = request.getfixturevalue(target)
    bench = Bench(Place.at(source_server, "old"), Place.at(server, "new"), tmp_path / "ledger")
    bench.source.deliver(INBOX, *mail(*range(10_000, 10_040)))
    server.set_quota(bench.target.user, 200_000)
    summary = bench.run()
    assert summary.state == "failed", summary
    assert "full" in summary.reason or "uota" in summary.reason
    assert summary.remedy
    there = bench.target.on_disk()
    assert 0 < there < 40
    server.set_quota(bench.target.user, None)
    summary = bench.run()
    assert (summary.state, there + summary.copied) == ("done", 40)
    bench.assert_complete()
    assert_written_once(bench.target)


# delivered meanwhile


def test_mail_that_others_deliver_into_the_target_meanwhile(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' mail is left alone; a message that came there by itself before its folder's turn is not copied.

    It came by way of another server, so it has another trace header. What comes after our look at its folder
    stands there beside our copy, and no later pass takes either for a mistake.
    """
    # Small folders have their turn together; these are to be large ones.
    monkeypatch.setattr("alimail_core.transfer.listing._PART", 3)
    bench = Bench(Place.at(source_server, "old"), Place.at(target_server, "new"), tmp_path / "ledger")
    bench.source.deliver(INBOX, *mail(1, 2, 3))
    bench.source.deliver(PROJECTS, *mail(4, 5, 6))
    trace = b"Received: from old by new; Mon, 01 Jan 2024 10:00:00 +0800\r\n"
    [*_, same] = mail(4)
    [*_, foreign] = mail(77)

    def deliver(event: Event) -> None:
        if isinstance(event, BatchSettled) and event.folder == INBOX:
            bench.target.deliver(PROJECTS, trace + same, foreign)
            bench.target.deliver(INBOX, foreign, *mail(2))

    bench.observe = deliver
    summary = bench.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", 5, 1)
    bench.observe = lambda _: None
    bench.source.deliver(INBOX, *mail(8))
    bench.source.deliver(PROJECTS, *mail(9))
    assert bench.run().copied == 2
    there = digests(bench.target.snapshot())
    assert there[INBOX].total() == 6
    assert there[PROJECTS].total() == 5
    bench.assert_settled()


def test_the_same_messages_delivered_before_the_first_pass(
    source_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """What the new server received already, with another trace header, is adopted; one of two twins stays to copy."""
    bench = Bench(Place.at(source_server, "old"), Place.at(alibaba_server, "new"), tmp_path / "ledger")
    twin = message("twin", message_id=None)
    bench.source.deliver(INBOX, *mail(1, 2, 3), twin, twin)
    trace = b"Received: from old by new; Mon, 01 Jan 2024 10:00:00 +0800\r\n"
    bench.target.deliver(INBOX, trace + mail(2)[0], trace + twin, *mail(9))
    summary = bench.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", 3, 2)
    assert bench.target.on_disk() == 6
    bench.assert_settled()
    assert_written_once(bench.target)

"""Servers that close every connection after some commands: a run comes to its end all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alimail_core.events import Event, FolderListed, Waiting
from alimail_core.options import TransferOptions
from alimail_core.testing.faultproxy import FaultProxy, Moment, WireFault
from alimail_core.testing.mail import message
from alimail_core.testing.servers import Dovecot
from tests.real.bench import Bench, HurriedClock, Place, Server

pytestmark = [pytest.mark.server, pytest.mark.slow]

FOLDERS = 8
MESSAGES = 2
ENOUGH = 15
"""More than it takes to log in and to do something in one folder, and less than it takes to do so in all."""


def filled(server: Dovecot) -> Place:
    """Fill some folders."""
    source = Place.at(server, "old")
    for folder in range(FOLDERS):
        path = (f"Folder {folder}",)
        server.create(source.user, path)
        for number in range(MESSAGES):
            source.deliver(path, message(f"{folder} {number}", message_id=f"{folder}.{number}@x"))
    return source


def bench_of(source: Place, target: Place, ledger: Path) -> Bench:
    """Carry in small batches."""
    return Bench(source, target, ledger, HurriedClock(200.0), TransferOptions(batch_messages=10))


# The last one bears just as many as it takes to list the folders and to ask how much is in each.
@pytest.mark.parametrize(("kind", "most"), [("rich", ENOUGH), ("poor", 8), ("poor", FOLDERS + 4)])
def test_a_source_that_closes_after_some_commands(
    kind: str, most: int, server: Callable[[str], Server], target_server: Dovecot, tmp_path: Path
) -> None:
    """What one connection has listed is kept for the next one, in the first pass and in a later one."""
    source_server = server(kind)
    assert isinstance(source_server, Dovecot)
    source = filled(source_server)
    with FaultProxy((source.server.host, source.server.imap_port), most_commands=most) as proxy:
        short = Place(source.server, source.user, proxy.port)
        bench = bench_of(short, Place.at(target_server, "new"), tmp_path / "ledger")
        assert bench.run().state == "done"
        for folder in range(0, FOLDERS, 2):
            source.deliver((f"Folder {folder}",), message(f"{folder} late", message_id=f"{folder}.late@x"))
        assert bench.run().copied == FOLDERS // 2
    bench_of(source, bench.target, bench.ledger).assert_complete()


@pytest.mark.parametrize("kind", ["rich", "poor", "alibaba"])
def test_a_target_that_closes_after_some_commands(
    kind: str, server: Callable[[str], Server], source_server: Dovecot, tmp_path: Path
) -> None:
    """What was stored over one connection is not sent over the next, and no message is accused of the end of one."""
    source, target_server = filled(source_server), server(kind)
    with FaultProxy((target_server.host, target_server.imap_port), most_commands=ENOUGH) as proxy:
        target = Place.at(target_server, "new", proxy.port)
        bench = bench_of(source, target, tmp_path / "ledger")
        summary = bench.run()
        assert (summary.state, summary.problems, summary.reason) == ("done", 0, "")
        for folder in range(0, FOLDERS, 2):
            source.deliver((f"Folder {folder}",), message(f"{folder} late", message_id=f"{folder}.late@x"))
        assert bench.run().state == "done"
    unharmed = Place(target_server, target.user, target_server.imap_port)
    bench_of(source, unharmed, bench.ledger).assert_complete()


@pytest.mark.parametrize("number", [1, FOLDERS])
def test_a_folder_that_is_made_as_the_connection_breaks(
    number: int, source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """The next attempt finds it there, and subscribes to it all the same."""
    source, target = filled(source_server), Place.at(target_server, "new")
    with FaultProxy((target_server.host, target_server.imap_port)) as proxy:
        proxy.strike(WireFault.LOST, Moment.CREATE, number)
        bench = bench_of(source, Place(target_server, target.user, proxy.port), tmp_path / "ledger")
        assert bench.run().state == "done"
        assert proxy.struck
    with target_server.direct(target.user) as imap:
        subscribed = b"".join(each for each in imap.lsub()[1] if isinstance(each, bytes))
    assert [folder for folder in range(FOLDERS) if b"Folder %d" % folder not in subscribed] == []


def test_a_refill_of_a_target_that_closes_after_some_commands(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """All of its folders are looked at over several connections before anything is copied again."""
    source, target = filled(source_server), Place.at(target_server, "new")
    assert bench_of(source, target, tmp_path / "ledger").run().state == "done"
    target_server.doveadm("expunge", "-u", target.user, "mailbox", "Folder*", "all")
    with FaultProxy((target_server.host, target_server.imap_port), most_commands=ENOUGH) as proxy:
        short = Place(target_server, target.user, proxy.port)
        summary = bench_of(source, short, tmp_path / "ledger").run(refill=True)
        assert (summary.state, summary.copied) == ("done", FOLDERS * MESSAGES)
    bench_of(source, target, tmp_path / "ledger").assert_complete()


def test_a_source_folder_that_is_renumbered_between_two_connections(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """What it listed over an earlier connection is not taken for deleted: it is listed anew, and carried."""
    source = filled(source_server)
    last = (f"Folder {FOLDERS - 1}",)
    listed: list[int] = []

    def renumber(event: Event) -> None:
        if isinstance(event, FolderListed) and event.folder == last:
            listed.append(event.pending_messages)
        elif isinstance(event, Waiting) and listed == [MESSAGES]:
            source.renumber(last)
            listed.append(0)

    with FaultProxy((source_server.host, source_server.imap_port), most_commands=8) as proxy:
        short = Place(source_server, source.user, proxy.port)
        bench = bench_of(short, Place.at(target_server, "new"), tmp_path / "ledger")
        bench.observe = renumber
        summary = bench.run()
    assert listed[:2] == [MESSAGES, 0]
    assert (summary.state, summary.copied, summary.problems) == ("done", FOLDERS * MESSAGES, 0)
    bench_of(source, bench.target, bench.ledger).assert_complete()

"""The ledger on real servers: old, lost, held by another process; and a process that is asked to stop."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alimail_core.model import INBOX
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import message
from alimail_core.testing.proxy import DelayProxy
from alimail_core.testing.servers import Dovecot
from tests.real.bench import (
    PROJECTS,
    SYSTEM,
    Bench,
    Office,
    Place,
    assert_all_there,
    assert_claims,
    assert_written_once,
    end,
    ended,
    fill,
    wait_until_told,
)

pytestmark = pytest.mark.server


def test_an_old_copy_of_the_ledger_costs_time_and_no_mail(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """What was carried since a ledger's backup is found in the target; only what is new is written."""
    bench = Bench(Place.at(source_server, "old"), Place.at(target_server, "new"), tmp_path / "ledger")
    fill(bench.source, 1, 60)
    bench.run()
    shutil.copy(bench.ledger, tmp_path / "backup")
    bench.source.deliver(INBOX, *(message(f"since {n}", message_id=f"since{n}@x") for n in range(9)))
    bench.source.deliver(PROJECTS, message("twin", message_id=None), message("twin", message_id=None))
    assert bench.run().copied == 11
    shutil.copy(tmp_path / "backup", bench.ledger)
    bench.source.deliver(PROJECTS, message("twin", message_id=None), message("new", message_id="new@x"))
    summary = bench.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", 2, 11)
    bench.assert_complete()
    assert_written_once(bench.target)


@pytest.mark.parametrize("target", ["target_server", "alibaba_server"])
def test_a_lost_ledger_is_rebuilt_by_adoption(
    target: str, request: pytest.FixtureRequest, source_server: Dovecot, tmp_path: Path
) -> None:
    """Every message, odd ones and twins too, is known again where it stands, and nothing is written."""
    bench = Bench(
        Place.at(source_server, "old"), Place.at(request.getfixturevalue(target), "new"), tmp_path / "ledger"
    )
    fill(bench.source, 2, 100)
    messages = bench.source.on_disk()
    bench.run()
    bench.lose_ledger()
    summary = bench.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", 0, messages)
    bench.assert_complete()
    assert_written_once(bench.target)
    assert_claims(bench.ledger, messages)


@pytest.mark.parametrize("target", ["target_server", "alibaba_server"])
def test_what_another_tool_copied_is_adopted(
    target: str, request: pytest.FixtureRequest, source_server: Dovecot, tmp_path: Path
) -> None:
    """Where another program has copied every second message, the others are copied; a lost ledger changes nothing."""
    bench = Bench(
        Place.at(source_server, "old"), Place.at(request.getfixturevalue(target), "new"), tmp_path / "ledger"
    )
    fill(bench.source, 3, 80)
    messages = bench.source.on_disk()
    half = copy_every_second(bench.source, bench.target)
    summary = bench.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", messages - half, half)
    bench.assert_complete()
    bench.lose_ledger()
    assert bench.run().adopted == messages
    bench.assert_complete()
    assert_written_once(bench.target)


def copy_every_second(source: Place, target: Place) -> int:
    """Copy every second message as any IMAP program does; return how many that were."""
    copied = 0
    for folder, mail in source.read().items():
        with target.appending(folder) as append:
            for octets, flags, date in mail[::2]:
                append(octets, flags & set(SYSTEM) if target.kind == "alimail" else flags, date)
                copied += 1
    return copied


# processes


@pytest.fixture
def held(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> Iterator[tuple[Office, DelayProxy]]:
    """Give an account of many messages in small batches, whose way to the target stalls in the middle."""
    with DelayProxy((target_server.host, target_server.imap_port)) as proxy:
        source, target = Place.at(source_server, "old"), Place.at(target_server, "new", proxy.port)
        fill(source, 4, 200, odd=False)
        # The proxy stalls by itself: a test that watches is sometimes given no time to before all is over.
        proxy.stall_after(500_000, "up")
        yield Office(tmp_path, source, target, {"settle_seconds": 1.5, "batch_messages": 4}), proxy


def wait_for_the_middle(office: Office, proxy: DelayProxy, process: subprocess.Popen[str]) -> None:
    """Wait until a process has carried some of the messages, and nothing passes any more."""
    while not (proxy.stalled and office.target.on_disk() >= 20):
        if process.poll() is not None:
            raise AssertionError(f"ended early: {end(process)}")
        time.sleep(0.005)


def test_two_processes_on_one_ledger(held: tuple[Office, DelayProxy]) -> None:
    """The second says that another one works on the account, and the first carries everything once."""
    office, proxy = held
    with ended(office.start()) as first:
        wait_for_the_middle(office, proxy, first)
        code, output = office.run()
        assert code == 1, output
        assert "another process works on" in output
        assert first.poll() is None
        proxy.resume()
        code, output = end(first)
        assert code == 0, output
    assert_all_there(office.source, office.target)
    assert_written_once(office.target)
    assert_claims(office.ledger, 200)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop(number: signal.Signals, code: int, held: tuple[Office, DelayProxy]) -> None:
    """A process that is asked to stop settles the batches under way and says how to go on; the next run does."""
    office, proxy = held
    with ended(office.start()) as process:
        wait_for_the_middle(office, proxy, process)
        process.send_signal(number)
        wait_until_told(process, "stopping after the batches under way")
        proxy.resume()
        found, output = end(process)
    assert found == code, output
    assert "`alimail migrate` goes on" in output
    there = office.target.on_disk()
    assert office.last_pass()["state"] == "stopped"
    assert office.last_pass()["copied"] == there < 200
    found, output = office.run()
    assert found == 0, output
    assert office.last_pass()["copied"] == 200 - there
    assert_all_there(office.source, office.target)
    assert_written_once(office.target)


def test_asked_twice(held: tuple[Office, DelayProxy]) -> None:
    """Who asks twice is obeyed at once, and nothing is lost or written again."""
    office, proxy = held
    with ended(office.start()) as process:
        wait_for_the_middle(office, proxy, process)
        proxy.resume()
        # Stopped, it finds both wishes when it goes on.
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            process.send_signal(number)
        found, output = end(process)
    assert found == 143, output
    assert "ended at once; run the same command again" in output
    found, output = office.run()
    assert found == 0, output
    assert_all_there(office.source, office.target)
    assert_written_once(office.target)


def test_copy_by_url_twice(source_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path) -> None:
    """``alimail copy`` between two servers carries everything, and writes nothing the second time."""
    source, target = Place.at(source_server, "old"), Place.at(alibaba_server, "new")
    fill(source, 5, 40)
    office = Office(tmp_path, source, target)
    local = target.user.replace("@", "%40")
    words = (
        "copy",
        f"imap://{source.user.replace('@', '%40')}@{source.server.host}:{source.port}?tls=none",
        f"alimail://{local.partition('%40')[0]}@example.org:{target.port}?host={target.server.host}&tls=none",
        "--source-secret=env:SOURCE",
        "--target-secret=env:TARGET",
        "--ledger=copy.ledger",
        "--log=log.jsonl",
    )
    for copied in (source.on_disk(), 0):
        code, output = end(office.start(*words))
        assert code == 0, output
        assert office.last_pass()["copied"] == copied
    assert_all_there(source, target)
    assert_written_once(target)

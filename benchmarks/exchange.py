"""From an Exchange server: alimail, what a good script makes of exchangelib, and the same mail by IMAP.

The server is the tests' own, in a process of its own, over TLS and NTLM, without holding anything to schemas.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from alimail_core.model import INBOX
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot
from benchmarks.mail import create, deliver
from benchmarks.measure import Command, Taken, take
from benchmarks.relay import Relay
from benchmarks.works import COPY, NOTHING_NEW, Phase, Work
from tests.exchange import Mailbox, Organisation
from tests.exchange.__main__ import fill

ALIMAIL, SCRIPT, IMAP = "alimail", "exchangelib", "alimail by IMAP"
PASSWORD = "secret"  # noqa: S105 - of a server that lives for the length of a measurement


@frozen
class Place:
    """Where everything is: a folder, the ports that tools are pointed at, and what the mailbox holds."""

    folder: Path
    exchange_port: int
    exchange_ca: Path
    source: Dovecot
    source_user: str
    source_port: int
    target: Dovecot
    target_port: int
    wanted: Counter[str]

    @property
    def environment(self) -> dict[str, str]:
        """What every command needs to know."""
        return {
            "BENCH_SOURCE": PASSWORD,
            "BENCH_IMAP": self.source.password,
            "BENCH_TARGET": self.target.password,
        }


def at_exchange(
    work: Work, runs: int, tell: Callable[[str], None]
) -> Iterator[tuple[Phase, str, Taken, str]]:
    """Let the tools take turns; alimail comes a second time, when nothing is new."""
    with _built(work, tell) as place:
        for number in range(runs):
            tools = [ALIMAIL, SCRIPT, IMAP]
            for tool in tools[number % 3 :] + tools[: number % 3]:
                user = place.target.new_user("new")
                again = 2 if tool != SCRIPT else 1
                for phase in (COPY, NOTHING_NEW)[:again]:
                    yield phase, tool, *_measured(place, tool, user, phase, tell)
                shutil.rmtree(place.target.base / "mail" / user, ignore_errors=True)
                os.sync()


def _measured(
    place: Place, tool: str, user: str, phase: Phase, tell: Callable[[str], None]
) -> tuple[Taken, str]:
    output = place.folder / "output"
    output.unlink(missing_ok=True)
    taken = take([_command(place, tool, user)], output, 1800.0)
    fault = ""
    if taken.code:
        fault = f"exit code {taken.code}: {output.read_text('utf-8', 'replace')[-600:].strip()}"
    elif digests(place.target.snapshot(user)).get(INBOX, Counter()) != place.wanted:
        fault = "what is in the target is not what was in the mailbox"
    tell(f"{tool}, {phase}: {taken.wall:.2f} s {fault}")
    return taken, fault


def _command(place: Place, tool: str, user: str) -> Command:
    if tool == SCRIPT:
        words = [
            str(place.exchange_port),
            place.exchange_ca,
            str(place.target_port),
            place.target.ca_file,
            user,
        ]
        command = (sys.executable, "-m", "benchmarks.exchange_script", *map(str, words))
        return Command(command, {**place.environment, "PYTHONPATH": str(Path(__file__).parents[1])})
    program = str(Path(sys.executable).with_name("alimail"))
    ends = {
        ALIMAIL: f"ews://svc@localhost:{place.exchange_port}?mailbox=amy%40old.example&ca={place.exchange_ca}",
        IMAP: f"imap://{quote(place.source_user, safe='')}@localhost:{place.source_port}"
        f"?tls=implicit&ca={place.source.ca_file}",
    }
    target = (
        f"imap://{quote(user, safe='')}@localhost:{place.target_port}?tls=implicit&ca={place.target.ca_file}"
    )
    secret = "env:BENCH_SOURCE" if tool == ALIMAIL else "env:BENCH_IMAP"
    secrets = ("--source-secret", secret, "--target-secret", "env:BENCH_TARGET")
    ledger = ("--ledger", str(place.folder / f"{user}.ledger"))
    return Command((program, "copy", *secrets, *ledger, "--plain", ends[tool], target), place.environment)


@contextmanager
def _built(work: Work, tell: Callable[[str], None]) -> Iterator[Place]:
    """Start it all; nothing is left afterwards."""
    tell(f"filling a mailbox with {work.corpus.messages} messages")
    wishes = ("--messages", str(work.corpus.messages), "--octets", str(work.corpus.octets))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alibench")))
        source, target = (stack.enter_context(Dovecot(fsync=True)) for _ in range(2))
        mailbox = _mailbox(work)
        user = source.new_user("old")
        create(source, user, (INBOX,))
        for number, item in enumerate(mailbox.folder("inbox").items.values()):
            letters = "S" if item.is_read else ""
            deliver(source, user, INBOX, number, item.mime, item.received, letters)
        ca = folder / "exchange.pem"
        port = stack.enter_context(_exchange(wishes, ca))
        ports = {each: each for each in (port, source.imaps_port, target.imaps_port)}
        if work.round_trip:
            ports = dict(stack.enter_context(Relay.start(work.round_trip, list(ports))).ports)
        items = mailbox.folder("inbox").items.values()
        wanted = Counter(hashlib.sha256(item.mime).hexdigest() for item in items)
        yield Place(
            folder,
            ports[port],
            ca,
            source,
            user,
            ports[source.imaps_port],
            target,
            ports[target.imaps_port],
            wanted,
        )


def _mailbox(work: Work) -> Mailbox:
    """Make the mail that the server will make, which is drawn from the same seed."""
    mailbox = Organisation().add_mailbox("amy")
    corpus = work.corpus
    fill(mailbox, argparse.Namespace(messages=corpus.messages, octets=corpus.octets, folders=1, seed="1"))
    return mailbox


@contextmanager
def _exchange(wishes: tuple[str, ...], ca: Path) -> Iterator[int]:
    """Run the server; give its port."""
    options = ("--mailbox", "amy", "--no-validate", "--same-mime", "--while-stdin", "--ca-file", str(ca))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.exchange", *options, *wishes],
        cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
        process.communicate()

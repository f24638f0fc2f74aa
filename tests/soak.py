"""Faults and kills without end: ``make soak SECONDS=600``, or ``python -m tests.soak --seed 7`` to repeat one round.

Each round fills a mailbox, and then runs the real ``alimail migrate`` again and again, while proxies before both of
its servers break whatever they like and ``kill -9`` ends some of the processes. In the end all is calm, one run goes
undisturbed, and what stands on both sides is compared. A round depends on its seed, as far as timing lets it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from attrs import define, evolve, field, fields

from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.faultproxy import FaultProxy
from alimail_core.testing.servers import Dovecot
from tests.real.bench import Office, Place, Server, assert_all_there, assert_claims, ended, fill

SIDE_BY_SIDE = 4
"""Rounds at once: most of their time they wait for a struck server."""
RATES = (0.001, 0.004, 0.02)
"""How likely a fault is at any moment of a round."""
RUNS = 8
SETTLE_SECONDS = 3.0
"""So long a server may take to finish what it was sent. The proxies take a part of it."""
TIMEOUT = 2.0
STUCK_SECONDS = 240.0
"""Any run ends by itself sooner than this: it gives up after eight attempts without progress."""


@define
class Tally:
    """What was done, and what came of it."""

    rounds: int = 0
    runs: int = 0
    kills: int = 0
    messages: int = 0
    second_copies: int = 0
    """Copies that were written and taken away again, as their first sending arrived after all."""
    ends: Counter[int] = field(factory=Counter)
    """Exit codes of runs that were not killed."""
    faults: Counter[str] = field(factory=Counter)

    def add(self, other: Tally) -> None:
        """Take in what another one has counted."""
        for each in fields(Tally):
            mine = getattr(self, each.name)
            mine += getattr(other, each.name)
            setattr(self, each.name, mine)

    def __str__(self) -> str:
        """Sum up in a few lines."""
        faults = ", ".join(f"{name.lower()} {number}" for name, number in sorted(self.faults.items()))
        return (
            f"{self.rounds} rounds, {self.messages} messages, {self.runs} runs, {self.kills} kills, "
            f"{self.second_copies} second copies taken away; exit codes {dict(self.ends)}\n"
            f"{self.faults.total()} faults: {faults}"
        )


@define
class Round:
    """One mailbox carried through whatever befalls it."""

    seed: int
    tally: Tally
    office: Office
    proxies: tuple[FaultProxy, FaultProxy]
    draw: random.Random
    most_runs: int = RUNS

    def run(self) -> None:
        """Break and kill for some runs; then let one go undisturbed, and look at everything."""
        source, target = self.office.source, self.office.target
        fill(source, self.seed, self.draw.randint(30, 150), odd=self.draw.random() < 0.5)
        messages = source.on_disk()
        for number, proxy in enumerate(self.proxies):
            proxy.haunt(f"{self.seed} {number}", self.draw.choice(RATES))
        for _ in range(self.draw.randint(1, self.most_runs)):
            self._one_run()
        for proxy in self.proxies:
            proxy.calm()
            self.tally.faults.update(fault.name for fault, _ in proxy.struck)
            proxy.release()
        self._undisturbed()
        assert_all_there(source, target)
        self._undisturbed()
        last = self.office.last_pass()
        assert (last["copied"], last["adopted"]) == (0, 0), last
        assert_all_there(source, target)
        assert_claims(self.office.ledger, messages)
        self.tally.rounds += 1
        self.tally.messages += messages
        self.tally.second_copies += sum(target.given().values()) - messages

    def _one_run(self) -> None:
        """Start a run, and wait for its end or kill it."""
        self.tally.runs += 1
        begun = time.monotonic()
        lives = self.draw.uniform(0.5, 6.0) if self.draw.random() < 0.7 else STUCK_SECONDS
        with ended(self.office.start()) as process:
            while process.poll() is None and time.monotonic() < begun + lives:
                time.sleep(0.2)
                for proxy in self.proxies:
                    proxy.release()
            if process.poll() is not None:
                self.tally.ends[process.returncode] += 1
            elif lives == STUCK_SECONDS:
                raise AssertionError(f"a run did not end by itself: {_words_of(process)}")
            else:
                self.tally.kills += 1

    def _undisturbed(self) -> None:
        code, output = self.office.run()
        assert code == 0, output


def _words_of(process: subprocess.Popen[str]) -> str:
    process.kill()
    assert process.stdout is not None
    return process.stdout.read()


@contextmanager
def prepared(
    seed: int, source_server: Server, target_server: Server, folder: Path, tally: Tally
) -> Iterator[Round]:
    """Give a round that can run."""
    with ExitStack() as stack:
        proxies = tuple(
            stack.enter_context(
                FaultProxy(
                    (server.host, server.imap_port),
                    certificate=(server.dovecot if isinstance(server, AlibabaServer) else server).certificate,
                    words=b"[UNAVAILABLE] Try again later",
                )
            )
            for server in (source_server, target_server)
        )
        draw = random.Random(f"soak {seed}")
        tls = draw.random() < 0.5
        source, target = (
            evolve(place, port=proxy.tls_port if tls else proxy.port, timeout=TIMEOUT, tls=tls)
            for place, proxy in zip(
                (Place.at(source_server, "old"), Place.at(target_server, "new")), proxies, strict=True
            )
        )
        transfer = {"settle_seconds": SETTLE_SECONDS, "batch_messages": draw.choice((3, 10, 40))}
        yield Round(seed, tally, Office(folder, source, target, transfer), proxies, draw)  # type: ignore[arg-type]


def main() -> None:
    """Run rounds for a while; at the first that fails, say how to repeat it."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="begin no round after so long")
    parser.add_argument("--seed", type=int, default=None, help="run this one round")
    wishes = parser.parse_args()
    end = time.monotonic() + wishes.seconds
    with (
        Dovecot() as source,
        Dovecot() as rich,
        Dovecot(capability="IMAP4rev1 LITERAL+ UIDPLUS") as pipelined,
        AlibabaServer() as alibaba,
    ):
        soak = Soak(source, (rich, pipelined, alibaba), end)
        if wishes.seed is not None:
            soak.survive(wishes.seed)
        else:
            soak.run()
    print(soak.tally)


@define
class Soak:
    """Rounds between the same servers, several at once."""

    source: Server
    targets: Sequence[Server]
    end: float = 0.0
    """By the monotonic clock: no round begins after it."""
    most_runs: int = RUNS
    tally: Tally = field(factory=Tally)
    _lock: threading.Lock = field(factory=threading.Lock)

    def run(self) -> None:
        """Run rounds until the time is over or one fails."""
        seeds = count(random.SystemRandom().randrange(10**6))
        with ThreadPoolExecutor(SIDE_BY_SIDE) as executor:
            for worker in [executor.submit(self._work, seeds) for _ in range(SIDE_BY_SIDE)]:
                worker.result()

    def _work(self, seeds: Iterator[int]) -> None:
        while time.monotonic() < self.end:
            self.survive(next(seeds))

    def survive(self, seed: int) -> None:
        """Run one round; where it fails, say how to repeat it, and begin no other."""
        folder = Path(tempfile.mkdtemp(prefix=f"alimail-soak-{seed}-"))
        tally = Tally()
        try:
            with prepared(seed, self.source, self.targets[seed % len(self.targets)], folder, tally) as one:
                evolve(one, most_runs=self.most_runs).run()
        except BaseException:
            self.end = 0.0
            print(f"failed: python -m tests.soak --seed {seed}\n{tally}\nsee {folder}", file=sys.stderr)
            raise
        shutil.rmtree(folder)
        with self._lock:
            self.tally.add(tally)


if __name__ == "__main__":
    main()

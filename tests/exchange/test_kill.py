"""``kill -9`` of ``alimail`` while it reads Exchange: nothing lost, nothing written twice, though no octet is stable.

Exchange renders each message anew whenever it is asked, so what was in flight when the process died comes with other
octets the next time: it must be known by what was sent, not by what is read again.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from alimail_core import INBOX
from alimail_core.model import FolderPath
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import attachment, message, multipart
from alimail_core.testing.servers import Dovecot
from tests.exchange import ExchangeServer, Habits, Mailbox
from tests.real.bench import SENT, Place, Server, assert_claims, assert_written_once, end, kill_some

SEEDS = range(40)
PROJECTS: FolderPath = ("Projects", "客户")
FLAGS = ("\\Seen", "\\Answered", "\\Flagged")
SETTLE_SECONDS = 1.5


@pytest.fixture(scope="module")
def server() -> Iterator[ExchangeServer]:
    """One for all, with a service account; each test takes a mailbox of its own."""
    with ExchangeServer(habits=Habits(sync_limit=20)) as server:
        server.organisation.add_account("svc", "secret", impersonates=["*"])
        yield server


@define
class Office:
    """One account from Exchange, by TLS, NTLM and impersonation, into a place, by ``alimail migrate``."""

    folder: Path
    server: ExchangeServer
    source: Mailbox
    target: Place

    def __attrs_post_init__(self) -> None:
        """Write the configuration."""
        sides: dict[str, dict[str, Any]] = {
            "source": {"kind": "ews", "host": "localhost", "port": self.server.port, "tls": "implicit",
                       "ca": str(self.server.ca_file), "auth": "ntlm", "master_user": "svc"},
            "target": {"kind": self.target.kind, **self.target.way},
        }  # fmt: skip
        text = f'[migration]\nname = "kills"\nledger = "{self.ledger}"\n'
        for side, way in sides.items():
            text += f'[{side}]\nsecret = "env:{side.upper()}"\n'
            text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in way.items())
        text += f"[transfer]\nsettle_seconds = {SETTLE_SECONDS}\nbatch_messages = 20\n[[account]]\n"
        text += f'source_address = "{self.source.address}"\ntarget_address = "{self.target.user}"\n'
        (self.folder / "alimail.toml").write_text(text, "utf-8")

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.folder / "kills.ledger"

    def start(self) -> subprocess.Popen[str]:
        """Start ``alimail``; the caller waits for it or kills it."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("alimail")), "migrate", "--yes", "--log", "log.jsonl"],
            cwd=self.folder,
            env=os.environ | {"SOURCE": "secret", "TARGET": self.target.server.password},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> None:
        """Run it to its end, which must be good."""
        code, output = end(self.start())
        assert code == 0, output

    def last_pass(self) -> dict[str, Any]:
        """Return what the log has of the last pass's end."""
        lines = (json.loads(line) for line in (self.folder / "log.jsonl").read_text("utf-8").splitlines())
        last: dict[str, Any] = [line for line in lines if line["event"] == "pass_ended"][-1]
        return last

    def assert_there_once(self) -> None:
        """What Exchange has stands in the target, folder by folder, and never stood there more often."""
        theirs = Counter(
            (path, _said(item.mime), _flags(item.is_read, item.last_verb, item.flag_status), item.received)
            for path, place in ((INBOX, "inbox"), (PROJECTS, PROJECTS))
            for item in self.source.folder(place).items.values()
        )
        ours = Counter(
            (path, _said(octets), flags, date)
            for path, held in self.target.read().items()
            for octets, flags, date in held
        )
        assert ours == theirs
        assert_written_once(self.target)


def _said(octets: bytes) -> bytes:
    """Return what is the same in all renderings of a message: its lines, without their order and the boundaries."""
    lines = (
        line for line in octets.split(b"\r\n") if b"boundary=" not in line and not line.startswith(b"--")
    )
    return b"\n".join(sorted(lines))


def _flags(is_read: bool, last_verb: int | None, flag_status: str) -> frozenset[str]:
    has = (is_read, last_verb == 102, flag_status == "Flagged")
    return frozenset(flag for flag, is_set in zip(FLAGS, has, strict=True) if is_set)


def fill(mailbox: Mailbox, draw: random.Random, messages: int) -> None:
    """Ordinary mail, some of it twice, some without Message-ID, some with an attachment."""
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(days=400)
    for number in range(messages):
        name = None if draw.random() < 0.1 else f"{draw.getrandbits(64):x}@old.example"
        body = f"{number} 你好\r\n" * draw.choice((1, 10, 100, 1000))
        octets = message(f"number {number % 20}", body, message_id=name)
        if draw.random() < 0.2:
            parts = [b"Content-Type: text/plain\r\n\r\nSee the file.\r\n", attachment(draw.randbytes(9_000))]
            octets = multipart(parts, message_id=name or f"{number}@parts")
        for _ in range(draw.choices((1, 2), (9, 1))[0]):
            mailbox.deliver(
                draw.choice(("inbox", PROJECTS)),
                octets,
                flags=draw.sample(FLAGS, draw.randint(0, 2)),
                received=began + timedelta(minutes=draw.randrange(570_000)),
            )


def kill_again_and_again(seed: int, server: ExchangeServer, target_server: Server, folder: Path) -> None:
    """Fill a mailbox, kill up to three runs at instants of the seed's, let one run end, and one more; look at all."""
    draw = random.Random(f"kills of {seed}")
    target = Place.at(target_server, "new")
    target.server.create(target.user, target.path(SENT))
    source = server.organisation.add_mailbox(target.user.split("@")[0] + target.kind)
    fill(source, draw, draw.randint(60, 140))
    messages = sum(len(each.items) for each in source.folders.values())
    office = Office(folder, server, source, target)
    kill_some(office.start, office.target, draw, messages)
    office.run()
    office.assert_there_once()
    office.run()
    assert (office.last_pass()["copied"], office.last_pass()["adopted"]) == (0, 0)
    office.assert_there_once()
    assert_claims(office.ledger, messages)


@pytest.mark.server
@pytest.mark.long(sample=1)
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_before_a_rich_target(
    seed: int, server: ExchangeServer, target_server: Dovecot, tmp_path: Path
) -> None:
    """Into a server with MULTIAPPEND and LITERAL+, killed runs end complete, and every message was stored once."""
    kill_again_and_again(seed, server, target_server, tmp_path)


@pytest.mark.server
@pytest.mark.long(sample=1)
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_before_alibaba_mail(
    seed: int, server: ExchangeServer, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """Into what Alibaba Mail presents itself as, killed runs end complete, and every message was stored once."""
    kill_again_and_again(seed, server, alibaba_server, tmp_path)

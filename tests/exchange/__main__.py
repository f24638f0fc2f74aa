"""Run an Exchange server by itself, for demonstrations and benchmarks.

::

    python -m tests.exchange --port 8443 --mailbox amy --mailbox bob --messages 200
    python -m tests.exchange --plain --no-validate --mailbox amy --messages 5000 --octets 170000000 --folders 10

It says where it is in one line of JSON as soon as it can be asked, and ends with Ctrl-C, SIGTERM, or, with
``--while-stdin``, when its standard input is closed: so with whoever started it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alimail_core.testing.mail import sound_messages
from benchmarks.mail import Corpus, letter
from tests.exchange import VERSIONS, ExchangeServer, Habits, Mailbox

_FLAGS = (
    (),
    ("\\Seen",),
    ("\\Seen",),
    ("\\Seen", "\\Answered"),
    ("\\Seen", "\\Flagged"),
    ("\\Seen", "$Forwarded"),
)
_YEARS = 3


def main() -> None:
    """Fill mailboxes, listen, and wait."""
    wishes = _parser().parse_args()
    server = ExchangeServer(
        version=VERSIONS[wishes.version],
        tls=not wishes.plain,
        validate=wishes.validate,
        port=wishes.port,
        habits=Habits(renders_anew=wishes.render_anew),
    )
    server.door.schemes = wishes.schemes.split(",")
    organisation = server.organisation
    for name in wishes.mailbox:
        mailbox = organisation.add_mailbox(name, password=wishes.password, language=wishes.language)
        fill(mailbox, wishes)
    organisation.add_account("svc", wishes.password, impersonates=["*"])
    for name in wishes.denied:
        account = organisation.account("svc")
        assert account is not None
        account.impersonates = {box.address for box in organisation.mailboxes.values()} - {
            f"{name}@{organisation.domain}"
        }
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with server:
        if wishes.ca_file is not None:
            shutil.copyfile(server.ca_file, wishes.ca_file)
        said: dict[str, object] = {"url": server.url, "port": server.port, "login": "OLD\\svc"}
        said["ca_file"] = str(server.ca_file) if server.tls else None
        said["mailboxes"] = list(organisation.mailboxes)
        print(json.dumps(said), flush=True)
        if wishes.while_stdin:
            threading.Thread(target=_until_the_end, args=(over,), daemon=True).start()
        over.wait()


def _until_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def fill(mailbox: Mailbox, wishes: argparse.Namespace) -> None:
    """Put mail into a mailbox: the tests' corpus, or as many messages as are wished of a size in all."""
    draw = random.Random(f"{wishes.seed} {mailbox.address}")
    folders = [
        "inbox",
        "sentitems",
        *(["Projects", f"Project {n:02}"] for n in range(max(wishes.folders - 2, 0))),
    ]
    for number, (octets, date) in enumerate(_mail(draw, wishes)):
        item = mailbox.deliver(
            folders[: max(wishes.folders, 1)][number % max(wishes.folders, 1)],
            octets,
            received=date,
            flags=draw.choice(_FLAGS),
        )
        item.header  # noqa: B018 - parsed before anybody measures


def _mail(draw: random.Random, wishes: argparse.Namespace) -> Iterator[tuple[bytes, datetime]]:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    count = wishes.messages if wishes.messages is not None else len(sound_messages())
    began, step = today - timedelta(days=365 * _YEARS), timedelta(days=365 * _YEARS) / max(count, 1)
    dates = [(began + step * number).replace(microsecond=0) for number in range(count)]
    if wishes.messages is None:
        yield from zip(sound_messages().values(), dates, strict=True)
        return
    sizes = Corpus(count, wishes.octets or count * 34_000).sizes(draw) if count else []
    for number, (size, date) in enumerate(zip(sizes, dates, strict=True)):
        yield letter(draw, f"{wishes.seed}.{number}", size, date), date


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.exchange", description="An Exchange server for tests.")
    parser.add_argument(
        "--port", type=int, default=0, help="where to listen on loopback; any free one by default"
    )
    parser.add_argument("--plain", action="store_true", help="HTTP instead of HTTPS")
    parser.add_argument("--version", choices=VERSIONS, default="2016", help="which Exchange to be")
    parser.add_argument(
        "--mailbox", action="append", default=[], help="name of a mailbox; as often as wished"
    )
    parser.add_argument("--denied", action="append", default=[], help="one whom svc may not impersonate")
    parser.add_argument("--messages", type=int, help="how many in each mailbox; the tests' corpus by default")
    parser.add_argument("--octets", type=int, help="of all messages of a mailbox together")
    parser.add_argument("--folders", type=int, default=1, help="over how many folders they are spread")
    parser.add_argument("--seed", default="1", help="what the messages are drawn from")
    parser.add_argument("--language", default="en", help="of the folders' names: en, de, zh")
    parser.add_argument("--password", default="secret", help="of every account, svc included")
    parser.add_argument("--schemes", default="NTLM,Basic", help="ways to log in")
    parser.add_argument("--ca-file", type=Path, help="where to put the authority to trust")
    parser.add_argument(
        "--no-validate", dest="validate", action="store_false", help="trust requests and answers"
    )
    parser.add_argument(
        "--same-mime",
        dest="render_anew",
        action="store_false",
        help="MIME content with the same octets each time",
    )
    parser.add_argument("--while-stdin", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    main()

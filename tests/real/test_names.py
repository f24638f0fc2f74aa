"""Folder names through the whole tool: each that a source can hold arrives, reversibly rewritten where need be."""

from __future__ import annotations

import imaplib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from alimail_core.events import ProblemFound
from alimail_core.folders.spelling import restore_name
from alimail_core.model import FolderPath
from alimail_core.testing.alibaba import FORBIDDEN, SPECIAL_FOLDERS, AlibabaServer
from alimail_core.testing.fixtures import StartDovecot
from alimail_core.testing.mail import message, odd_names
from alimail_core.testing.oracle import Snapshot, append_exactly, mailbox_argument
from alimail_core.testing.servers import Dovecot
from tests.real.mailboxes import Carrier, account

SHAPES = {
    "fs": {},
    "maildir++": {"layout": "maildir++", "delimiter": "."},
    "INBOX.": {"layout": "maildir++", "delimiter": ".", "prefix": "INBOX."},
    "sdbox": {"mail_format": "sdbox"},
}
"""Sources as servers really are shaped."""


def fill(server: Dovecot, user: str, paths: Iterable[FolderPath]) -> dict[FolderPath, int]:
    """Put a message of its own into each folder that the server will have; return how many stand where."""
    parents = server.prefix.split(server.delimiter)[:-1] if server.prefix else []
    with server.direct(user) as imap:
        for number, path in enumerate(paths):
            if path == ("inbox",) and parents:
                continue  # a folder beneath the inbox here, which the oracle cannot tell from the inbox
            mailbox = mailbox_argument((*parents, *path), server.delimiter)
            octets = message(f"Number {number}", message_id=f"{number}@example.org")
            with suppress(imaplib.IMAP4.error):
                imap.create(mailbox)
                append_exactly(imap, mailbox, octets, (), None)
    return held(server.snapshot(user))


def paths() -> list[FolderPath]:
    """Return every odd name by itself, and some of them as parents and children."""
    names = odd_names()
    return [*((name,) for name in names), *(("Büro", name, "内") for name in names[::7])]


def held(snapshot: Snapshot) -> dict[FolderPath, int]:
    """Return how many messages stand in each folder that holds any."""
    return {path: held.total() for path, held in snapshot.items() if held}


def problems(carrier: Carrier) -> list[str]:
    """Return what the passes told of problems."""
    return [event.reason for event in carrier.events if isinstance(event, ProblemFound)]


@pytest.mark.server
@pytest.mark.parametrize("shape", SHAPES)
def test_names_arrive_from_sources_of_every_shape(
    shape: str, dovecot: StartDovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """Each folder that the source holds has its own place in the target; a second run makes nothing."""
    source = dovecot(**SHAPES[shape])
    user, target_user = source.new_user("names"), target_server.new_user("names")
    made = fill(source, user, paths())
    assert len(made) > 60
    carrier = Carrier(tmp_path, (account(source, user, target_server, target_user),))
    assert (carrier.run().state, problems(carrier)) == ("done", [])
    proof = carrier.proof()
    assert proof.complete
    assert sum(folder.proven for folder in proof.folders) == sum(made.values())
    places = {folder.source: folder.target for folder in proof.folders if folder.messages}
    assert places.keys() == made.keys()
    assert len(set(places.values())) == len(places)
    before = target_server.snapshot(target_user)
    assert held(before) == {places[path]: number for path, number in made.items()}
    carrier.assert_nothing_new()
    assert target_server.snapshot(target_user) == before


@pytest.mark.server
def test_names_are_rewritten_for_alibaba_mail_and_read_back(
    source_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """What Alibaba Mail cannot call a folder is spelt so that the name can be had back, and the report tells it."""
    user, middle = source_server.new_user("names"), alibaba_server.new_user("names")
    made = fill(source_server, user, paths())
    there = Carrier(tmp_path, (account(source_server, user, alibaba_server, middle),))
    assert (there.run().state, problems(there)) == ("done", [])
    proof = there.proof()
    assert proof.complete
    places = {folder.source: folder.target for folder in proof.folders if folder.messages}
    assert places.keys() == made.keys()
    assert held(alibaba_server.snapshot(middle)) == {places[path]: number for path, number in made.items()}
    assert not any(char in FORBIDDEN for place in places.values() for name in place for char in name)
    renamed = {
        path: place for path, place in places.items() if path != place and path[0] not in SPECIAL_FOLDERS
    }
    short = {path: place for path, place in renamed.items() if not any("~" in name for name in place)}
    assert len(short) > 10
    assert {path: tuple(map(restore_name, place)) for path, place in short.items()} == {
        path: path for path in short
    }
    there.assert_nothing_new()

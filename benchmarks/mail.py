"""The mail that is carried: made by a seed, the same on every machine but for its dates, which end today."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path

from attrs import frozen

from alimail_core.folders.spelling import encode_modified_utf7
from alimail_core.model import INBOX, FolderPath
from alimail_core.testing.mail import attachment, message, multipart
from alimail_core.testing.oracle import mailbox_argument
from alimail_core.testing.servers import Dovecot

YEARS = 3
"""How far the mail goes back."""
_LEAST = 600
_MOST = 4 << 20
_PLAIN = 6_000
"""Messages up to this size are plain text; larger ones carry an attachment that fills them."""
_LETTERS = ("", "S", "S", "S", "RS", "FS", "FRS", "DS")
"""Flags, as a Maildir file's name tells them."""
_TEXT = (
    "the quarterly figures for our branch arrive tomorrow please look at them before noon regards "
    "附件 是 第三季度 的 报表 请 查收 谢谢 meeting moved to Thursday room four bring the signed contract"
)
_WORDS = _TEXT.split()


@frozen
class Corpus:
    """One account's mail: ``octets`` in all, spread over ``messages``, spread over ``folders``."""

    messages: int
    octets: int
    folders: tuple[FolderPath, ...] = (INBOX,)
    even: bool = False
    """All messages have the same size, instead of many small ones and few large ones."""

    def scaled(self, scale: float) -> Corpus:
        """Return a smaller one of the same kind, of at least one message for each folder that is left."""
        folders = (
            self.folders
            if len(self.folders) <= 10
            else self.folders[: max(10, int(len(self.folders) * scale))]
        )
        messages = max(len(folders), int(self.messages * scale))
        return Corpus(messages, self.octets * messages // self.messages, folders, self.even)

    def sizes(self, draw: random.Random) -> list[int]:
        """Draw the messages' sizes, whose sum is about ``octets``."""
        if self.even:
            return [self.octets // self.messages] * self.messages
        weights = [draw.lognormvariate(0.0, 1.5) for _ in range(self.messages)]
        share = self.octets / sum(weights)
        return [min(_MOST, max(_LEAST, int(weight * share))) for weight in weights]

    def fill(self, server: Dovecot, user: str, seed: int = 1) -> None:
        """Put it into a new user's mailbox."""
        draw = random.Random(seed)
        create(server, user, self.folders)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        began, step = today - timedelta(days=365 * YEARS), timedelta(days=365 * YEARS) / self.messages
        for number, size in enumerate(self.sizes(draw)):
            date = (began + step * number).replace(microsecond=0)
            octets = letter(draw, f"{seed}.{number}", size, date - timedelta(seconds=draw.randint(1, 200)))
            deliver(
                server,
                user,
                self.folders[number % len(self.folders)],
                number,
                octets,
                date,
                draw.choice(_LETTERS),
            )


def letter(draw: random.Random, name: str, size: int, date: datetime) -> bytes:
    """Return a message of about ``size`` octets."""
    subject = " ".join(draw.choices(_WORDS, k=5))
    if size <= _PLAIN:
        written = message(subject, "", message_id=f"{name}@old.example", date=format_datetime(date))
        return written + _text(draw, size - len(written))
    text = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + _text(
        draw, 2000
    )
    data = attachment(draw.randbytes((size - len(text) - 700) * 3 // 4 * 76 // 78), f"{name}.bin")
    whole = multipart([text, data], subject=subject, message_id=f"{name}@old.example")
    return (
        b"Received: from old.example by mail.old.example; " + format_datetime(date).encode() + b"\r\n" + whole
    )


def _text(draw: random.Random, octets: int) -> bytes:
    """Return lines of about so many octets in all: a stretch of one long text, beginning anywhere."""
    text = _long_text()
    begin = text.index(b"\n", draw.randrange(len(text) // 2)) + 1
    end = text.find(b"\n", begin + max(0, octets)) + 1
    return text[begin:end]


@cache
def _long_text() -> bytes:
    draw = random.Random("text")
    return b"".join(" ".join(draw.choices(_WORDS, k=11)).encode() + b"\r\n" for _ in range(500))


def create(server: Dovecot, user: str, folders: Sequence[FolderPath]) -> None:
    """Make folders in one session, and subscribe to them."""
    with server.direct(user) as imap:
        imap.select("INBOX")
        for folder in folders:
            if folder != INBOX:
                imap.create(mailbox_argument(folder, "/"))
                imap.subscribe(mailbox_argument(folder, "/"))


def deliver(
    server: Dovecot, user: str, folder: FolderPath, number: int, octets: bytes, date: datetime, letters: str
) -> None:
    """Write a message's file into a folder that exists: tens of thousands a second, without a session for each."""
    name = f"{int(date.timestamp())}.M{number:09}P{os.getpid()}.bench,S={len(octets)},W={len(octets)}:2,{letters}"
    file = _place(server, user, folder) / "cur" / name
    file.write_bytes(octets)
    file.chmod(0o644)  # for who keeps the mail, whatever our umask is
    os.utime(file, (date.timestamp(), date.timestamp()))


def _place(server: Dovecot, user: str, folder: FolderPath) -> Path:
    """Return where the server keeps a folder (``layout="fs"``)."""
    home = server.base / "mail" / user
    names = (encode_modified_utf7(name).decode("ascii") for name in folder)
    return home / "inbox" if folder == INBOX else home.joinpath("mail", *names)

"""A small organisation: five mailboxes with the mail of fifteen years, and what its people do in the last week."""

from __future__ import annotations

import hashlib
import imaplib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from attrs import define, frozen

from alimail_core.model import FolderPath
from alimail_core.testing.mail import attachment, message, multipart, odd_messages
from alimail_core.testing.oracle import mailbox_argument
from alimail_core.testing.servers import Dovecot

OLD_DOMAIN, NEW_DOMAIN = "harbour.example", "harbour-cn.example"
INBOX: FolderPath = ("INBOX",)
DELETED_FROM: FolderPath = ("Sent",)
"""Where people delete mail in their last week."""
SPECIAL_USE = {"Sent": "\\Sent", "Drafts": "\\Drafts", "Junk": "\\Junk", "Trash": "\\Trash"}

MAP: Mapping[FolderPath, FolderPath] = {
    ("Sent",): ("已发送",),
    ("Drafts",): ("草稿",),
    ("Junk",): ("垃圾邮件",),
    ("Trash",): ("已删除邮件",),
    ("Courses", "C++"): ("Courses", "C‛＋‛＋"),
}
"""Where folders go that cannot keep their names, written by hand: special ones, and what Alibaba Mail refuses."""

RENAMED: tuple[FolderPath, FolderPath] = (
    ("Projects", "2024", "Crane 7"),
    ("Projects", "Archive 2024", "Crane 7"),
)


@frozen
class Person:
    """Somebody with a mailbox: name, local part of the address, and folders with their share of the mail."""

    name: str
    local: str
    folders: Mapping[FolderPath, int]
    domain: str = OLD_DOMAIN

    @property
    def old(self) -> str:
        """The address at the source."""
        return f"{self.local}@{self.domain}"

    @property
    def new(self) -> str:
        """The address in the target."""
        return f"{self.local}@{NEW_DOMAIN}"


PEOPLE = (
    Person(
        "Anna Berg",
        "anna",
        {INBOX: 24, ("Sent",): 16, ("Drafts",): 1, ("Trash",): 3, RENAMED[0]: 6, ("Projects", "2025", "Pier 3"): 10},
    ),
    Person(
        "李伟",
        "liwei",
        {INBOX: 20, ("Sent",): 12, ("客户", "上海港", "合同"): 10, ("客户", "青岛港"): 5, ("会议纪要",): 5},
    ),
    Person(
        "Jonas Koch",
        "jonas",
        {INBOX: 22, ("Sent",): 10, ("Junk",): 4, ("Courses", "C++"): 4, ("Kunden & Partner", "Größe XL"): 6},
    ),
    Person(
        "陈美",
        "meichen",
        {INBOX: 16, ("Sent",): 8, ("Drafts",): 1, ("项目", "二〇二四"): 8, ("项目", "二〇二四", "报价单"): 5},
    ),
    Person("Front office", "office", {INBOX: 14, ("Sent",): 6, ("Invoices", "2012", "Paid"): 8, ("Odd mail",): 2}),
)  # fmt: skip
"""The shares sum up to about 226: with a scale of 10 the organisation has some 2,300 messages."""

_SUBJECTS = (
    "Offer for the hoist", "Minutes of Monday", "Re: Delivery in week 14", "Your invoice", "Fwd: Drawing, rev. C",
    "会议通知", "回复：报价单", "合同（已签字）", "Rückfrage zum Angebot", "Urlaub im August", "Lunch?",
)  # fmt: skip
_SENTENCES = (
    "Please find the drawing enclosed.", "We can deliver in four weeks.", "请查收附件，谢谢。",
    "下周三上午十点开会。",
    "Der Termin passt uns gut.", "The crane was tested at 110 % of its load.", "Could you send me the figures?",
    "合同已经寄出，请注意查收。", "See you on Thursday.", "Mit freundlichen Grüßen",
)  # fmt: skip
_FILES = ("drawing.dwg", "报价单.xlsx", "Angebot größer.pdf", "photo.jpg", "合同.docx")
_FLAGS = ((), ("\\Seen",), ("\\Seen",), ("\\Seen", "\\Answered"), ("\\Seen", "\\Flagged"), ("\\Flagged",))
_NO_ONE_TAKES = ("empty",)
"""A message of no octets: an IMAP server cannot be given it (APPEND of a literal of 0 is a refusal)."""


def stored(octets: bytes) -> bytes:
    """Return what a Dovecot stores when it is given these octets: without a CR that nothing but an end follows."""
    return octets.replace(b"\r\r\n", b"\r\n").removesuffix(b"\r")


def altered() -> Mapping[str, str]:
    """Return the digest as stored of each odd message that the target server alters, by its digest in the source."""
    return {_digest(octets): _digest(stored(octets)) for octets in _odd() if stored(octets) != octets}


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def _odd() -> Iterator[bytes]:
    yield from (octets for name, octets in odd_messages().items() if name not in _NO_ONE_TAKES)


@define
class Writer:
    """Writes mail: always the same for the same seed, apart from the day on which the last fifteen years end."""

    random: random.Random
    today: datetime
    written: int = 0

    def date(self) -> datetime:
        """Return a date of the last fifteen years; half of them in the last one."""
        days = self.random.choice((365.0, 15 * 365.0)) * self.random.random()
        return (self.today - timedelta(days=days + 0.1)).replace(microsecond=0)

    def mail(self, person: Person, when: datetime) -> bytes:
        """Write one message: mostly a few lines, some with an attachment, one in a hundred with a large one."""
        self.written += 1
        choice = self.random.random()
        if choice > 0.99:
            return self._with_file(person, when, self.random.randrange(400_000, 2_000_000))
        if choice > 0.9:
            return self._with_file(person, when, self.random.randrange(5_000, 100_000))
        return self._letter(person, when, self.random.randrange(2, 40))

    def _letter(self, person: Person, when: datetime, sentences: int) -> bytes:
        body = "".join(f"{self.random.choice(_SENTENCES)}\r\n" for _ in range(sentences))
        return message(
            f"{self.random.choice(_SUBJECTS)} ({self.written})",
            body,
            message_id=self._message_id(),
            date=format_datetime(when),
            sender=f"Somebody <somebody{self.random.randrange(50)}@partner.example>",
            extra=[f"Delivered-To: {person.old}"],
        )

    def _with_file(self, person: Person, when: datetime, octets: int) -> bytes:
        letter = self._letter(person, when, 3)
        file = attachment(self.random.randbytes(octets), self.random.choice(_FILES))
        subject = f"{self.random.choice(_SUBJECTS)} ({self.written})"
        return multipart([letter, file], subject=subject, message_id=self._message_id())

    def _message_id(self) -> str:
        return f"{self.written}.{self.random.randrange(16**8):08x}@partner.example"


def fill(server: Dovecot, writer: Writer, scale: int) -> None:
    """Put the organisation's mail into the source; ``scale`` multiplies its amount."""
    fill_folders(server, writer, PEOPLE, scale)
    _keywords(server, writer)
    _odd_mail(server)


def fill_folders(server: Dovecot, writer: Writer, people: Iterable[Person], scale: int) -> None:
    """Put ordinary mail into people's folders."""
    for person in people:
        for path, share in person.folders.items():
            _fill_folder(server, writer, person, path, share * scale)


def _fill_folder(server: Dovecot, writer: Writer, person: Person, path: FolderPath, count: int) -> None:
    made = [(writer.mail(person, when), when) for when in (writer.date() for _ in range(count))]
    for octets, when in (*made, *made[:: max(len(made) // 3, 1)]):  # some of it stands there twice
        server.deliver(person.old, path, octets, flags=_flags(writer, path), date=when)


def _flags(writer: Writer, path: FolderPath) -> Iterable[str]:
    return ("\\Draft", "\\Seen") if path == ("Drafts",) else writer.random.choice(_FLAGS)


def _keywords(server: Dovecot, writer: Writer) -> None:
    """Mark some mail with keywords, which Alibaba Mail cannot store; the messages must arrive all the same."""
    for person in PEOPLE[:2]:
        for _ in range(3):
            when = writer.date()
            octets = writer.mail(person, when)
            server.append(
                person.old, list(person.folders)[-1], octets, flags=("\\Seen", "$Forwarded"), date=when
            )


def _odd_mail(server: Dovecot) -> None:
    """Deliver what no programmer expects: without Message-ID, with broken MIME, NUL octets, endless lines."""
    when = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    for octets in _odd():
        server.deliver(PEOPLE[-1].old, ("Odd mail",), octets, date=when)


@frozen
class LastWeek:
    """What people did at the source after their mail had been carried, in messages."""

    arrived: int
    flagged: int
    moved: int
    renamed: int
    deleted: int


def work_on(server: Dovecot, writer: Writer, people: Iterable[Person] = PEOPLE) -> LastWeek:
    """Let people work at the source: new mail, other flags, mail moved, a folder renamed, mail deleted."""
    done = Counter[str](renamed=0)
    for person in people:
        for path in (INBOX, INBOX, INBOX, ("Sent",)):
            server.deliver(person.old, path, writer.mail(person, writer.today), date=writer.today)
            done["arrived"] += 1
        with server.direct(person.old) as imap:
            done.update(dict(_tidy_up(imap, person)))
    return LastWeek(**done)


def _tidy_up(imap: imaplib.IMAP4, person: Person) -> Iterator[tuple[str, int]]:
    folder = list(person.folders)[-1]
    _select(imap, INBOX)
    _ok(imap.store("1:5", "FLAGS", "(\\Seen \\Answered)"))
    yield "flagged", 5
    _ok(imap.xatom("MOVE", "8:13", mailbox_argument(folder, "/")))
    yield "moved", 6
    _select(imap, DELETED_FROM)
    _ok(imap.store("1:2", "+FLAGS", "(\\Deleted)"))
    _ok(imap.expunge())
    yield "deleted", 2
    if RENAMED[0] in person.folders:
        _ok(imap.unselect())
        yield "renamed", _rename(imap, *RENAMED)


def _rename(imap: imaplib.IMAP4, old: FolderPath, new: FolderPath) -> int:
    _select(imap, old)
    _, answer = imap.search(None, "ALL")
    _ok(imap.unselect())
    _ok(imap.rename(mailbox_argument(old, "/"), mailbox_argument(new, "/")))
    return len(answer[0].split())


def _select(imap: imaplib.IMAP4, path: FolderPath) -> None:
    _ok(imap.select(mailbox_argument(path, "/")))


def _ok(answer: tuple[str, object]) -> None:
    if answer[0] != "OK":
        raise RuntimeError(f"the source refused the demo's own change: {answer!r}")

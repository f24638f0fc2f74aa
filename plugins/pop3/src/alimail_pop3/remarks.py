"""What ``alimail check`` tells of a POP3 server."""

from __future__ import annotations

from collections.abc import Iterator

from alimail_core import Remark, tls_remark
from alimail_pop3.connection import Connection
from alimail_pop3.maildrop import Maildrop
from alimail_pop3.options import Pop3Options

INBOX_ONLY = (
    "POP3 shows the inbox only: other folders, sent mail, and what lies in local archives do not come, and neither "
    "do flags; older messages arrive as read (`mark_seen`, `unread_days`)"
)
_GMAIL = ("gmail.com", "googlemail.com", "google.com")
_MICROSOFT = ("outlook.office365.com", "outlook.office.com", "outlook.com", "hotmail.com", "live.com")


def remarks_of(
    connection: Connection, options: Pop3Options, user: str, maildrop: Maildrop
) -> Iterator[Remark]:
    """Say what is worth knowing of the server behind a connection."""
    yield tls_remark(connection.wire.tls)
    yield Remark("note", INBOX_ONLY, "Use IMAP where the server has it.")
    yield from _keys(maildrop)
    yield from _abilities(connection, maildrop)
    yield from _expiry(connection)
    yield from _provider(options.host.lower().rstrip("."), user)


def _keys(maildrop: Maildrop) -> Iterator[Remark]:
    named = sum(key.startswith("header/") for key in maildrop.numbers)
    if named:
        yield Remark(
            "note",
            f"{named} messages have no identifier of their own (UIDL) and are known by their headers: each pass "
            "reads those headers",
        )
    elif maildrop.numbers:
        yield Remark("ok", "later passes cost one list (UIDL)")


def _abilities(connection: Connection, maildrop: Maildrop) -> Iterator[Remark]:
    if connection.capabilities is None:
        yield Remark("note", "the server does not tell what it can do (CAPA)")
    if not connection.offers("PIPELINING"):
        yield Remark("note", "no PIPELINING: each message waits a round trip")
    if not connection.has_top:
        yield Remark("note", "no TOP: where only headers are needed, whole messages are read")
    if maildrop.numbers and not maildrop.exact:
        yield Remark(
            "note",
            "the sizes that the server lists are not exact: plan and progress count messages only, and messages are "
            "read by RETR, which some servers count as read by their owner",
        )


def _expiry(connection: Connection) -> Iterator[Remark]:
    """Tell where the server itself deletes what was read (EXPIRE, RFC 2449 §6.7)."""
    words = (connection.capabilities or {}).get("EXPIRE", [])
    if words and words[0] == "0":
        yield Remark(
            "warning",
            "the server says that it deletes messages once they were read (EXPIRE 0)",
            "Switch that off for as long as mail moves, or use IMAP.",
        )
    elif words and words[0].isdigit():
        yield Remark("warning", f"the server deletes messages after {words[0]} days (EXPIRE)")


def _provider(host: str, user: str) -> Iterator[Remark]:
    if _is_of(host, _GMAIL):
        recent = user.startswith("recent:")
        yield Remark(
            "warning",
            "Gmail shows a message over POP3 until it was read once"
            + (", and to `recent:` users those of the last 30 days" if recent else "")
            + "; a pass that is interrupted may not see again what it had read",
            "Use IMAP (imap.gmail.com). If it must be POP3, choose `Enable POP for all mail` in Gmail's settings "
            "anew before each first pass, keep Gmail's copy, and log in as recent:ADDRESS for later passes.",
        )
    if _is_of(host, _MICROSOFT):
        yield Remark("note", "Exchange Online takes no passwords over POP3", "Use auth = xoauth2.")
        yield Remark(
            "note",
            "Exchange makes each message anew for POP3, and by default its list only estimates sizes",
            "Use IMAP where it is switched on.",
        )


def _is_of(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)

"""From a server's ``-ERR`` to a grade and a remedy: response codes first (RFC 2449, RFC 3206), then its words.

Servers differ; each line of the tables was met in the wild. What no line knows is graded by what we were doing.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from attrs import frozen

from alimail_core import AlimailError, Denied, LoginDenied, Refused, Throttled, Transient

Doing: TypeAlias = Literal["greeting", "login", "list", "read"]
"""What the server said no to: the connection itself, a login, a list of the maildrop, one message."""

LOCKED_REMEDY = (
    "POP3 lets one program at a time into a mailbox. Close the owner's mail program, or let it look less often while "
    "mail moves; alimail tries again by itself."
)
LOGIN_REMEDY = (
    "See that the mailbox still exists. Check the user name (most servers want the whole address) and the password; "
    "where the server asks for a password for applications or has POP3 switched off for the account, set that right "
    "first."
)
OTHER_LOGIN_REMEDY = (
    "Make a password for applications at the provider and use that one, or use auth = xoauth2."
)
DISABLED_REMEDY = "Switch POP3 on for the account, in its settings or in the provider's console."
ENCRYPT_REMEDY = "The server wants encryption: use tls = implicit or starttls."
LATER_REMEDY = "The server asks to try later; alimail does that by itself."
FEWER_REMEDY = "Lower max_connections, or raise the server's limit of connections for a user or an address."
GREETING_REMEDY = "The server lets nobody in, or not us: see its log. alimail tries again by itself."
LIST_REMEDY = (
    "alimail asks again by itself. If the server goes on refusing, its administrator must mend the mailbox; if it "
    "has IMAP too, move the mailbox by that."
)
ADMINISTRATOR_REMEDY = "The server cannot serve this mailbox until its administrator mends it."


@frozen
class Answer:
    """A ``-ERR``: its response code without the brackets, in upper case, and its words, fit for a terminal."""

    code: str
    text: str

    @property
    def words(self) -> str:
        """Return what the server said, code included."""
        return f"[{self.code}] {self.text}" if self.code else self.text


_ANSWER = re.compile(r"-ERR\s*(?:\[([^\]]{1,40})\])?\s*(.*)", re.IGNORECASE | re.DOTALL)


def parse_answer(line: bytes, secret: str = "") -> Answer | None:
    """Read a ``-ERR``; ``None`` where it is none. ``secret`` is blotted out: some servers repeat what they refuse."""
    match = _ANSWER.fullmatch(shown(line, len(line)))
    if match is None:
        return None
    words = match[2].replace(secret, "***") if secret else match[2]
    return Answer((match[1] or "").strip().upper(), words[:300])


def shown(line: bytes, most: int = 60) -> str:
    """Return the beginning of what a server said, fit for a terminal."""
    text = line.decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() else "?" for c in text[:most])


_Kind: TypeAlias = type[Transient] | type[Denied] | type[Refused]


@frozen
class Rule:
    """One line of a table: the error to make and its remedy."""

    kind: _Kind
    remedy: str = ""


CODES: list[tuple[str, Rule]] = [
    ("IN-USE", Rule(Transient, LOCKED_REMEDY)),
    ("LOGIN-DELAY", Rule(Throttled, LATER_REMEDY)),
    ("SYS/TEMP", Rule(Transient, LATER_REMEDY)),
    ("SYS/PERM", Rule(Denied, ADMINISTRATOR_REMEDY)),
]
"""Response codes whose words add nothing. ``AUTH`` is not among them: it denies, and its words tell the remedy."""


def _words(pattern: str, kind: _Kind, remedy: str) -> tuple[re.Pattern[str], Rule]:
    return re.compile(pattern, re.IGNORECASE), Rule(kind, remedy)


WORDS: list[tuple[re.Pattern[str], Rule]] = [
    # Dovecot, Courier, Exchange, Coremail. Before the lock: "too many ... in use".
    _words(
        r"too many (?:simultaneous |concurrent )?(?:connections|logins|sessions)|connection limit|"
        r"maximum (?:number of )?connections|connections? exceed|rate limit|throttl|too (?:often|frequent)|"
        r"minimum (?:of|interval)|login delay",
        Throttled,
        FEWER_REMEDY,
    ),
    _words(
        r"account[^.]{0,40}(?:lock|disable|suspend|expire)|(?:lock|disable|suspend|expire)\w* account",
        Denied,
        LOGIN_REMEDY,
    ),
    # qpopper, UW, Cyrus, Courier, Dovecot, MDaemon, hMailServer.
    _words(
        r"\block(?:ed)?\b|in use|is busy|already (?:open|logged|connected)|another (?:session|pop|process|client)",
        Transient,
        LOCKED_REMEDY,
    ),
    # Gmail, Yahoo, iCloud, QQ, 163.
    _words(
        r"web ?login|application[- ]specific|app(?:lication)? password|authori[sz]ation code|授权码",
        LoginDenied,
        OTHER_LOGIN_REMEDY,
    ),
    _words(
        r"pop3? ?(?:access )?(?:is |has been )?(?:disabled|not enabled|not allowed)|not (?:enabled|allowed) for pop|"
        r"enable pop",
        LoginDenied,
        DISABLED_REMEDY,
    ),
    _words(
        r"must (?:issue|use) (?:a )?(?:stls|tls|ssl)|"
        r"(?:plain ?text|cleartext)[^.]{0,40}(?:disallow|disabled|not allow)|"
        r"encryption (?:is )?required|secure connection",
        Denied,
        ENCRYPT_REMEDY,
    ),
    _words(
        r"try (?:again )?later|temporar|unavailable|shutting down|restart|server busy|system busy|please retry|"
        r"timed? ?out",
        Transient,
        LATER_REMEDY,
    ),
]
"""Servers' own words, tried in order where no code decided."""

_DEFAULT: dict[Doing, Rule] = {
    "greeting": Rule(Transient, GREETING_REMEDY),
    "login": Rule(LoginDenied, LOGIN_REMEDY),
    "list": Rule(Transient, LIST_REMEDY),
    "read": Rule(Refused),
}


def grade(answer: Answer, doing: Doing, delay: float | None = None) -> AlimailError:
    """Return the error that a ``-ERR`` stands for. ``delay``: seconds between logins, as the server announced."""
    rule = _by_code(answer) or _by_words(answer) or _DEFAULT["login" if answer.code == "AUTH" else doing]
    message = f"the server said: {answer.words}"
    if rule.kind is Throttled:
        return Throttled(message, retry_after=delay, remedy=rule.remedy)
    return rule.kind(message, remedy=rule.remedy)


def _by_code(answer: Answer) -> Rule | None:
    # RFC 2449 §8: a code may be refined after a slash, and one that is not known counts as what it refines.
    parts = answer.code.split("/")
    names = ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((rule for name in names for code, rule in CODES if code == name), None)


def _by_words(answer: Answer) -> Rule | None:
    found = (rule for pattern, rule in WORDS if pattern.search(answer.text))
    return next((rule for rule in found if answer.code != "AUTH" or rule.kind is Denied), None)

"""From a server's answer to a grade and a remedy: response codes first (RFC 5530 and others), then its words.

Servers differ; each line of the tables was met in the wild. What no line knows is graded by what we were doing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeAlias

from attrs import frozen

from alimail_core import AlimailError, Denied, LoginDenied, OverQuota, Refused, Throttled, Transient
from alimail_imap.tokens import Status

Doing: TypeAlias = Literal["login", "append", "folder", "read"]
"""What was asked when the server said no: to log in, to store a message, about a folder, to read a message."""

Make: TypeAlias = Callable[[str, str], AlimailError]

QUOTA_REMEDY = "Make room in the new mailbox or raise its quota, then run the same command again."
LOGIN_REMEDY = (
    "See that the mailbox still exists. Check the user name (most servers want the whole address) and the password; "
    "where the server asks for a password for applications or has IMAP switched off for the account, set that right "
    "first."
)
LOG_REMEDY = "See the server's own log."
LATER_REMEDY = "The server asks to try later; alimail does that by itself."
FEWER_REMEDY = "Lower max_connections, or raise the server's limit of connections for a user or an address."


@frozen
class Rule:
    """One line of a table: the error to make and its remedy. ``doing`` limits where it holds; empty: anywhere."""

    make: Make
    remedy: str = ""
    doing: frozenset[str] = frozenset()


def _transient(message: str, remedy: str) -> AlimailError:
    return Transient(message, remedy=remedy)


def _throttled(message: str, remedy: str) -> AlimailError:
    return Throttled(message, retry_after=_seconds(message), remedy=remedy)


def _denied(message: str, remedy: str) -> AlimailError:
    return Denied(message, remedy=remedy)


def _login_denied(message: str, remedy: str) -> AlimailError:
    return LoginDenied(message, remedy=remedy)


def _over_quota(message: str, remedy: str) -> AlimailError:
    return OverQuota(message, remedy=remedy)


def _refused(about: str) -> Make:
    def make(message: str, remedy: str) -> AlimailError:
        return Refused(message, about=about, remedy=remedy)

    return make


_LOGIN = frozenset({"login"})
_APPEND = frozenset({"append"})
_READ = frozenset({"read"})

CODES: dict[str, list[Rule]] = {
    "UNAVAILABLE": [Rule(_transient, LATER_REMEDY)],
    "INUSE": [Rule(_transient, LATER_REMEDY)],
    # While reading, one damaged message causes these two again and again: it, and not the account, is at fault.
    "SERVERBUG": [Rule(_refused("other"), LOG_REMEDY, _READ), Rule(_transient, LOG_REMEDY)],
    "EXPUNGEISSUED": [Rule(_refused("other"), "", _READ), Rule(_transient)],
    "AUTHENTICATIONFAILED": [Rule(_login_denied, LOGIN_REMEDY)],
    "AUTHORIZATIONFAILED": [
        Rule(
            _denied,
            "See that the mailbox still exists, and give the administrator (master_user) the right to act for it.",
        )
    ],
    "EXPIRED": [Rule(_login_denied, "The password has expired: set a new one.")],
    "PRIVACYREQUIRED": [Rule(_denied, "The server wants encryption: use tls = implicit or starttls.")],
    "CONTACTADMIN": [Rule(_denied, "The server asks to contact its administrator.")],
    "WEBALERT": [Rule(_denied, "Log in with a browser once and answer what the provider asks.", _LOGIN)],
    "ALERT": [],
    # Nobody's mailbox is fuller by reading: there it is the traffic that was too much.
    "OVERQUOTA": [Rule(_throttled, LATER_REMEDY, _LOGIN | _READ), Rule(_over_quota, QUOTA_REMEDY)],
    "THROTTLED": [Rule(_throttled, LATER_REMEDY)],
    "LIMIT": [Rule(_throttled, FEWER_REMEDY, _LOGIN), Rule(_refused("size"), "", _APPEND)],
    "TOOBIG": [Rule(_refused("size"))],
    "APPENDLIMIT": [Rule(_refused("size"))],
    "TRYCREATE": [Rule(_refused("folder"), "", _APPEND)],
    "NONEXISTENT": [Rule(_refused("folder"), "", _APPEND)],
    "UNKNOWN-CTE": [Rule(_refused("form"))],
    "BADURL": [Rule(_refused("other"))],
    "NOPERM": [Rule(_refused("other"), "The account has no right to this folder.")],
    "CORRUPTION": [
        Rule(_refused("other"), "The server says that its own data are damaged; repair them there.")
    ],
    "CANNOT": [Rule(_refused("other"))],
}
"""Response codes in upper case; the first rule that holds for what was being done counts."""


def _words(pattern: str, rule: Rule) -> tuple[re.Pattern[str], Rule]:
    return re.compile(pattern, re.IGNORECASE), rule


WORDS: list[tuple[re.Pattern[str], Rule]] = [
    # Gmail says OVERQUOTA where it means bandwidth, Exchange tells its wish in milliseconds.
    _words(r"bandwidth limits|exceeded command|rate limit", Rule(_throttled, LATER_REMEDY)),
    _words(r"throttl|back-?off|too many (?:commands|requests)|slow down", Rule(_throttled, LATER_REMEDY)),
    # Dovecot, Courier, Gmail, Cyrus, Coremail.
    _words(
        r"too many (?:simultaneous )?(?:connections|logins|sessions)|maximum number of connections|"
        r"connection limit|connections? exceed",
        Rule(_throttled, FEWER_REMEDY),
    ),
    _words(
        r"(?:mailbox|quota|disk|storage)[^.]{0,20}\b(?:full|exceed)|over ?quota|not enough (?:disk )?space|"
        r"exceed[^.]{0,20}\bquota|quota[^.]{0,20}\blimit|insufficient (?:storage|space)",
        Rule(_over_quota, QUOTA_REMEDY, frozenset({"append", "folder"})),
    ),
    _words(r"internal (?:server )?error|system i/o error", Rule(_refused("other"), LOG_REMEDY, _READ)),
    _words(
        r"try (?:again )?later|temporar|unavailable|internal (?:server )?error|shutting down|restart|"
        r"server busy|system busy|please retry|database is locked|system i/o error",
        Rule(_transient, LATER_REMEDY),
    ),
    _words(
        r"too (?:large|big|long)|maximum (?:message )?size|size limit|exceeds? (?:the )?(?:maximum|limit|fixed)|"
        r"larger than",
        Rule(_refused("size"), "", _APPEND),
    ),
    _words(
        r"\bnul\b|null (?:byte|char)|bare (?:newline|lf|cr|line ?feed)|invalid header|blank line|line too long|"
        r"malformed|invalid (?:message|character|mime)|command (?:argument )?error|parse|8-?bit",
        Rule(_refused("form"), "", _APPEND),
    ),
    _words(
        r"imap (?:access )?(?:is )?(?:disabled|not enabled)|not allowed to use imap",
        Rule(_login_denied, LOGIN_REMEDY),
    ),
]
"""Servers' own words, tried in order where no code decided."""

_DEFAULT: dict[Doing, Rule] = {
    "login": Rule(_login_denied, LOGIN_REMEDY),
    "append": Rule(_refused("other")),
    "folder": Rule(_refused("other")),
    "read": Rule(_refused("other")),
}


def grade(status: Status, doing: Doing) -> AlimailError:
    """Return the error that an answer other than OK stands for, with the server's own words as its message."""
    rule = _by_words(status, doing) if status.code == "OVERQUOTA" else None
    rule = rule or _by_code(status, doing) or _by_words(status, doing)
    known = rule or _default(status, doing)
    error = known.make(f"the server said: {status.words()}", known.remedy)
    if isinstance(error, Refused):
        error.explained = rule is not None
    return error


def grade_bye(status: Status) -> Transient:
    """Return the error that a BYE stands for: the server is going, and often says why."""
    error = grade(status, "read")
    return error if isinstance(error, Transient) else Transient(f"the server said: {status.words()}")


def raise_passing(status: Status) -> None:
    """Raise what a NO stands for where it is the server's state and not what was asked for."""
    if not status.ok and isinstance(error := grade(status, "read"), Transient | Denied):
        raise error


def _by_code(status: Status, doing: Doing) -> Rule | None:
    return next((rule for rule in CODES.get(status.code, ()) if not rule.doing or doing in rule.doing), None)


def _by_words(status: Status, doing: Doing) -> Rule | None:
    if status.code == "OVERQUOTA":
        return next((rule for pattern, rule in WORDS[:2] if pattern.search(status.text)), None)
    found = (rule for pattern, rule in WORDS if pattern.search(status.text))
    return next((rule for rule in found if not rule.doing or doing in rule.doing), None)


def _default(status: Status, doing: Doing) -> Rule:
    if status.kind == "BYE":
        return Rule(_transient)
    if status.kind == "BAD" and doing == "append":
        return Rule(_refused("form"))
    return _DEFAULT[doing]


_SUGGESTED = re.compile(r"(\d{1,9}) *(milliseconds|msec|ms|seconds|secs?|s)\b", re.IGNORECASE)


def _seconds(text: str) -> float | None:
    match = _SUGGESTED.search(text)
    if match is None:
        return None
    return int(match[1]) / (1000 if match[2].lower().startswith("m") else 1)

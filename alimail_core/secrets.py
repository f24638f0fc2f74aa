"""References to secrets: where a password or token is found, and never what it is.

=========================  =====================================================================
``env:NAME``               an environment variable
``file:PATH``              the first line of a file (UTF-8), which only its owner should read
``keyring:SERVICE/USER``   the system's keyring; needs ``pip install "alimail[keyring]"``
``command:PROGRAM ARGS``   the first line that a program prints, such as an OAuth 2.0 access token
``prompt``                 asked on the terminal, once per process
=========================  =====================================================================

A roster's password column may hold the password itself (``Secret.literal``). No ``repr``, ``str``, message or
exception of this module tells a secret's value, nor what a command printed.
"""

from __future__ import annotations

import getpass
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from attrs import field, frozen

from alimail_core.errors import InputError, LoginDenied, Remark, Transient
from alimail_core.text import printable

MAX_OCTETS: Final = 64 * 1024
"""The longest secret that is read, in octets; tokens of several KB exist."""

COMMAND_SECONDS: Final = 60.0
"""How long a command may take to print a token."""

KEYRING_HINT: Final = 'pip install "alimail[keyring]"'

HOW_TO_REFER: Final = (
    "write env:NAME, file:PATH, keyring:SERVICE/USER, command:PROGRAM ARGS or prompt, never the secret itself"
)

_WITHOUT_PLACE: Final = {
    "literal": "given in the roster",
    "prompt": "prompt",
    "missing": "neither in the roster nor in the configuration",
}

_asked: dict[str, str] = {}
_asking = threading.Lock()


class Given(Protocol):
    """First passwords that people gave; plain data."""

    def secret(self, address: str) -> Secret:
        """Return where the one of an address is. Raises ``KeyError``."""


@frozen(repr=False)
class Secret:
    """Where a secret is found. Plain data that may be compared and may cross to another process.

    Made by ``parse_secret`` or ``Secret.literal``, not by hand.
    """

    scheme: str
    place: str
    """What follows the scheme; the value itself where ``scheme`` is ``"literal"``."""
    label: str = field(default="")
    """Whose secret it is, for the prompt and for messages."""
    given: Given | None = field(default=None, eq=False)
    """Of a first password: where it stands if it was not made."""

    @classmethod
    def literal(cls, value: str, label: str = "") -> Secret:
        """Hold ``value`` itself, as a roster's password column gives it."""
        return cls("literal", value, label)

    @classmethod
    def made(cls, file: Path, address: str, label: str = "", given: Given | None = None) -> Secret:
        """Refer to the first password of an account in the file where ``provision`` keeps those that it made.

        One that it did not make is looked for among those that are ``given``.
        """
        return cls("made", f"{os.path.abspath(file)}#{address}", label, given)

    @classmethod
    def missing(cls, label: str = "") -> Secret:
        """Stand for a secret that nobody has given yet: whoever asks for it is denied, with the remedy."""
        return cls("missing", "", label)

    def labelled(self, label: str) -> Secret:
        """Return the same reference, with whose secret it is."""
        return Secret(self.scheme, self.place, label, self.given)

    @property
    def reference(self) -> str:
        """Where the secret is found, safe to show. Of a command only the program: arguments may be secret."""
        if self.scheme == "command":
            program, *arguments = _argv(self.place)
            return printable(f"command:{program}{' ...' if arguments else ''}")
        if self.scheme in _WITHOUT_PLACE:
            return _WITHOUT_PLACE[self.scheme]
        return printable(f"{self.scheme}:{self.place}")

    @property
    def leaves_process(self) -> bool:
        """False where the value is known to this process alone, so that a worker elsewhere cannot get it."""
        return self.scheme != "prompt"

    @property
    def is_missing(self) -> bool:
        """Tell whether nobody has given it yet."""
        return self.scheme == "missing"

    @property
    def is_made(self) -> bool:
        """Tell whether it is one that ``provision`` makes."""
        return self.scheme == "made"

    def get(self) -> str:
        """Return the value, read anew at each call except what was asked at a prompt. Never empty.

        Raises ``LoginDenied`` with a remedy, or ``Transient`` where a command did not end in time.
        """
        value = _READERS[self.scheme](self)
        if not value:
            raise self._denied("is empty", "put the password or token there")
        return value

    def check(self) -> Remark | None:
        """Tell what is wrong or risky about the reference; ``None``: nothing. Asks nobody, and starts no program."""
        return _CHECKS[self.scheme](self) if self.scheme in _CHECKS else None

    def require(self) -> None:
        """Raise ``LoginDenied`` where ``check`` knows already that nobody can log in with it."""
        remark = self.check()
        if remark is not None and remark.level == "fault":
            raise LoginDenied(remark.text, remedy=remark.remedy)

    def __repr__(self) -> str:
        """Show the reference."""
        return f"Secret({self.reference!r})"

    __str__ = __repr__

    def _denied(self, what: str, remedy: str) -> LoginDenied:
        of = f" of {printable(self.label)}" if self.label else ""
        place = "" if self.is_missing else f" ({self.reference})"
        return LoginDenied(f"the secret{of}{place} {what}", remedy=remedy)

    def _fault(self, error: LoginDenied) -> Remark:
        return Remark("fault", error.message, error.remedy)


NO_SECRET: Final = Secret.literal("")
"""For a kind that needs none; whoever asks for its value is told that it is empty."""


def parse_secret(text: str, *, label: str = "", base: Path | None = None) -> Secret:
    """Read a reference. ``base`` is the folder that a relative ``file:`` path starts from (default: here).

    Raises ``InputError``, whose message does not repeat ``text``: it may be the secret itself.
    """
    fault = reference_fault(text)
    if fault is not None:
        of = f" of {printable(label)}" if label else ""
        raise InputError(f"what is given for the secret{of} {fault[0]}", remedy=fault[1])
    scheme, _, place = text.strip().partition(":")
    if scheme == "file":
        place = os.path.abspath((base or Path()) / os.path.expanduser(place))
    return Secret(scheme, place, label)


def reference_fault(text: str) -> tuple[str, str] | None:
    """Say what is wrong with a reference, and how to mend it; ``None``: nothing. Does not repeat ``text``."""
    scheme, colon, place = text.strip().partition(":")
    if scheme == "prompt" and not colon:
        return None
    if not colon or scheme not in _PLACES:
        return "is not a reference to a secret", HOW_TO_REFER
    pattern, remedy = _PLACES[scheme]
    if not pattern.fullmatch(place) or (scheme == "command" and not _can_split(place)):
        return f"is not complete after {scheme}:", remedy
    return None


def parse_cell(text: str, *, label: str = "", base: Path | None = None) -> Secret:
    """Read a roster's password cell: a reference, or the password itself.

    A password that looks like a reference is written ``literal:PASSWORD``. Raises ``InputError`` as
    ``parse_secret`` does, for a reference that is not complete.
    """
    if _is_reference(text):
        return parse_secret(text, label=label, base=base)
    return Secret.literal(text.removeprefix("literal:"), label)


def cell_fault(text: str) -> tuple[str, str] | None:
    """Say what is wrong with a roster's password cell, as ``reference_fault`` does."""
    if _is_reference(text):
        return reference_fault(text)
    return None if text.removeprefix("literal:") else ("is empty after literal:", "write literal:PASSWORD")


def _is_reference(text: str) -> bool:
    scheme, colon, _ = text.strip().partition(":")
    return scheme in _PLACES if colon else scheme == "prompt"


def file_remark(path: Path, what: str) -> Remark | None:
    """Tell whether others than its owner may read the file at ``path``, which holds ``what``."""
    if os.name == "nt":
        return Remark(
            "warning",
            f"who may read {printable(str(path))} is not checked on Windows, and it holds {what}",
            "see to its ACL: icacls FILE /inheritance:r /grant:r %USERNAME%:R",
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return None
    return Remark(
        "warning",
        f"others than its owner may open {printable(str(path))} (mode {mode:04o}), and it holds {what}",
        f"chmod 600 {shlex.quote(printable(str(path)))}",
    )


def _argv(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""  # a backslash is part of a path there
    return list(lexer)


def _can_split(command: str) -> bool:
    try:
        return bool(_argv(command))
    except ValueError:  # a quotation that does not end
        return False


_PLACES: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "env": (re.compile(r"[^=\s\0]+"), "write env:NAME, the name of an environment variable"),
    "file": (re.compile(r"[^\0\r\n]*[^\0\s][^\0\r\n]*"), "write file:PATH"),
    "keyring": (re.compile(r"[^\0\r\n]+/[^\0\r\n/]+"), "write keyring:SERVICE/USER"),
    "command": (
        re.compile(r"[^\0]+"),
        "write command:PROGRAM ARGS, quoted as for a shell, though none is used",
    ),
}


def _read_env(secret: Secret) -> str:
    if secret.place not in os.environ:
        raise secret._denied("is not set", f"set the environment variable {printable(secret.place)}")
    return os.environ[secret.place]


def _read_file(secret: Secret) -> str:
    try:
        with open(secret.place, "rb") as file:
            line = file.readline(MAX_OCTETS + 1)
    except OSError as error:
        raise secret._denied(f"cannot be read: {error.strerror}", "see that the file is there") from None
    return _first_line(secret, line)


def _first_line(secret: Secret, octets: bytes) -> str:
    line = octets.split(b"\n", 1)[0].removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf")
    if len(line) > MAX_OCTETS:
        raise secret._denied(
            f"has more than {MAX_OCTETS} octets in a line", "put nothing but the secret there"
        )
    try:
        return line.decode()
    except UnicodeDecodeError:
        # The error itself holds the octets, so it is not chained.
        raise secret._denied("is not UTF-8", "save it as UTF-8") from None


def _read_keyring(secret: Secret) -> str:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise _no_keyring(secret) from None
    service, _, user = secret.place.rpartition("/")
    try:
        value: str | None = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        kind = type(error).__name__
        raise secret._denied(f"is out of reach: the keyring says {kind}", "unlock the keyring") from None
    if value is None:
        raise secret._denied("is not in the keyring", f"keyring set {shlex.join([service, user])}")
    return value


def _no_keyring(secret: Secret) -> LoginDenied:
    return secret._denied("needs a keyring library that is not installed", KEYRING_HINT)


def _read_command(secret: Secret) -> str:
    try:
        done = subprocess.run(
            _argv(secret.place),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may tell what it should not
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Transient(f"{secret.reference} did not end within {COMMAND_SECONDS:.0f} seconds") from None
    except OSError as error:
        raise secret._denied(
            f"cannot be run: {error.strerror}", "see that the program is installed"
        ) from None
    if done.returncode:
        raise secret._denied(f"failed with exit code {done.returncode}", "run the command by hand")
    return _first_line(secret, done.stdout)


def _read_prompt(secret: Secret) -> str:
    with _asking:
        if secret.label not in _asked:
            _need_terminal(secret)
            of = f" of {printable(secret.label)}" if secret.label else ""
            try:
                value = getpass.getpass(f"Password{of}: ")
            except EOFError:
                raise secret._denied("was not given", "type the password, or use another reference") from None
            if not value:
                return ""  # not remembered: the next connect asks again
            _asked[secret.label] = value
        return _asked[secret.label]


def _need_terminal(secret: Secret) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise secret._denied("can be asked for on a terminal only", "use env:NAME or file:PATH")


def _read_made(secret: Secret) -> str:
    from alimail_core.provisioning.passwords import kept_password

    path, _, address = secret.place.rpartition("#")
    try:
        with suppress(KeyError):
            return kept_password(Path(path), address)
    except InputError as error:
        raise secret._denied(error.message, error.remedy) from None
    try:
        if secret.given is not None:
            return secret.given.secret(address).get()
        raise KeyError(address)
    except KeyError:
        raise secret._denied(
            "was not made: the file has no such address",
            "`alimail provision apply` makes the account; or write its password in the roster",
        ) from None


def _read_missing(secret: Secret) -> str:
    raise secret._denied(
        f"is missing: it is {_WITHOUT_PLACE['missing']}",
        "write it in the roster, or where it is (env:NAME, file:PATH); `alimail letters` writes to people for it",
    )


_READERS: Final[Mapping[str, Callable[[Secret], str]]] = {
    "env": _read_env,
    "file": _read_file,
    "keyring": _read_keyring,
    "command": _read_command,
    "prompt": _read_prompt,
    "literal": lambda secret: secret.place,
    "missing": _read_missing,
    "made": _read_made,
}


def _check_by_reading(secret: Secret) -> Remark | None:
    try:
        secret.get()
    except LoginDenied as error:
        return secret._fault(error)
    return None


def _check_file(secret: Secret) -> Remark | None:
    # What is no regular file, such as a shell's <(...), may give what it has to one reader alone.
    if os.path.isfile(secret.place) and (fault := _check_by_reading(secret)):
        return fault
    try:
        return file_remark(Path(secret.place), "a secret")
    except OSError as error:
        return secret._fault(
            secret._denied(f"cannot be read: {error.strerror}", "see that the file is there")
        )


def _check_keyring(secret: Secret) -> Remark | None:
    return None if importlib.util.find_spec("keyring") else secret._fault(_no_keyring(secret))


def _check_command(secret: Secret) -> Remark | None:
    if shutil.which(_argv(secret.place)[0]):
        return None
    return secret._fault(
        secret._denied("names no program", "see that the program is installed and on the PATH")
    )


def _check_prompt(secret: Secret) -> Remark | None:
    try:
        _need_terminal(secret)
    except LoginDenied as error:
        return secret._fault(error)
    return None


_CHECKS: Final[Mapping[str, Callable[[Secret], Remark | None]]] = {
    "env": _check_by_reading,
    "file": _check_file,
    "keyring": _check_keyring,
    "command": _check_command,
    "prompt": _check_prompt,
    "missing": _check_by_reading,
    "made": _check_by_reading,
}

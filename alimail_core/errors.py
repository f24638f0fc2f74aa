"""Every error that alimail raises on purpose, in few grades that decide what the engine does.

A plug-in alone can judge what its server meant, so the plug-in chooses the grade. A bug is none of these
classes and is never swallowed.

=============  ==============================================  =====================================
grade          means                                           the engine
=============  ==============================================  =====================================
``Transient``  connection lost, server busy; nothing settled   reconnects, backs off, goes on
``Throttled``  the server asks for a slower pace               waits ``retry_after``, lowers the pace
``InDoubt``    it may have happened                            looks; never blindly repeats
``Refused``    this message or folder will not be taken        records it, goes on with the rest
``Denied``     this account cannot go on                       stops the account, tells the remedy
=============  ==============================================  =====================================

No message of any error may hold a password or a message's content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen


class AlimailError(Exception):
    """The root. ``str()`` is one line for a person; ``remedy`` says what to do next.

    ``exit_code`` is the process's exit code where this error ends it.
    """

    exit_code: ClassVar[int] = 1
    of_a_side: ClassVar[bool] = True
    """It tells of the server that was asked, whenever it comes while one is."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def name_side(self, side: str) -> None:
        """Say first, once, which side of an account it was: both have a server, and often the same user.

        ``side`` is such as ``source mail.old.example``; a host that is told anyhow is not told twice.
        """
        word, _, host = side.partition(" ")
        if self.of_a_side and side and not self.message.startswith((f"{side}: ", f"{word}: ")):
            self.message = f"{word if host in self.message else side}: {self.message}"
            self.args = (self.message,)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders with executors; keyword-only arguments need this to survive pickling.
        return (_rebuild, (type(self), self.message, self.__dict__))


def _rebuild(cls: type[AlimailError], message: str, state: dict[str, object]) -> AlimailError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class Transient(AlimailError):
    """Passing: reconnect, back off, go on. Whatever was under way and unanswered counts as in doubt."""


class Throttled(Transient):
    """The server asks for a slower pace. ``retry_after`` in seconds, ``None`` where it did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after


class Unreached(Transient):
    """A server let nobody in: no connection, or the connection was lost before anything could be asked.

    ``was_reached``: somebody got in earlier in this run, so that it deserves more patience.
    """

    def __init__(self, message: str, *, was_reached: bool = False, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.was_reached = was_reached


class InDoubt(AlimailError):
    """The effect may or may not have happened.

    ``over``: the server has answered, so nothing can still happen and one look decides (such as a NO to a
    MULTIAPPEND). Otherwise the server may yet finish what it was sent, and the engine waits before it repeats.
    """

    def __init__(self, message: str, *, over: bool = False, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.over = over


class Refused(AlimailError):
    """The server certainly will not take this one message or folder; its own words are the message.

    ``about``: ``"form"`` (its octets: NUL, bare CR or LF, long lines), ``"size"``, ``"folder"`` (not the
    message's fault: its folder is not there, which the engine then makes again), or ``"other"``.
    ``explained``: the answer gives a reason. One without any may have been said once, by whatever stands on the way:
    the engine looks for the message, and offers it once more.
    """

    def __init__(
        self, message: str, *, about: str = "other", explained: bool = True, remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.about = about
        self.explained = explained


class Denied(AlimailError):
    """This account cannot go on until somebody acts: login refused, quota full, rights missing."""


class LoginDenied(Denied):
    """Nobody gets in until its owner or administrator acts: a secret is missing, or the server refuses it."""


class OverQuota(Denied):
    """The target mailbox is full. What was being sent was not stored."""


class Interrupted(AlimailError):
    """The run was asked to stop and did so between two batches. ``exit_code`` is 128 + the signal's number."""

    of_a_side = False

    def __init__(self, message: str, *, signal: int = 2, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.signal = signal


class Disabled(Interrupted):
    """The account is disabled by wish: it did not begin, or stopped between two batches."""


class LeaseLost(AlimailError):
    """Another process has taken over the account; this one stopped before its next write."""

    of_a_side = False


class LeaseHeld(AlimailError):
    """Another living process works on the account."""


class LedgerError(AlimailError):
    """The ledger cannot be used: foreign, truncated, newer, locked, another migration's. It was not touched."""

    of_a_side = False


class PluginError(AlimailError):
    """A plug-in is missing, fails to load or breaks its contract; the message names its distribution."""

    exit_code = 2


@frozen
class Fault:
    """One fault in what a user wrote. ``where`` is such as ``"alimail.toml:12"`` or ``"roster.xlsx Sheet1!B7"``."""

    where: str
    message: str
    remedy: str = ""


@frozen
class Remark:
    """Something worth telling, such as what ``check`` finds. ``remedy`` is empty where nothing need be done."""

    level: str
    """``"ok"``, ``"note"``, ``"warning"`` or ``"fault"``."""
    text: str
    remedy: str = ""


class InputError(AlimailError):
    """Bad usage, configuration or roster: every fault that could be found, reported together.

    ``remarks`` is what else was found, such as a column that is not read: it may be what a fault comes from.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        faults: Sequence[Fault] = (),
        *,
        remarks: Sequence[Remark] = (),
        remedy: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.faults = tuple(faults)
        self.remarks = tuple(remarks)

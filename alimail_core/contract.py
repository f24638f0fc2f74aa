"""What a source, a sink and a provisioner promise: the page that a plug-in author implements.

Terminology
    account
        One mailbox pair: a source address and a target address.
    folder
        Named by a *path*, a tuple of Unicode names. The inbox MUST be ``("INBOX",)`` on every side.
    key
        A side's own stable name for a message in a folder. Opaque to the core. A key MUST name the same
        message for ever or nothing: whatever epoch it depends on is part of it (IMAP: ``uidvalidity/uid``).
    witness
        The size and internal date listed with a key. A key counts only while its witness holds, because some
        servers give old keys to new messages.
    cursor
        A side's note of how far a listing has come. The core stores it only after everything that the listing
        told is settled, and hands it back unread.
    epoch
        A string that changes when a folder's old keys have lost their meaning.

Rules that hold for every method
    * One thread at a time uses a side. What runs inside, such as a pool of connections, is its own affair.
    * A lazy iterator may be left unfinished, and other methods may be called while ``changes`` is suspended
      between two folders; within one it is not resumed after that. ``fetch`` and ``append`` run to their end, or
      are closed, before the next call.
    * A method that loses its connection raises ``Transient``; the engine then closes the side, waits, opens a
      new one and goes on from its ledger. **Nothing retries inside a method that writes**, except what the
      server certainly did not act upon.
    * Errors are those of ``alimail_core.errors``; any other exception is a bug and ends the account's pass.
    * Octets are untouched, in and out: no line end is mended, no header added.
    * Flags are spelt ``\\Seen``, ``\\Answered``, ``\\Flagged``, ``\\Draft`` (so capitalised), keywords as the
      server spells them. ``\\Recent`` is never told and never written.

``alimail_core.testing`` ships ``SourceContract``, ``SinkContract`` and ``ProvisionerContract``, which try every
promise of this page.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from attrs import field, frozen

from alimail_core.errors import Remark
from alimail_core.model import (
    Batch,
    Changes,
    Cursor,
    Entry,
    FlagChange,
    Folder,
    FolderPath,
    Gone,
    Headers,
    LeftBehind,
    MailCount,
    Message,
    Moved,
    NotStored,
    Quota,
    SinkTraits,
    SpecialUse,
    Stored,
    Traits,
    Unreadable,
    Unusable,
)
from alimail_core.provisioning.directory import (
    Directory,
    ProvisionerTraits,
    Step,
    StepDone,
    StepNotDone,
    Thing,
)
from alimail_core.seam import Clock


class Source(ABC):
    """One account's open mailbox, read-only by construction: no method of a source can change it.

    A source MUST NOT set ``\\Seen``, expunge, or lock out the mailbox's owner.
    """

    @property
    @abstractmethod
    def traits(self) -> Traits:
        """What this endpoint is like; may be asked from the moment that it is open."""

    @abstractmethod
    def folders(self) -> Iterable[Folder]:
        """List every folder of the account, containers included, each path once.

        Called once or twice a pass. Shared folders of other users MUST NOT be listed; nor public folders, unless an
        option names the one account that brings them.
        """

    @abstractmethod
    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Tell what each folder holds, or what changed in it since its cursor.

        Each request is answered, in the order of the requests, by one or more pages of ``Changes`` in a row or
        by one ``Unusable``. A cursor of ``None`` asks for everything and MUST be answered by ``complete``
        pages. A cursor that the side cannot use any more is treated as ``None``. A ``complete`` answer is
        always allowed; the engine compares it with its ledger. An answer in a new epoch MUST be ``complete``.
        A message that arrives while the folder is listed MUST be told now or at the next call with the
        returned cursor; telling it twice is harmless.

        Many folders are asked at once so that round trips can be shared; ``requests`` is read lazily.
        Raises ``Transient`` or ``Denied``; the pages given before stay true.
        """

    @abstractmethod
    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give Message-ID, Date, From and Subject of the entries, in any order, without their bodies.

        An entry that is gone is left out. A side that has no cheaper way may read the whole message.
        """

    @abstractmethod
    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give exactly one answer for each entry asked, in any order, with the message's octets untouched.

        ``Gone`` only after the server was asked again whether the key exists and answered that it does not, or
        where the entry's witness no longer holds. What the server has and will not give is ``Unreadable``, and so may
        be what it has under another key by now.
        ``requests`` is read lazily and may be long; a side MUST NOT hold more than a few messages
        (``BATCH_OCTETS``, or one larger message) that were not yet taken from the iterator.
        """

    @abstractmethod
    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List, as it is at this moment, each of the keys that exists, with its full witness and flags."""

    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        """Wait until a message has arrived in a folder since its cursor; tell whether one has.

        Optional: called only where ``traits.tells_news``, over a side that is opened for nothing else. Answers
        ``True`` at once where one had arrived before, or where that cannot be known: a wrong ``True`` costs a
        look. Answers ``False`` as soon as ``over()`` is true, which is asked at least once a second. Other
        changes need not be told. Raises ``Refused`` where the server will not tell: it is asked at intervals then.
        """
        raise NotImplementedError("traits.tells_news is false")

    def remarks(self) -> Iterable[Remark]:
        """Tell what an administrator should know of this endpoint; ``alimail check`` prints it."""
        return ()

    def left_behind(self) -> Iterable[LeftBehind]:
        """Name the folders that hold something else than mail, as far as they were listed; the report tells them."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Let go of the server, politely where it still listens. Idempotent; never raises."""

    def __enter__(self) -> Self:
        """Return the side itself: opening happened in the factory."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened inside."""
        self.close()


class Sink(Source):
    """A mailbox that is written to. Everything that was written can be read back by the source's methods."""

    @property
    @abstractmethod
    def traits(self) -> SinkTraits:
        """What this endpoint is like and can do. A limit that it learns later is heard by what it refuses."""

    def quota(self) -> Quota | None:
        """Return storage used and allowed, ``None`` where the server does not say."""
        return None

    @abstractmethod
    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        """Make folders, parents first, subscribed, with special use where the server can; answer each in order.

        Idempotent: a folder that exists is subscribed to, and answered as it is. The answer tells what the server
        really made, which may be another path; ``Unusable`` where it will not make it.
        """

    @abstractmethod
    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store messages: a stream of batches in, a stream with exactly one outcome for each delivery out.

        The engine writes its intent to disk before it hands a batch over: **taking a batch from ``batches`` is
        the permission to send it**, and a sink may take several before it has answered the first, as many as
        it can keep in flight. It MUST answer what it has taken before it waits for ``batches`` to end; and it
        MUST NOT send any octet of a delivery more than once, unless the server certainly stored nothing.

        Octets are sent as they are, with ``flags`` and ``internal_date`` in the same command; a date of
        ``None`` leaves it to the server. Order of effects is free.

        ``Stored`` only on the server's word. ``NotStored(Refused)`` where it certainly said no to this message
        (with ``explained=False`` where it gave no reason), ``NotStored(InDoubt)`` where the message was sent at
        least in part and its answer never came (``over=True`` where an answer came that leaves open which messages of
        a command were stored),
        ``NotStored(Transient)`` where nothing of it can have been acted upon. When the connection is lost or
        the account cannot go on, the sink first answers everything that it took and then raises ``Transient``,
        ``Throttled``, ``OverQuota`` or ``Denied``. A delivery that is left without outcome counts as in doubt.
        """

    @abstractmethod
    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        """Add and remove flags, never replace. Idempotent. A key that is gone is passed over."""

    @abstractmethod
    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        """Move exactly these messages, atomically as the server has it; answer those that were moved.

        Called only where ``traits.moves``. Raises ``InDoubt`` where the answer was lost.
        """

    @abstractmethod
    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        """Remove exactly these messages and no other; answer the keys that were removed.

        Called only where ``traits.moves``, and only for messages that the engine wrote itself and has just read
        again. Idempotent: a key that is gone is left out.
        """


class Provisioner(ABC):
    """An organisation's directory at its mail service, open to be read and to take steps of a plan.

    Names: a department is named by its path, an employee or group by its address; case and width tell no two apart
    (``alimail_core.provisioning.directory`` has the words). Every step is in the ledger before it is handed over. The
    engine compares the directory anew after whatever went wrong, and never asks for anything to be deleted.
    """

    @property
    @abstractmethod
    def traits(self) -> ProvisionerTraits:
        """What this directory can hold; nothing else is ever asked for."""

    @abstractmethod
    def read(self) -> Directory:
        """Tell the whole directory as it is: called once before a plan, so pages and parallel requests pay.

        A field that the service has and that is empty is ``""``; ``None`` only where it was not told. What a
        directory holds beyond the model is left out, never changed.
        """

    @abstractmethod
    def look(self, thing: Thing) -> Thing | None:
        """Ask for one thing, by its name alone, as it is at this moment; ``None``: it is not there.

        This decides about steps in doubt, so it MUST NOT answer from what ``read`` has told, and should ask in the
        way that sees a change soonest.
        """

    @abstractmethod
    def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
        """Carry out steps that do not hang on one another; give exactly one outcome for each, in any order.

        **Taking a step from ``steps`` is the permission to begin it**; several may be under way at once, as many as
        the service bears. A step MUST set what it names and leave every other field, and sets only grow. What is
        there already MUST NOT be made a second time, and what is not there MUST NOT be made by a change.

        ``StepDone`` only on the server's word for all of the step. ``StepNotDone(Refused)`` where the server will
        not, which stops no other step; ``StepNotDone(InDoubt)`` where it was asked and its answer never came, or
        where only a part is certainly done; ``StepNotDone(Transient)`` where nothing can have been acted upon.
        Nothing is sent twice, unless the server certainly did nothing. When the service is lost or nobody may go on,
        what was taken is answered first, and then ``Transient``, ``Throttled`` or ``Denied`` is raised. A step
        without outcome counts as in doubt.
        """

    def count_mail(self, addresses: Iterable[str]) -> Iterator[MailCount]:
        """Tell how many messages each folder of these mailboxes has, by the service's own books.

        Exactly one answer for each address, in any order. Optional: called only where ``traits.counts_mail``, for a
        proof that does not ask the sink. Raises ``Transient`` or ``Denied`` where nobody may go on.
        """
        raise NotImplementedError("traits.counts_mail is false")

    def remarks(self, domains: Collection[str]) -> Iterable[Remark]:
        """Try with few requests what reading and steps will need, and tell an administrator; nothing is changed.

        ``domains`` are those in which accounts shall be made. What is not allowed is a remark with its remedy and no
        exception, so that all of it is told at once. ``alimail check`` prints it. Raises ``Transient``.
        """
        return ()

    @abstractmethod
    def close(self) -> None:
        """Let go of the service. Idempotent; never raises."""

    def __enter__(self) -> Self:
        """Return the provisioner itself: opening happened in the factory."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened inside."""
        self.close()


@frozen
class Credentials:
    """How an account logs in. ``password`` is asked at every connect, so that a token may be renewed."""

    user: str
    password: Callable[[], str] = field(repr=False)


Options = TypeVar("Options")


def option(help: str, *, default: Any = ..., secret: bool = False, account: bool = False) -> Any:
    """Declare one field of an options class: its help text, and its default unless it must be given.

    ``alimail plugins show NAME``, the reference and configuration errors are made from these. ``account``: the value
    is the ``Credentials.user`` of the one account that this option is for; where a configuration has no such account,
    it is refused.
    """
    metadata = {"help": help, "secret": secret, "account": account}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


@frozen
class SourceKind(Generic[Options]):
    """What a source plug-in registers: a name, an attrs class of options, and a factory.

    ``options`` is an attrs class with fields made by ``option()``; a configuration's table or a URL's host,
    port and query are structured into it. A field ``host`` that must be given takes the URL's host, a field ``port``
    its port; where there is no such ``host``, the URL names an address: ``alimail://user@domain``.

    A property ``address``, ``(host, port)``, says which server it is: its keys are trusted until that, the kind or
    the account's user changes. Without it any changed option is a change of server, and costs a look at everything.
    A property ``needs_secret`` says of these options what the kind's says of all, such as where a ticket counts.
    """

    name: str
    """Also the URL scheme, such as ``imap``."""
    summary: str
    options: type[Options]
    open: Callable[[Options, Credentials, Clock], Source]
    """Connect and log in. Raises ``Transient``, ``Denied`` (login refused, certificate not trusted) or
    ``InputError``; leaves no connection behind when it does. Called anew after each ``Transient``."""
    needs_secret: bool = True
    """False: whoever can reach it may read it, and nobody is asked for a password."""
    leaves_behind: tuple[str, ...] = ()
    """What people expect of a mailbox and this kind cannot bring, in words for the report, such as ``"folders"``."""
    probe: Callable[[Options], Options] | None = None
    """For options that are ``ServerOptions``: return them with what ``tls = auto`` is for this server, found by
    trying and without logging in; ``find_tls`` does most of it. Raises what ``open`` raises. The core calls it before
    the first ``open``, and keeps the answer. Without it ``auto`` is ``implicit``."""


@frozen
class SinkKind(Generic[Options]):
    """What a sink plug-in registers; see ``SourceKind``.

    An option ``append_connections`` is taken for the number of connections that write to one mailbox, and is 1
    where messages shall keep their order (``order = strict``).
    """

    name: str
    summary: str
    options: type[Options]
    open: Callable[[Options, Credentials, Clock], Sink]
    needs_secret: bool = True
    probe: Callable[[Options], Options] | None = None


def needs_secret(kind: SourceKind[Any] | SinkKind[Any], options: object) -> bool:
    """Tell whether a side has to be given a secret: what its options say, otherwise what its kind does."""
    return bool(getattr(options, "needs_secret", kind.needs_secret))


@frozen
class ProvisionerKind(Generic[Options]):
    """What a provisioner plug-in registers: a name, an attrs class of options, and a factory.

    An organisation has one directory, so what it needs to get in is among the options (``option(secret=True)``).
    """

    name: str
    summary: str
    options: type[Options]
    open: Callable[[Options, Clock], Provisioner]
    """Get in. Raises ``Transient``, ``Denied`` or ``InputError``; called anew after each ``Transient``."""


@frozen
class ExecutorKind:
    """A way to run accounts side by side. ``open(workers)`` gives any ``concurrent.futures.Executor``."""

    name: str
    summary: str
    open: Callable[[int], Executor]
    same_process: bool
    """False: work is pickled, and secrets that are asked for at a prompt cannot be used."""


@frozen
class MapContext:
    """What a folder-mapping hook may know beyond the folder."""

    source_address: str
    target_address: str
    policy: str


@frozen
class Argument:
    """One argument of a plug-in's command: ``name`` positional, or ``--name`` an option."""

    name: str
    help: str
    default: str | None = None
    flag: bool = False
    many: bool = False
    """It may be given several times: its value is a list of texts, empty where it was not given."""
    short: str = ""
    """A second name of an option, such as ``-o``."""


@frozen
class Command:
    """A verb that a plug-in adds to the CLI, or a group of them, such as ``alimail exchange prepare``.

    ``run`` gets the arguments by name, as text, ``bool`` (``flag``) or a list (``many``), and returns an exit code.
    What it may show and read with stands in ``alimail_core.commands``.
    """

    name: str
    help: str
    run: Callable[[dict[str, Any]], int] | None = None
    arguments: Sequence[Argument] = ()
    commands: Sequence[Command] = ()
    """The verbs of a group, which has neither ``run`` nor ``arguments``."""

"""What one attempt at a pass carries from step to step: the open ends, the folders in pairs, the counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from itertools import chain
from typing import Self

from attrs import Factory, define, field, fields, frozen

from alimail_core.contract import Sink, Source
from alimail_core.errors import Denied, Disabled, Interrupted, Refused
from alimail_core.events import Event, Noted, Observer, ProblemFound, Waiting
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Book, Row
from alimail_core.messages import EVERYTHING, MessageFilter
from alimail_core.model import Changes, Cursor, Folder, FolderPath, SpecialUse, Unusable
from alimail_core.options import TransferOptions
from alimail_core.seam import Clock, Stop

NOT_CARRIED = frozenset({"\\Deleted", "\\Recent"})
"""Flags that are left behind: a message marked for deletion is carried without the mark."""

_AHEAD = 5_000
"""Entries after which no further page is held, of what a side tells before it is needed."""

_SLICE = 2.0
"""Seconds between two looks at whether a waiting account may still go on."""


@define
class Counts:
    """What a pass has done so far, over all its attempts."""

    copied: int = 0
    adopted: int = 0
    octets: int = 0
    lost: Counter[int] = Factory(Counter)
    """By message: how often the connection died while it alone was on the line."""
    choked: Counter[int] = Factory(Counter)
    """By message: how often the source failed while it alone was asked for."""
    homeless: Counter[int] = Factory(Counter)
    """By target folder: in how many attempts it was not there as its messages came."""
    unexplained: set[int] = Factory(set)
    """Messages that were refused without a reason, and are offered once more."""
    refused: dict[tuple[int, bytes], Refused] = Factory(dict)
    """By target folder and digest: what was refused, for its duplicates where those are collapsed."""
    careful: bool = False
    """The source failed repeatedly while it was asked for many messages at once."""
    piecemeal: bool = False
    """Attempts ended twice in a row before anything was achieved: from now on each step is taken for one folder after
    another, so that what a short connection achieves, or a server that asks for time bears, stays achieved."""
    listed: dict[int, Cursor] = Factory(dict)
    """By source folder: how far its listing came in this pass. Piecemeal, it is not listed again."""
    looked: set[int] = Factory(set)
    """Target folders that were looked at in this pass, and nothing was sent there since."""
    latest: dict[int, int] = Factory(dict)
    """By target folder that was looked at: the id of the last stranger that stood there then."""
    places: int = 0
    """Folders that the target had, at the most."""
    asked_for: frozenset[FolderPath] = frozenset()
    """What the target was asked to make as the last attempt ended: perhaps made, and not subscribed to."""
    refilled: bool = False
    """What the target had lost or refused as this pass began is pending again."""
    deeds: int = 0
    """Whatever else was achieved and no count of messages tells: folders listed, flags carried, copies removed."""
    dropped: Counter[str] = Factory(Counter)
    """Flags that were left behind, and how often: keywords that the target could not store, and ``\\Deleted``."""


@define
class Target:
    """A folder of the sink that this pass works with."""

    id: int
    folder: Folder
    storable: frozenset[str] | None = None
    """Flags that it can store; ``None``: any. Known once it was surveyed."""
    surveyed: float | None = None
    """When this attempt began to look at it last, by the ledger's clock; ``None``: not yet."""
    special_use: SpecialUse | None = None
    strangers: frozenset[Hashable] = frozenset()
    """The ``names`` of its strangers, where they are so few that what is pending is held against them only when it
    is fetched: a message that shares one is put aside."""
    remade: bool = False
    """It stood there in an earlier pass, was missing now, and was made again."""


@frozen
class Pair:
    """A source folder and where its messages go."""

    id: int
    source: Folder
    target: Target


@define
class Run:
    """One pass over one account, over all its attempts: its ledger, its wishes, its counters."""

    account: str
    book: Book
    options: TransferOptions
    policy: FolderPolicy
    map_folder: Callable[[Folder], FolderPath | None]
    observe: Observer
    clock: Clock
    stop: Stop
    refill: bool = False
    """Once the target was looked at: carry again what it lost or refused."""
    messages: MessageFilter = EVERYTHING
    """Which messages are carried."""
    trial: int | None = None
    """How many of each folder's newest messages this pass carries at most; ``None``: all."""
    counts: Counts = Factory(Counts)
    began: float = Factory(lambda run: run.book.now, takes_self=True)
    """When the pass began, by the ledger's clock."""

    def tell(self, event: Event) -> None:
        """Let the observers see what happened."""
        self.observe(event)

    def note(self, text: str, count: int = 1) -> None:
        """Count, for the report, something that cost no message."""
        self.book.add_note(text, count)
        self.tell(Noted(self.account, text, count))

    def note_once(self, text: str, count: int = 1) -> None:
        """Note what is true of the account as a whole, however often it is seen."""
        if not self.book.noted(text):
            self.note(text, count)

    @property
    def left_out_by(self) -> str:
        """Say what leaves messages out in this pass; empty: nothing does."""
        trial = "" if self.trial is None else f"a trial with the newest {self.trial:,} of each folder"
        return ", ".join(filter(None, (str(self.messages), trial)))

    def check_in(self) -> None:
        """Between two batches: may the account go on, by its user's and its owner's leave?"""
        asked_to_stop, enabled = self.book.wishes()
        if self.stop.is_set() or asked_to_stop:
            raise Interrupted(
                "stopped on request", signal=self.stop.signal, remedy="Run the same command again."
            )
        if not enabled:
            raise Disabled("the account was disabled", remedy="`alimail enable` lets it go on.")

    def keep_limit(self, octets: int) -> None:
        """Before a batch goes: does the migration stay within its limit, with ``octets`` of ours on their way?

        Asked in the intent's transaction: two accounts would else both take the room that is left for one. (On
        PostgreSQL, where transactions do not wait for one another, they still may.)
        """
        limit = self.options.limit_octets
        if limit is not None and self.book.total_octets() + octets > limit:
            raise Denied(
                f"the migration has reached its limit of {limit:,} octets",
                remedy="Alibaba Mail takes 1 TB in one migration: ask its support, then raise `limit_octets`.",
            )

    def wait(self, seconds: float, reason: str) -> None:
        """Wait visibly; a wish to stop, or a disabled account, ends it within seconds."""
        self.tell(Waiting(self.account, seconds, reason))
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.check_in()
            self.clock.sleep(min(left, _SLICE), self.stop.event)


@frozen
class _Ahead:
    """What a side was asked before its answer was needed."""

    began: float
    """When it was asked, by the ledger's clock."""
    paths: frozenset[FolderPath]
    heard: Sequence[Changes | Unusable]
    rest: Generator[Changes | Unusable]


@define
class Pass(Run):
    """One attempt at a pass: it ends with its connections. What it learns of the folders ends with it too."""

    source: Source = field(kw_only=True)
    sink: Sink = field(kw_only=True)
    targets: dict[int, Target] = Factory(dict)
    pairs: list[Pair] = Factory(list)
    cursors: dict[int, Cursor] = Factory(dict)
    """How far the listing of each source folder came; stored once everything that it told is settled."""
    incomplete: bool = False
    """A folder of the source could not be listed, so what seems to be gone may only have moved there."""
    later: bool = False
    """An earlier pass has listed this account's source."""
    _ahead: dict[int, _Ahead] = Factory(dict)
    """By the id of the side."""

    @classmethod
    def of(cls, run: Run, source: Source, sink: Sink) -> Self:
        """Begin an attempt of a run."""
        shared = (getattr(run, attribute.name) for attribute in fields(Run))
        return cls(*shared, source=source, sink=sink)

    def changes(
        self, side: Source, requests: Iterable[tuple[Folder, Cursor | None]]
    ) -> Iterator[Changes | Unusable]:
        """Ask a side what changed in many folders, sharing round trips; piecemeal, one after another.

        Where it was asked ahead, that is its answer.
        """
        if self.counts.piecemeal:
            return chain.from_iterable(side.changes([one]) for one in requests)
        ahead = self._ahead.pop(id(side), None)
        return side.changes(requests) if ahead is None else _answered(ahead, side, list(requests))

    def ask_ahead(
        self, side: Source, folders: Sequence[Folder], enough: Callable[[], bool] = lambda: False
    ) -> None:
        """Ask a side what is in folders, and hear it until that is ``enough`` or much; ``changes`` hears the rest.

        The side may be in the middle of a folder then: nothing but ``changes`` may be asked of it next.
        """
        began, pages = self.book.now, _pages(side, ((folder, None) for folder in folders))
        heard: list[Changes | Unusable] = []
        entries = 0
        for page in pages:
            heard.append(page)
            entries += 0 if isinstance(page, Unusable) else len(page.entries)
            if entries >= _AHEAD or self.stop.is_set() or enough():
                break
        self._ahead[id(side)] = _Ahead(began, frozenset(folder.path for folder in folders), heard, pages)

    def asked_at(self, side: Source) -> float:
        """Return when a side was asked what ``changes`` will answer, by the ledger's clock."""
        ahead = self._ahead.get(id(side))
        return self.book.now if ahead is None else ahead.began

    def unseen(self) -> list[Target]:
        """List the target folders; piecemeal, those at which this pass has not looked since it wrote there."""
        return [target for target in self.targets.values() if not self._was_seen(target)]

    def is_known(self, target: Target) -> bool:
        """Tell whether a look at a target folder still counts: one of this attempt, or piecemeal of this pass."""
        return target.surveyed is not None or self._was_seen(target)

    def _was_seen(self, target: Target) -> bool:
        counts = self.counts
        return counts.piecemeal and target.id in counts.looked and target.id in counts.latest

    def by_id(self, folder_id: int | None) -> Pair | None:
        """Return the pair of a source folder's id, ``None`` where the folder is no longer listed."""
        return next((pair for pair in self.pairs if pair.id == folder_id), None)

    def problem(
        self,
        kind: str,
        reason: str,
        *,
        row: Row | None = None,
        pair: Pair | None = None,
        remedy: str = "",
        identifier: str = "",
    ) -> None:
        """Name, for the report, a message or folder that was not carried; a message by its Message-ID, if known."""
        if row is not None:
            pair = pair or self.by_id(row.folder_id)
        folder_id = pair.id if pair else None
        self.book.add_problem(
            kind, reason, remedy=remedy, row=row, folder_id=folder_id, identifier=identifier
        )
        path = pair.source.path if pair else ()
        self.tell(ProblemFound(self.account, path, row.key if row else None, reason, remedy))

    def storable(self, target: Target, flags: Iterable[str]) -> frozenset[str]:
        """Return what of these flags is for a target folder and can be held there.

        Flags are compared without case (RFC 9051 §2.3.2).
        """
        return _storable(frozenset(flags), target.storable)


def _pages(side: Source, requests: Iterable[tuple[Folder, Cursor | None]]) -> Generator[Changes | Unusable]:
    yield from side.changes(requests)


def _answered(
    ahead: _Ahead, side: Source, requests: Sequence[tuple[Folder, Cursor | None]]
) -> Iterator[Changes | Unusable]:
    """Give what was asked ahead, as far as it is wanted, and then the rest of what is.

    Nothing is heard any more once all that is wanted was told: a folder that nobody writes to may be large.
    """
    wanted = ahead.paths & {folder.path for folder, cursor in requests if cursor is None}
    untold = set(wanted)
    with closing(ahead.rest):
        pages = chain(ahead.heard, ahead.rest)
        while untold and (page := next(pages, None)) is not None:
            path = page.path if isinstance(page, Unusable) else page.folder.path
            if path in wanted:
                yield page
            if isinstance(page, Unusable) or page.cursor is not None:
                untold.discard(path)
    yield from side.changes((folder, cursor) for folder, cursor in requests if folder.path not in wanted)


@lru_cache(maxsize=1024)
def _storable(flags: frozenset[str], can: frozenset[str] | None) -> frozenset[str]:
    carried = flags - NOT_CARRIED
    if can is None:
        return carried
    lowered = {flag.lower() for flag in can}
    return frozenset(flag for flag in carried if flag.lower() in lowered)

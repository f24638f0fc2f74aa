"""What a pass over an account would do: which folder goes where, how much travels, what will not fit. Reads only.

The ledger is read where there is one, so that folders keep the places of earlier passes and only what still must
travel is counted; neither it nor the target is written. What stands in the target already, and would be adopted
instead of copied, is counted as travelling: to find it costs a look at every message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from typing import Final

from attrs import define, frozen

from alimail_core.check import fault_of, worst
from alimail_core.contract import MapContext, Sink, Source
from alimail_core.ends import Ends
from alimail_core.errors import AlimailError, Interrupted, LoginDenied, Remark
from alimail_core.folders.mapping import Mapped, Skipped, map_folders, places_kept
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Book, Ledger, Row, State
from alimail_core.ledger.earlier import LEFT, Earlier, earlier
from alimail_core.ledger.rows import FolderRow, contradicts
from alimail_core.messages import MessageFilter
from alimail_core.model import (
    Changes,
    Cursor,
    Entry,
    Folder,
    FolderPath,
    PathRules,
    SinkTraits,
    SpecialUse,
    Unusable,
)
from alimail_core.registry import Registry
from alimail_core.spec import AccountSpec

NOT_MOVED = ("rules", "forwards and auto-replies", "signatures", "contacts", "calendars", "rights and shares")
"""What people take for mail and what no mail protocol carries."""

TO_BE_MADE: Final = Remark(
    "warning",
    "the new mailbox is still to be made, or its first password does not let us in: taken for an empty one",
    "`alimail provision apply` or `alimail move` makes it; or write its password in the roster.",
)

_TRAVELS = frozenset({*LEFT, State.VANISHED})
_ASKED_TOGETHER = 200
"""Accounts of which the ledger is asked at once, before their plans begin: threads that ask wait for one another."""


@frozen
class FolderPlan:
    """One source folder: where it goes and why, and what of it still must travel.

    ``octets`` are as listed; where messages have no size (Exchange's), their part of the folder's own.
    """

    source: FolderPath
    target: FolderPath
    special_use: SpecialUse | None
    rule: str
    messages: int
    octets: int
    exists: bool
    """The target has the folder already."""
    left_out: int = 0
    """Messages that do not travel because the filter does not want them."""


@frozen
class AccountPlan:
    """What a pass over one account would do. ``level`` is the gravest of its remarks'."""

    source_address: str
    target_address: str
    folders: tuple[FolderPlan, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the account could not be looked at; its remarks tell why."""
        return not (self.folders or self.skipped) and self.level == "fault"

    @property
    def messages(self) -> int:
        """How many messages would travel."""
        return sum(folder.messages for folder in self.folders)

    @property
    def octets(self) -> int:
        """How many octets would travel, as the source lists them."""
        return sum(folder.octets for folder in self.folders)

    @property
    def level(self) -> str:
        """How grave it is: ``"fault"`` where something will not go."""
        return worst(self.remarks)


@frozen
class Known:
    """What the ledger knows of an account that ran before."""

    ledger: Ledger
    earlier: Earlier
    enabled: bool = True

    def read(self) -> Book:
        """Open its book, for the messages. It must be closed."""
        return self.ledger.read(self.earlier.account_id)


def known_of(
    accounts: Sequence[AccountSpec], ledger: Ledger | None
) -> Iterator[tuple[AccountSpec, Known | None]]:
    """Give each account with what the ledger knows of it, which is asked for many at once. Raises ``LedgerError``."""
    rows = {(row.source_address, row.target_address): row for row in (ledger.accounts() if ledger else [])}
    for start in range(0, len(accounts), _ASKED_TOGETHER):
        some = [
            (account, rows.get((account.source_address, account.target_address)))
            for account in accounts[start : start + _ASKED_TOGETHER]
        ]
        found = earlier(ledger, [row.id for _, row in some if row is not None]) if ledger else {}
        for account, row in some:
            yield account, Known(ledger, found[row.id], row.enabled) if ledger and row is not None else None


def plan_account(
    ends: Ends,
    known: Known | None,
    policy: FolderPolicy,
    messages: MessageFilter,
    *,
    tell_bug: Callable[[Exception], None],
) -> AccountPlan:
    """Plan one account; ``known`` of ``None``: it never ran. Raises ``Interrupted`` and nothing else."""
    account = ends.account
    if known is not None and not known.enabled:
        remark = Remark("note", "disabled: a run passes it over", "`alimail enable` lets it run.")
        return AccountPlan(account.source_address, account.target_address, remarks=(remark,))
    try:
        with ExitStack() as stack:
            source, sink = _opened(ends, stack)
            return _Planner(ends, known, policy, messages, source, sink, stack).plan()
    except Interrupted:
        raise
    except AlimailError as error:
        remarks = tuple(fault_of(error))
    except Exception as bug:  # noqa: BLE001 - one account's bug must not end the plan of the others
        tell_bug(bug)
        remarks = (Remark("fault", f"{type(bug).__name__}: a bug in alimail or in a plug-in", "Report it."),)
    return AccountPlan(account.source_address, account.target_address, remarks=remarks)


def _opened(ends: Ends, stack: ExitStack) -> tuple[Source, Sink | None]:
    """Open both ends; of the sink ``None`` where its mailbox is still to be made, as far as that can be seen."""
    target = ends.account.target_secret
    if target.is_made and target.check() is not None:
        return stack.enter_context(ends.source_alone("source")), None
    source = stack.enter_context(ends.source())
    try:
        return source, stack.enter_context(ends.sink())
    except LoginDenied:
        if not target.is_made:
            raise
        return source, None


def map_account(
    ends: Ends,
    previous: Mapping[FolderPath, FolderPath],
    policy: FolderPolicy,
    rules: PathRules,
    sources: Sequence[Folder],
    targets: Sequence[Folder],
) -> tuple[list[Mapped], list[Skipped]]:
    """Map an account's folders as its next pass will: by their ``previous`` places, then by wishes and policy."""
    return map_folders(
        sources,
        policy,
        rules,
        target_folders=targets,
        previous=previous,
        override=override_of(ends.registry, ends.account, policy),
    )


def previous_places(
    sources: Iterable[FolderRow], targets: Iterable[FolderRow]
) -> dict[FolderPath, FolderPath]:
    """Return where each folder of the source went in earlier passes, by what the ledger has of both sides."""
    paths = {row.id: row.path for row in targets}
    return {row.path: paths[row.target_id] for row in sources if row.target_id in paths}


def override_of(
    registry: Registry, account: AccountSpec, policy: FolderPolicy
) -> Callable[[Folder], FolderPath | None]:
    """Return what asks plug-ins for a folder's place; one that they name is beneath the account's root, as all is."""
    context = MapContext(account.source_address, account.target_address, policy.history)

    def override(folder: Folder) -> FolderPath | None:
        path = registry.map_folder(folder, context)
        return (*account.root, *path) if path else None

    return override


@define
class _Load:
    """What one folder has that still must travel."""

    messages: int = 0
    octets: int = 0
    left_out: int = 0
    unsized: int = 0
    """Messages of which no listing told a size."""


class _Planner:
    """One account's plan under way."""

    def __init__(
        self,
        ends: Ends,
        known: Known | None,
        policy: FolderPolicy,
        messages: MessageFilter,
        source: Source,
        sink: Sink | None,
        stack: ExitStack,
    ) -> None:
        """``sink`` of ``None``: the mailbox is still to be made, and is taken for an empty one."""
        self._ends = ends
        self._known = known
        self._policy = policy
        self._messages = messages
        self._source = source
        self._sink = sink
        self._stack = stack
        before = known.earlier if known else Earlier(0)
        self._rows = {row.path: row for row in before.sources}
        self._previous = previous_places(before.sources, before.targets)
        self._left = before.left
        self._placed_by = before.placed_by
        self._remarks: list[Remark] = []
        self._too_large = 0

    @property
    def _traits(self) -> SinkTraits:
        return self._sink.traits if self._sink else SinkTraits()

    def plan(self) -> AccountPlan:
        """Map the folders, count what travels, and see whether it fits."""
        sources = list(self._source.folders())
        targets = list(self._sink.folders()) if self._sink else []
        mapped, skipped = map_account(
            self._ends, self._previous, self._policy, self._traits.rules, sources, targets
        )
        if self._sink is None:
            self._remarks.append(TO_BE_MADE)
        self._see_what_keeps_its_place(sources, targets)
        loads = self._loads(
            [folder for folder in sources if folder.selectable], {row.source for row in mapped}
        )
        there = {folder.path for folder in targets}
        folders = tuple(_folder_plan(row, loads.get(row.source, _Load()), there) for row in mapped)
        account = self._ends.account
        self._see_whether_it_fits(sum(folder.octets for folder in folders))
        return AccountPlan(
            account.source_address, account.target_address, folders, tuple(skipped), tuple(self._remarks)
        )

    def _loads(self, sources: Sequence[Folder], moving: set[FolderPath]) -> dict[FolderPath, _Load]:
        """List what changed in each folder since its last pass, and count what travels."""
        loads: dict[FolderPath, _Load] = {}
        wanted = ((folder, self._cursor(folder)) for folder in sources if folder.path in moving)
        for page in self._source.changes(wanted):
            self._ends.check_in()
            if isinstance(page, Unusable):
                name = "/".join(page.path)
                self._remarks.append(
                    Remark(
                        "warning",
                        f"the folder {name} cannot be listed: {page.reason}",
                        "See to it at the source.",
                    )
                )
                continue
            if page.shortage is not None:
                name = "/".join(page.folder.path)
                text = f"the folder {name} is not told whole: {page.shortage.text}"
                self._remarks.append(Remark("warning", text, page.shortage.remedy))
            load = loads.get(page.folder.path)
            if load is None:
                load = loads[page.folder.path] = self._begun(page)
            for entry, flags in self._travelling(page):
                self._count(load, entry, flags)
        for folder in sources:
            load = loads.get(folder.path)
            if load is not None and folder.messages and folder.octets:
                load.octets += folder.octets * min(load.unsized, folder.messages) // folder.messages
        return loads

    @cached_property
    def _book(self) -> Book:
        """The account's messages in the ledger, opened where one must be looked up: of many accounts none must."""
        assert self._known is not None, "no row without it"
        return self._stack.enter_context(closing(self._known.read()))

    def _cursor(self, folder: Folder) -> Cursor | None:
        row = self._rows.get(folder.path)
        return row.cursor if row else None

    def _begun(self, page: Changes) -> _Load:
        """Begin with what an earlier pass left to do, where the listing tells only what changed since."""
        row = self._rows.get(page.folder.path)
        if page.complete or row is None or row.id not in self._left:
            return _Load()
        if not str(self._messages):
            messages, octets = self._left[row.id]
            return _Load(messages, octets, unsized=0 if octets else messages)
        load = _Load()
        for known in self._book.walk(row.id, LEFT):
            self._count(load, known.entry, known.known_flags(self._source.traits.lists_flags))
        return load

    def _count(self, load: _Load, entry: Entry, flags: frozenset[str] | None) -> None:
        """Count a message that no pass has dealt with: it travels, unless the filter surely does not want it."""
        if self._messages.wants(entry.size, entry.internal_date, flags) is False:
            load.left_out += 1
            return
        largest = self._traits.max_message_octets
        load.messages += 1
        load.octets += entry.size or 0
        load.unsized += entry.size is None
        self._too_large += largest is not None and (entry.size or 0) > largest

    def _travelling(self, page: Changes) -> Iterator[tuple[Entry, frozenset[str] | None]]:
        """Give the entries of a page that no earlier pass has dealt with, and their flags where they are known."""
        listed = self._source.traits.lists_flags
        row = self._rows.get(page.folder.path)
        known = {}
        if page.entries and row is not None and row.epoch == page.epoch:
            known = self._book.by_keys(row.id, [entry.key for entry in page.entries])
        for entry in page.entries:
            found = known.get(entry.key)
            if found is None or contradicts(found.size, found.date, entry):
                yield entry, entry.flags if listed else None
            elif self._is_open(found, page):
                yield found.entry, entry.flags if listed else found.known_flags(listed)

    @staticmethod
    def _is_open(found: Row, page: Changes) -> bool:
        """Tell whether a message that the ledger knows still travels and was not counted by ``_begun``."""
        return page.complete and found.state in _TRAVELS

    def _see_what_keeps_its_place(self, sources: Sequence[Folder], targets: Sequence[Folder]) -> None:
        if self._placed_by in ("", str(self._policy)):
            return
        kept = places_kept(
            sources,
            self._policy,
            self._traits.rules,
            target_folders=targets,
            previous=self._previous,
            override=override_of(self._ends.registry, self._ends.account, self._policy),
        )
        if kept:
            remedy = (
                "Move them in the target once the migration is over; or, before people work there, take them back "
                "with `alimail undo`."
            )
            self._remarks.append(Remark("note", kept, remedy))

    def _see_whether_it_fits(self, octets: int) -> None:
        if self._too_large:
            self._remarks.append(
                Remark(
                    "warning",
                    f"messages larger than the target takes "
                    f"({self._traits.max_message_octets:,} octets): {self._too_large:,}",
                    "They stay behind and the report names them. Raise the target's limit, if it can be.",
                )
            )
        quota = self._sink.quota() if self._sink else None
        free = max(quota.limit - quota.used, 0) if quota else None
        if free is not None and octets > free:
            self._remarks.append(
                Remark(
                    "fault",
                    f"{octets:,} octets would travel, and {free:,} are free in the target",
                    "Enlarge the mailbox, or leave folders out with rules.",
                )
            )


def _folder_plan(row: Mapped, load: _Load, there: set[FolderPath]) -> FolderPlan:
    return FolderPlan(
        row.source,
        row.target,
        row.special_use,
        row.rule,
        load.messages,
        load.octets,
        row.target in there,
        load.left_out,
    )

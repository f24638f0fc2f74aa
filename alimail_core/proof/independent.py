"""Are these two mailboxes the same? Both are read afresh, and nothing else is asked: no ledger, no earlier proof.

A message is known by what the engine knows it by (``alimail_core.identity``): in the quick form by its Message-ID,
Date, From and Subject, and by its octets where those cannot decide (drafts, messages without them); in the full form
by its octets throughout. Messages pair off as multisets, first within the folders that belong together, then
anywhere. Who is left shares a Message-ID with somebody opposite, and is *changed*, or is *missing* or *extra*.

Both sides stay as they are, and memory does not grow with them: see ``alimail_core.proof.pairs``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

from attrs import evolve

from alimail_core.check import fault_of
from alimail_core.contract import Sink, Source
from alimail_core.ends import Ends
from alimail_core.errors import AlimailError, Interrupted, Remark
from alimail_core.events import MessagesProven, Observer, ProofEnded, ProofStarted
from alimail_core.folders.policy import FolderPolicy
from alimail_core.header import fingerprint
from alimail_core.ledger.rows import from_date, join_flags
from alimail_core.messages import MessageFilter
from alimail_core.model import Changes, Folder, FolderPath, Gone, Message, SpecialUse, Unreadable, Unusable
from alimail_core.plan import map_account
from alimail_core.proof.differences import difference
from alimail_core.proof.mismatches import ALONE, MISSING, Place, sum_up
from alimail_core.proof.pairs import OURS, THEIRS, Pairs, Row
from alimail_core.proof.results import MAX_FINDINGS, AccountComparison
from alimail_core.units import count_text

_NO_FLAGS = frozenset({"\\deleted", "\\recent"})
_NO_FIELDS = f"x'{fingerprint(b'').value.hex()}'"

UNKNOWABLE = (
    Remark(
        "note",
        "without the ledger it cannot be told why something differs: what is missing may never have been carried, or "
        "may have been removed by its user; what is extra may have come from anybody",
    ),
    Remark(
        "note",
        "both sides were read one after the other; mail that came, went or was filed meanwhile may be told here",
    ),
)
"""What no comparison of two mailboxes can know."""

BY_HEADERS = Remark(
    "note",
    "messages were told apart by Message-ID, Date, From and Subject; their bodies were not compared",
    "`--full` reads every octet of both sides.",
)


def compare_account(
    ends: Ends,
    policy: FolderPolicy,
    messages: MessageFilter,
    *,
    full: bool,
    collapse: bool,
    observe: Observer,
    tell_bug: Callable[[Exception], None],
) -> AccountComparison:
    """Compare one account's two mailboxes. ``collapse``: identical messages of a folder need be there only once.

    Raises ``Interrupted`` and nothing else.
    """
    account = ends.account
    told = AccountComparison(account.source_address, account.target_address, full, ends.clock.now())
    try:
        with ends.source() as source, ends.sink() as sink, closing(Pairs()) as pairs:
            told = _Comparer(ends, source, sink, pairs, messages, full, collapse, observe).compare(
                policy, told
            )
    except Interrupted:
        raise
    except AlimailError as error:
        told = evolve(told, failed=True, remarks=tuple(fault_of(error)))
    except Exception as bug:  # noqa: BLE001 - one account's bug must not end the comparison of the others
        tell_bug(bug)
        remark = Remark("fault", f"{type(bug).__name__}: a bug in alimail or in a plug-in", "Report it.")
        told = evolve(told, failed=True, remarks=(remark,))
    observe(ProofEnded(told.account, told.complete, told.failed))
    return told


class _Comparer:
    """One comparison under way."""

    def __init__(
        self,
        ends: Ends,
        source: Source,
        sink: Sink,
        pairs: Pairs,
        messages: MessageFilter,
        full: bool,
        collapse: bool,
        observe: Observer,
    ) -> None:
        self._ends = ends
        self._sides: tuple[Source, Source] = (source, sink)
        self._sink = sink
        self._pairs = pairs
        self._messages = messages
        self._full = full
        self._collapse = collapse
        self._observe = observe
        self._account = ends.account.source_address
        self._places: list[Place] = []
        """Their indexes are what ``Pairs`` calls places."""
        self._remarks: list[Remark] = []
        self._failed = False

    def compare(self, policy: FolderPolicy, told: AccountComparison) -> AccountComparison:
        """List both sides, pair their messages off, and sum up."""
        sources = list(self._sides[OURS].folders())
        targets = list(self._sink.folders())
        mapped, skipped = map_account(self._ends, {}, policy, self._sink.traits.rules, sources, targets)
        hints = sum(folder.messages or 0 for folder in (*sources, *targets))
        octets = sum(folder.octets or 0 for folder in (*sources, *targets)) if self._full else 0
        self._observe(ProofStarted(self._account, hints, octets))
        going = {row.source: row.target for row in mapped}
        self._list(sources, targets, going)
        self._pair_off()
        self._remarks += [
            Remark("note", f"the source's folder {_name(each.source)} is not compared: {each.reason}")
            for each in skipped
        ]
        return evolve(
            told,
            folders=sum_up(self._pairs, self._places, full=self._full, collapse=self._collapse),
            remarks=(*self._remarks, *self._unknown()),
            failed=self._failed,
        )

    # both sides as they are

    def _list(
        self, sources: Sequence[Folder], targets: Sequence[Folder], going: dict[FolderPath, FolderPath]
    ) -> None:
        here = [folder for folder in targets if folder.selectable]
        moving = [folder for folder in sources if folder.selectable and folder.path in going]
        paths = list(dict.fromkeys([*going.values(), *(folder.path for folder in here)]))
        place = {path: number for number, path in enumerate(paths)}
        self._places = [Place(path) for path in paths]
        for folder in here:
            self._places[place[folder.path]].exists = True
        for folder in moving:
            self._places[place[going[folder.path]]].sources.append(folder.path)
        drafts = {place[going[each.path]] for each in moving if each.special_use is SpecialUse.DRAFTS}
        drafts |= {place[each.path] for each in here if each.special_use is SpecialUse.DRAFTS}
        self._list_side(THEIRS, here, place, drafts)
        self._list_side(OURS, moving, {path: place[target] for path, target in going.items()}, drafts)

    def _list_side(
        self, side: int, folders: Sequence[Folder], places: dict[FolderPath, int], drafts: set[int]
    ) -> None:
        current: int | None = None
        for page in self._sides[side].changes((folder, None) for folder in folders):
            self._ends.check_in()
            if isinstance(page, Unusable):
                self._failed = True
                text = f"the {('source', 'target')[side]}'s folder {_name(page.path)} cannot be listed: {page.reason}"
                self._remarks.append(Remark("fault", text, "See to it on the server, then verify again."))
                continue
            if page.shortage is not None:
                self._failed = True
                text = f"the {('source', 'target')[side]}'s folder {_name(page.folder.path)}: {page.shortage.text}"
                self._remarks.append(Remark("fault", text, page.shortage.remedy))
            place = places[page.folder.path]
            if current is None:
                current = self._pairs.begin(side, page.folder, place, drafts=place in drafts)
            self._take(side, current, page)
            if side == THEIRS:
                self._places[place].storable = page.storable_flags
            if page.cursor is not None:
                current = None

    def _take(self, side: int, folder: int, page: Changes) -> None:
        listed = self._sides[side].traits.lists_flags
        self._pairs.add(
            folder,
            (
                (
                    each,
                    _compared(each.flags) if listed else None,
                    side == OURS
                    and self._messages.wants(each.size, each.internal_date, each.flags if listed else None)
                    is False,
                )
                for each in page.entries
            ),
        )

    # who stands for whom

    def _pair_off(self) -> None:
        pairs = self._pairs
        shared = "place IN (SELECT place FROM entry WHERE side = 0)"
        for side in (OURS, THEIRS):
            self._read_octets(side, shared) if self._full else self._read_headers(side, shared)
        self._settle(here=True)
        if pairs.any(MISSING):
            self._read_headers(THEIRS, f"{ALONE} AND fingerprint IS NULL")
            self._settle(here=False)
        self._settle_the_rest()
        turns = "SELECT id, row_number() OVER (PARTITION BY place ORDER BY id) AS turn"
        first = f"SELECT id FROM ({turns} FROM entry WHERE side = 1 AND {ALONE}) WHERE turn <= {MAX_FINDINGS}"
        self._read_headers(THEIRS, f"fingerprint IS NULL AND id IN ({first})")  # to name them

    def _settle(self, *, here: bool) -> None:
        """Pair off by headers where they may decide, then by what the octets of those that are likely say."""
        pairs, same, altered = self._pairs, "same" if here else "moved", "altered" if here else "moved"
        if not self._full:
            pairs.pair(same, "fingerprint", only="NOT drafts AND message_id IS NOT NULL", here=here)
            without = f"NOT drafts AND message_id IS NULL AND fingerprint <> {_NO_FIELDS}"
            pairs.pair(same, "fingerprint", "size", only=without, here=here)
        pairs.pair(same, "canonical", here=here)
        pairs.want_likely(here=here)
        self._read_wanted()
        pairs.pair(same, "canonical", here=here)
        pairs.pair(altered, "content", here=here)

    def _settle_the_rest(self) -> None:
        """See of those without a partner which the filter does not want, and which are twins or other versions."""
        pairs = self._pairs
        if str(self._messages) and not self._sides[OURS].traits.lists_flags:
            pairs.want(MISSING)
        alike = "(folder, fingerprint) IN (SELECT folder, fingerprint FROM entry WHERE {})"
        there, lonely = alike.format("side = 0 AND partner NOT NULL"), alike.format(MISSING)
        pairs.want(f"side = 0 AND canonical IS NULL AND {there} AND {lonely}")
        self._read_wanted()
        pairs.find_twins()
        pairs.pair("changed", "message_id", only="how IS NULL AND NOT unwanted")
        for ours, theirs in pairs.matched("ours.how = 'changed'"):
            self._ends.check_in()
            pairs.judge([ours, theirs], self._verdict(ours, theirs))

    def _verdict(self, ours: Row, theirs: Row) -> str:
        """Look at the octets of two messages that share a Message-ID and nothing else."""
        sent, stored = self._octets(OURS, ours), self._octets(THEIRS, theirs)
        same = sent is not None and stored is not None and difference(sent, stored).same_content
        return "altered" if same else "changed"

    def _octets(self, side: int, row: Row) -> bytes | None:
        found = None
        for answer in self._sides[side].fetch([(self._pairs.folders[row.folder], [row.entry])]):
            found = answer.octets if isinstance(answer, Message) else found
        return found

    # reading

    def _read_headers(self, side: int, which: str) -> None:
        """Read headers. What gives none is asked for whole, to tell what is gone from what cannot be read."""
        for chunk in self._pairs.chunks(side, which):
            self._ends.check_in()
            for folder, rows in chunk:
                ids = {row.key: row.id for row in rows}
                for headers in self._sides[side].headers(folder, [row.entry for row in rows]):
                    if (row_id := ids.pop(headers.key, None)) is not None:
                        self._pairs.note_header(row_id, headers.octets)
                if left := [row for row in rows if row.key in ids]:
                    self._fetch(side, [(folder, left)], content=False)
                self._observe(MessagesProven(self._account, folder.path, len(rows), 0))

    def _read_octets(self, side: int, which: str) -> None:
        for chunk in self._pairs.chunks(side, which):
            self._fetch(side, chunk, content=False)
            for folder, rows in chunk:
                self._observe(MessagesProven(self._account, folder.path, len(rows), 0))

    def _read_wanted(self) -> None:
        """Read again, or for the first time, those of whom what a reader sees must decide."""
        for side in (OURS, THEIRS):
            for chunk in self._pairs.chunks(side, "wanted"):
                self._fetch(side, chunk, content=True)

    def _fetch(self, side: int, chunk: Iterable[tuple[Folder, list[Row]]], *, content: bool) -> None:
        ids = {(folder.path, row.key): row.id for folder, rows in chunk for row in rows}
        requests = [(folder, [row.entry for row in rows]) for folder, rows in chunk]
        for answer in self._sides[side].fetch(requests):
            self._ends.check_in()
            row = ids.get((answer.folder, answer.key))
            if row is None:
                continue
            if isinstance(answer, Message):
                self._pairs.note_octets(row, answer.octets, content=content)
                self._note_message(side, row, answer)
                self._observe(MessagesProven(self._account, answer.folder, 0, len(answer.octets)))
            elif isinstance(answer, Gone):
                self._pairs.forget(row)
            elif isinstance(answer, Unreadable):
                self._pairs.note_fault(row, answer.reason)

    def _note_message(self, side: int, row: int, message: Message) -> None:
        """Take in what no listing told, and see then whether the filter wants the message."""
        if message.flags is None and message.internal_date is None:
            return
        unwanted = side == OURS and (
            self._messages.wants(len(message.octets), message.internal_date, message.flags) is False
        )
        flags = None if message.flags is None else _compared(message.flags)
        self._pairs.note(row, date=from_date(message.internal_date)[0], flags=flags, unwanted=unwanted)

    def _unknown(self) -> Iterable[Remark]:
        """Tell what this comparison cannot know."""
        yield from UNKNOWABLE
        if not self._full:
            yield BY_HEADERS
        for side, name in enumerate(("source", "target")):
            for column, what in (("flags", "flags"), ("date", "dates")):
                untold = self._pairs.count(f"side = {side} AND partner NOT NULL AND {column} IS NULL")
                if number := sum(untold.values()):
                    text = (
                        f"{what} of {count_text(number, 'message')} were not compared: the {name} lists none"
                    )
                    yield Remark("note", text)
        if not self._sides[OURS].traits.stable_octets:
            yield Remark(
                "note", "the source gives other octets each time: bodies are compared as a reader sees them"
            )


def _name(path: FolderPath) -> str:
    return "/".join(path)


def _compared(flags: Iterable[str]) -> str:
    """Write flags as they compare: in one case, without those that are never carried."""
    return join_flags({flag.lower() for flag in flags} - _NO_FLAGS)

"""The engine against everything that people, servers and power cuts do between two passes.

Hypothesis plays the users of both sides, the servers, other writers and the reaper. What it does is told to an
``Auditor``, which after every pass that completes holds both mailboxes and the ledger against its own books: the
rules of docs/invariants.md, message by message.
"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from alimail_core.errors import Refused
from alimail_core.messages import EVERYTHING, MessageFilter
from alimail_core.model import INBOX, FolderPath
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message as compose
from alimail_core.testing.memory import MemoryFolder, MemoryMailbox, MemoryTraits, StoredMessage
from tests.auditor import Auditor, content_of, messages
from tests.harness import IN_TURN, World

FOLDERS: list[FolderPath] = [INBOX, ("Work",), ("Work", "项目"), ("Sent",)]
KINDS = [kind for kind in FaultKind if kind is not FaultKind.MEDDLED]
FLAGS = st.frozensets(st.sampled_from(["\\Seen", "\\Flagged", "$Forwarded", "\\Deleted"]))
SHAPES = ["plain", "plain", "plain", "twin", "sibling", "nameless", "lf", "nul", "never"]
NEVER = "the target never takes this"
folders = st.sampled_from(FOLDERS)
picks = st.integers(0, 99)


def never(octets: bytes) -> Refused | None:
    return Refused("NO never", about="form", explained=False) if NEVER.encode() in octets else None


def no_nul(octets: bytes) -> Refused | None:
    return Refused("NO NUL is not allowed", about="form") if b"\0" in octets else never(octets)


def to_lf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n")


AT_SOURCE = st.one_of(
    st.tuples(st.just("arrive"), folders, st.sampled_from(SHAPES), picks, FLAGS),
    st.tuples(st.just("move_at_source"), picks, folders),
    st.tuples(st.just("copy_at_source"), picks, folders),
    st.tuples(st.just("delete_at_source"), picks),
    st.tuples(st.just("flag_at_source"), picks, FLAGS),
    st.tuples(st.just("rename_folder_at_source"), folders, folders),
    st.tuples(st.just("renumber_source"), folders, st.booleans()),
    st.tuples(st.just("spoil_at_source"), picks, st.sampled_from([None, "NO broken"])),
    st.tuples(st.just("hide_at_source"), folders),
)
IN_TARGET = st.one_of(
    st.tuples(st.just("other_writer"), folders, st.none() | picks),
    st.tuples(st.just("move_in_target"), picks, folders),
    st.tuples(st.just("delete_in_target"), picks),
    st.tuples(st.just("flag_in_target"), picks, FLAGS),
    st.tuples(st.just("renumber_target"), folders, st.booleans()),
    st.tuples(st.just("remove_folder_in_target"), folders, st.booleans(), st.booleans()),
)
FILED = st.one_of(
    st.tuples(st.just("move_at_source"), picks, folders),
    st.tuples(st.just("flag_at_source"), picks, FLAGS),
    st.tuples(st.just("delete_at_source"), picks),
    st.tuples(st.just("move_in_target"), picks, folders),
)
ACTS = st.lists(AT_SOURCE | IN_TARGET, max_size=4)
MAIL = st.lists(st.tuples(folders, st.sampled_from(SHAPES), picks, FLAGS), max_size=6)


class Migration(RuleBasedStateMachine):
    """One account, from its first message to hypothesis' last whim."""

    @initialize(
        server=st.builds(
            MemoryTraits,
            uidplus=st.booleans(),
            delta=st.booleans(),
            moves=st.sampled_from([True, True, False]),
            window=st.integers(1, 3),
            page=st.sampled_from([2, 5000]),
            shuffle=st.sampled_from([None, 7]),
            alter=st.sampled_from([None, None, to_lf]),
            refuse=st.sampled_from([never, no_nul]),
        ),
        source=st.builds(
            MemoryTraits,
            delta=st.booleans(),
            page=st.sampled_from([2, 5000]),
            stable_octets=st.sampled_from([True, True, False]),
        ),
        mail=MAIL,
        wishes=st.fixed_dictionaries(
            {
                "batch_messages": st.sampled_from([1, 2, 500]),
                "moves": st.sampled_from(["follow", "follow", "copy"]),
                "deletions": st.sampled_from(["keep", "mirror"]),
                "duplicates": st.sampled_from(["keep", "keep", "collapse"]),
                "order": st.sampled_from(["recent", "strict"]),
            }
        ),
    )
    def begin(
        self,
        server: MemoryTraits,
        source: MemoryTraits,
        mail: list[tuple[FolderPath, str, int, frozenset[str]]],
        wishes: dict[str, Any],
    ) -> None:
        self.world = World(source=source, target=server, options=evolve(IN_TURN, **wishes))
        self.books = Auditor(self.world)
        self.mail: list[bytes] = []
        self.serial = 0
        self.backup = self.world.durable
        for each in mail:
            self.arrive(*each)

    def people_act(self, acts: list[tuple[Any, ...]]) -> None:
        """Users and administrators of both sides do something, and no pass sees it."""
        for name, *words in acts:
            getattr(self, name)(*words)

    @rule(acts=ACTS, refill=st.sampled_from([False, False, False, True]))
    def people_act_and_a_pass_completes(self, acts: list[tuple[Any, ...]], refill: bool) -> None:
        self.people_act(acts)
        self.a_pass_completes(refill)

    @rule(acts=st.lists(FILED, min_size=1, max_size=4))
    def mail_is_filed_and_a_pass_completes(self, acts: list[tuple[Any, ...]]) -> None:
        """What people do all day."""
        self.people_act(acts)
        self.a_pass_completes(refill=False)

    # the source and its people

    def arrive(self, path: FolderPath, shape: str, pick: int, flags: frozenset[str]) -> None:
        octets = self.compose(shape, pick)
        self.mail.append(octets)
        self.world.source.deliver(path, octets, flags)
        self.books.arrived(octets)
        self.books.flagged(octets, flags)
        if NEVER.encode() in octets:
            self.books.refused.add(content_of(octets))

    def compose(self, shape: str, pick: int) -> bytes:
        """Make a new message, or one that is like an earlier one in all, or in all but its text."""
        self.serial += 1
        name, earlier = f"{self.serial:03}", self.mail[pick % len(self.mail)] if self.mail else b""
        if shape == "twin" and earlier:
            return earlier
        if shape == "sibling" and earlier:
            head, gap, body = earlier.partition(b"\r\n\r\n")
            return head + gap + body[:-5] + f"{name}\r\n".encode() if gap else self.compose("plain", 0)
        text = {"nul": "a\0b", "never": NEVER}.get(shape, "text")
        if shape == "nameless":
            return compose(f"nameless {name}", f"{text} {name}\r\n", message_id=None, date=None)
        octets = compose(f"subject {name}", f"{text} {name}\r\n", message_id=f"{name}@x")
        return octets.replace(b"\r\n", b"\n") if shape == "lf" else octets

    def move_at_source(self, pick: int, to: FolderPath) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            place, uid, one = found
            self.world.source.make(to)
            self.world.source.move(place.path, uid, to)
            self.books.moved(one.octets)

    def copy_at_source(self, pick: int, to: FolderPath) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            place, uid, one = found
            self.world.source.make(to)
            self.world.source.copy(place.path, uid, to)
            self.books.arrived(one.octets)

    def delete_at_source(self, pick: int) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            self.world.source.delete(found[0].path, found[1])
            self.books.deleted(found[2].octets)

    def flag_at_source(self, pick: int, flags: frozenset[str]) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            self.books.flagged(found[2].octets, flags)
            self.world.source.set_flags(found[0].path, found[1], flags)

    def rename_folder_at_source(self, path: FolderPath, to: FolderPath) -> None:
        tree = self.world.source.tree
        if path in tree and path != INBOX and to not in tree and to[: len(path)] != path:
            for here, place in tree.items():
                if here[: len(path)] == path:
                    for one in place.messages.values():
                        self.books.moved(one.octets)
            self.world.source.rename_folder(path, to)

    def renumber_source(self, path: FolderPath, new_validity: bool) -> None:
        if path in self.world.source.tree:
            self.world.source.renumber(path, new_validity)

    def spoil_at_source(self, pick: int, reason: str | None) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            self.world.source.spoil(found[0].path, found[1], reason)

    def hide_at_source(self, path: FolderPath) -> None:
        """A folder that cannot be listed, until the next pass that completes."""
        if path in self.world.source.tree:
            self.world.source.folder(path).closed = "NO it is locked"
            self.books.hidden()

    # the target, its people, and other writers

    def other_writer(self, path: FolderPath, pick: int | None) -> None:
        shape, pick = ("plain", 0) if pick is None else ("twin", pick)
        octets = self.compose(shape, pick)
        self.world.target.deliver(path, octets)
        self.books.brought(octets)

    def move_in_target(self, pick: int, to: FolderPath) -> None:
        if (found := pick_one(self.world.target, pick)) is not None:
            self.books.moved_there(found[2].octets, to)
            self.world.target.make(to)
            self.world.target.move(found[0].path, found[1], to)

    def delete_in_target(self, pick: int) -> None:
        if (found := pick_one(self.world.target, pick)) is not None:
            self.books.taken_away(found[2].octets)
            self.world.target.delete(found[0].path, found[1])

    def flag_in_target(self, pick: int, flags: frozenset[str]) -> None:
        if (found := pick_one(self.world.target, pick)) is not None:
            self.books.flagged_there(found[2].octets)
            self.world.target.set_flags(found[0].path, found[1], flags)

    def renumber_target(self, path: FolderPath, new_validity: bool) -> None:
        if path in self.world.target.tree:
            self.world.target.renumber(path, new_validity)

    def remove_folder_in_target(self, path: FolderPath, again: bool, newcomer: bool) -> None:
        """A folder is deleted with all in it, and perhaps made again under the same UIDVALIDITY."""
        if path in self.world.target.tree and (again or path != INBOX):
            for one in self.world.target.folder(path).messages.values():
                self.books.taken_away(one.octets)
            if again:
                self.world.target.remake(path)
                if newcomer:
                    self.other_writer(path, None)
            else:
                self.world.target.remove_folder(path)

    # the ledger

    @rule(accident=st.sampled_from(["is kept", "is put back", "is lost"]))
    def the_ledger(self, accident: str) -> None:
        """A backup of it is kept, or put back, or it is lost altogether."""
        if accident == "is kept":
            self.backup = self.world.durable
            return
        self.world.clock.advance(1000)  # it takes time: what servers still had to do, they have done
        self.books.forgot()
        if accident == "is put back":
            self.world.durable = self.backup
            self.world.crash()
        else:
            self.world.lose_ledger()
            self.backup = self.world.durable

    # passes

    @rule(
        acts=ACTS,
        mail=MAIL,
        kind=st.sampled_from(KINDS),
        where=st.one_of(
            st.tuples(st.just("append"), st.integers(1, 3)),
            st.tuples(st.sampled_from(["changes", "ledger sync", "fetch"]), st.integers(1, 3)),
            st.tuples(st.none(), st.integers(1, 60)),
        ),
        late=st.sampled_from([5.0, 5.0, 5.0, 100.0]),
        power=st.booleans(),
    )
    def mail_arrives_and_its_pass_is_struck(
        self,
        acts: list[tuple[Any, ...]],
        mail: list[tuple[FolderPath, str, int, frozenset[str]]],
        kind: FaultKind,
        where: tuple[str | None, int],
        late: float,
        power: bool,
    ) -> None:
        self.people_act(acts)
        for each in mail:
            self.arrive(*each)
        name, at = where
        self._strike(Countdown(at, kind, only=name, late_seconds=late), power=power)

    @rule(
        moves=st.lists(st.tuples(picks, folders), min_size=1, max_size=4),
        kind=st.sampled_from(KINDS),
        name=st.sampled_from(["move", "move", "look", "ledger sync"]),
        power=st.booleans(),
    )
    def mail_is_moved_and_its_pass_is_struck(
        self, moves: list[tuple[int, FolderPath]], kind: FaultKind, name: str, power: bool
    ) -> None:
        for pick, to in moves:
            self.move_at_source(pick, to)
        self._strike(Countdown(1, kind, only=name, late_seconds=5.0), power=power)

    def _strike(self, plan: Countdown, *, power: bool) -> None:
        self.books.pass_begins()
        self.world.run_faulty(plan, power=power)
        if plan.struck == "change_flags":
            self.books.reflagged |= set(self.books.limit)

    @rule(
        room=st.none() | st.integers(0, 2000),
        only=st.sampled_from([MessageFilter(flagged=True), MessageFilter(unseen=True), EVERYTHING]),
        trial=st.sampled_from([None, 1, 2]),
    )
    def a_pass_carries_some(self, room: int | None, only: MessageFilter, trial: int | None) -> None:
        """A trial, a choice, or a target that is full in the middle."""
        self.books.pass_begins()
        traits = self.world.target.traits
        if room is not None:
            self.world.target.traits = evolve(traits, quota_octets=self.world.target.octets + room)
        self.world.messages = only
        self.world.run(trial=trial)
        self.world.messages = EVERYTHING
        self.world.target.traits = traits

    @rule(
        path=st.none() | folders,
        dry_run=st.sampled_from([False, False, True]),
        kind=st.sampled_from(KINDS),
        where=st.one_of(
            st.none(),
            st.tuples(st.sampled_from(["remove", "remove", "look", "ledger sync"]), st.integers(1, 3)),
        ),
        late=st.sampled_from([5.0, 5.0, 5.0, 100.0]),
        power=st.booleans(),
    )
    def it_is_undone(
        self,
        path: FolderPath | None,
        dry_run: bool,
        kind: FaultKind,
        where: tuple[str, int] | None,
        late: float,
        power: bool,
    ) -> None:
        """What was written is taken back, all of it or one folder; and passes go on."""
        before = [one for _, _, one in messages(self.world.target)]
        there = self.world.target.snapshot()
        name, at = where or ("", 0)
        plan = Countdown(at, kind, only=name or None, late_seconds=late)
        self.world.undo(plan, "/".join(path or ()), dry_run=dry_run, power=power)
        self.books.undone(before, struck=where is not None)
        if dry_run:
            assert self.world.target.snapshot() == there

    def a_pass_completes(self, refill: bool) -> None:
        """Carry all, and look whether it is there."""
        for place in self.world.source.tree.values():
            place.closed = None
        self.books.pass_begins()
        self.world.run()
        self.world.clock.advance(1000)  # whatever servers still had to do, they have done now
        summary = self.world.run_looking()
        assert summary.state in ("done", "problems"), summary
        if refill:
            self.books.pass_begins(refill=True)
            self.world.run(refill=True)
        self.world.assert_settled()
        self.books.check()
        self.books.pass_completed()


def pick_one(mailbox: MemoryMailbox, pick: int) -> tuple[MemoryFolder, int, StoredMessage] | None:
    everything = list(messages(mailbox))
    return everything[pick % len(everything)] if everything else None


SETTINGS = settings(
    max_examples=40,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestMigration = Migration.TestCase
TestMigration.settings = SETTINGS


@pytest.mark.long(sample=0)
@pytest.mark.parametrize("number", range(40))
def test_more_of_it(number: int) -> None:
    """The same by other seeds: a search, which may find what nobody knew."""

    class Seeded(Migration):
        pass

    more = settings(SETTINGS, max_examples=25, derandomize=False, database=None)
    run_state_machine_as_test(seed(number)(Seeded), settings=more)

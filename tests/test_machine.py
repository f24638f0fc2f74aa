"""The engine against everything that people, servers and power cuts do between two passes.

Hypothesis plays the users of both sides, the servers, other writers and the reaper; after every pass that
completes, the rules of docs/invariants.md are checked against both mailboxes and the ledger.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Literal

import sqlalchemy as sa
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from alimail_core.errors import Refused
from alimail_core.identity import digests, mend
from alimail_core.ledger import State
from alimail_core.ledger.schema import folder, message, problem
from alimail_core.model import INBOX, FolderPath
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message as compose
from alimail_core.testing.memory import MemoryMailbox, MemoryTraits
from tests.harness import IN_TURN, World

FOLDERS: list[FolderPath] = [INBOX, ("Work",), ("Work", "项目"), ("Sent",)]
POOL = [
    compose(subject="one", message_id="<1@x>"),
    compose(subject="two", message_id="<2@x>"),
    compose(subject="two", message_id="<2@x>", body="the same Message-ID with other content"),
    compose(subject="nameless", message_id=None),
    compose(subject="ends", message_id="<ends@x>").replace(b"\r\n", b"\n"),
    compose(subject="nul", message_id="<nul@x>", body="a\0b"),
]
KINDS = [kind for kind in FaultKind if kind is not FaultKind.MEDDLED]
FLAGS = st.frozensets(st.sampled_from(["\\Seen", "\\Flagged", "$Forwarded"]))
folders = st.sampled_from(FOLDERS)


def no_nul(octets: bytes) -> Refused | None:
    return Refused("NO NUL is not allowed", about="form") if b"\0" in octets else None


def to_lf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n")


class Migration(RuleBasedStateMachine):
    """One account, from its first message to hypothesis' last whim."""

    @initialize(
        server=st.builds(
            MemoryTraits,
            uidplus=st.booleans(),
            delta=st.booleans(),
            moves=st.booleans(),
            window=st.integers(1, 3),
            page=st.sampled_from([2, 5000]),
            shuffle=st.sampled_from([None, 7]),
            alter=st.sampled_from([None, to_lf]),
            refuse=st.sampled_from([None, no_nul]),
        ),
        delta=st.booleans(),
        batch=st.sampled_from([1, 2, 500]),
        moves=st.sampled_from(["follow", "copy"]),
    )
    def begin(self, server: MemoryTraits, delta: bool, batch: int, moves: Literal["follow", "copy"]) -> None:
        options = evolve(IN_TURN, batch_messages=batch, moves=moves)
        self.world = World(source=MemoryTraits(delta=delta), target=server, options=options)
        self.lives: Counter[bytes] = Counter()
        self.foreign: Counter[bytes] = Counter()
        self.slack: Counter[bytes] = Counter()
        self.removed: Counter[bytes] = Counter()
        self.serial = 0
        self.very_late = False
        self.snapshot = self.world.durable

    # the source and its people

    @rule(path=folders, octets=st.sampled_from(POOL), flags=FLAGS)
    def arrive(self, path: FolderPath, octets: bytes, flags: frozenset[str]) -> None:
        self.world.source.deliver(path, octets, flags)
        self.lives[canonical(octets)] += 1

    @rule(pick=st.integers(0, 99), to=folders)
    def move_at_source(self, pick: int, to: FolderPath) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            path, uid = found
            self.world.source.make(to)
            octets = self.world.source.folder(path).messages[uid].octets
            self.world.source.move(path, uid, to)
            # What the engine may not, or cannot, tell from a new message is copied: rather twice than never.
            self.slack[canonical(octets)] += 1

    @rule(pick=st.integers(0, 99))
    def delete_at_source(self, pick: int) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            self.world.source.delete(*found)

    @rule(pick=st.integers(0, 99), flags=FLAGS)
    def flag_at_source(self, pick: int, flags: frozenset[str]) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            self.world.source.set_flags(*found, flags)

    @rule(path=folders, new_validity=st.booleans())
    def renumber_source(self, path: FolderPath, new_validity: bool) -> None:
        if path in self.world.source.tree:
            self.world.source.renumber(path, new_validity)

    @rule(pick=st.integers(0, 99), reason=st.sampled_from([None, "NO broken"]))
    def spoil_at_source(self, pick: int, reason: str | None) -> None:
        if (found := pick_one(self.world.source, pick)) is not None:
            self.world.source.spoil(*found, reason)

    # the target, its people, and other writers

    @rule(path=folders, twin=st.none() | st.sampled_from(POOL))
    def other_writer(self, path: FolderPath, twin: bytes | None) -> None:
        self.serial += 1
        octets = twin or compose(subject=f"foreign {self.serial}", message_id=f"<f{self.serial}@y>")
        self.world.target.deliver(path, octets)
        self.foreign[canonical(octets)] += 1

    @rule(pick=st.integers(0, 99), to=folders)
    def move_in_target(self, pick: int, to: FolderPath) -> None:
        if (found := pick_one(self.world.target, pick)) is not None:
            self.world.target.make(to)
            octets = self.world.target.folder(found[0]).messages[found[1]].octets
            self.world.target.move(*found, to)
            self.removed[canonical(octets)] += 1
            # Its user took a message that was in doubt away before it was looked for.
            self.slack[canonical(octets)] += 1

    @rule(pick=st.integers(0, 99))
    def delete_in_target(self, pick: int) -> None:
        if (found := pick_one(self.world.target, pick)) is not None:
            octets = self.world.target.delete(*found).octets
            self.removed[canonical(octets)] += 1

    @rule(pick=st.integers(0, 99), flags=FLAGS)
    def flag_in_target(self, pick: int, flags: frozenset[str]) -> None:
        if (found := pick_one(self.world.target, pick)) is not None:
            self.world.target.set_flags(*found, flags)

    @rule(path=folders, new_validity=st.booleans())
    def renumber_target(self, path: FolderPath, new_validity: bool) -> None:
        if path in self.world.target.tree:
            self.world.target.renumber(path, new_validity)

    @rule(path=folders, empty=st.booleans())
    def remake_in_target(self, path: FolderPath, empty: bool) -> None:
        if path in self.world.target.tree:
            for one in self.world.target.folder(path).messages.values():
                self.removed[canonical(one.octets)] += 1
            self.world.target.remake(path)
            if not empty:
                self.other_writer(path, None)

    @rule(path=folders)
    def remove_folder_in_target(self, path: FolderPath) -> None:
        if path in self.world.target.tree and path != INBOX:
            for one in self.world.target.folder(path).messages.values():
                self.removed[canonical(one.octets)] += 1
            self.world.target.remove_folder(path)

    # the ledger

    @rule()
    def keep_a_backup_of_the_ledger(self) -> None:
        self.snapshot = self.world.durable

    @rule()
    def put_the_backup_back(self) -> None:
        self._forgets()
        self.world.durable = self.snapshot
        self.world.crash()

    @rule()
    def lose_the_ledger(self) -> None:
        self._forgets()
        self.world.lose_ledger()
        self.snapshot = self.world.durable

    def _forgets(self) -> None:
        """Without its ledger the engine cannot tell what left the source, or was moved there or in the target."""
        self.world.clock.advance(1000)  # it takes time: what servers still had to do, they have done
        here = {path: count_of(some) for path, some in self.world.source.contents().items()}
        for path, some in self.world.target.contents().items():
            self.slack += count_of(some) - here.get(path, Counter())
        # What the target's user took away is copied again, for nobody remembers that it was there.
        self.slack += self.removed

    # passes

    @rule(kind=st.sampled_from(KINDS), at=st.integers(1, 60), late=st.just(5.0))
    def a_pass_is_struck(self, kind: FaultKind, at: int, late: float) -> None:
        self._strike(Countdown(at, kind, late_seconds=late), power=True)

    @rule(
        mail=st.lists(st.tuples(folders, st.sampled_from(POOL)), min_size=1, max_size=4),
        kind=st.sampled_from(KINDS),
        at=st.integers(1, 2),
        late=st.sampled_from([5.0, 5.0, 5.0, 100.0]),
        name=st.sampled_from(["append", "append", "append", "changes", "ledger sync", "fetch"]),
        power=st.booleans(),
    )
    def mail_arrives_and_its_pass_is_struck(
        self,
        mail: list[tuple[FolderPath, bytes]],
        kind: FaultKind,
        at: int,
        late: float,
        name: str,
        power: bool,
    ) -> None:
        for path, octets in mail:
            self.arrive(path, octets, frozenset())
        self._strike(Countdown(at, kind, only=name, late_seconds=late), power=power)

    @rule(
        moves=st.lists(st.tuples(st.integers(0, 99), folders), min_size=1, max_size=4),
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
        self.world.run_faulty(plan, power=power)
        # Only what a server does long after its connection ended may be written, and stand there, twice.
        late = plan.kind in (FaultKind.LATE, FaultKind.KILLED_LATE)
        self.very_late |= plan.fired and late and plan.late_seconds > self.world.options.settle_seconds

    @rule()
    def a_pass_completes(self) -> None:
        self.world.run()
        self.world.clock.advance(1000)  # whatever servers still had to do, they have done now
        summary = self.world.run_looking()
        assert summary.state in ("done", "problems"), summary
        self.world.assert_settled()
        self._check()

    # what must hold then

    def _check(self) -> None:
        claims = self._claims()
        self._check_live(claims)
        twice = [place for place, n in Counter(c[1:3] for c in claims if c[2] is not None).items() if n > 1]
        assert not twice, f"target entries claimed by two messages: {twice}"
        there = sum((count_of(some) for some in self.world.target.contents().values()), Counter[bytes]())
        extras = self._extras()
        assert self.very_late or not +extras, "a second copy without a server that was very late"
        written = count_of(self.world.written) - self.lives - self.slack - self.removed
        assert self.very_late or not written, f"{sum(written.values())} messages written again"
        allowed = self.lives + self.foreign + self.slack + extras
        doubled = there - allowed
        assert not doubled, f"{sum(doubled.values())} copies too many"
        own = Counter({octets: n for octets, n in self.foreign.items() if octets not in POOL_CANONICAL})
        missing = own - there - self.removed
        assert not missing - self.slack, "another writer's message was touched"

    def _claims(self) -> list[tuple[tuple[str, str | None], int | None, str | None, int, int]]:
        """List (source place, target folder id, target key, state, target_gone) of what the source has."""
        query = sa.select(
            folder.c.path, message.c.key, message.c.target_id, message.c.target_key, message.c.state,
            message.c.target_gone,
        ).where(message.c.folder_id == folder.c.id, message.c.gone == 0)  # fmt: skip
        with self.world.ledger.engine.connect() as connection:
            return [((row[0], row[1]), row[2], row[3], row[4], row[5]) for row in connection.execute(query)]

    def _check_live(
        self, claims: list[tuple[tuple[str, str | None], int | None, str | None, int, int]]
    ) -> None:
        by_place = {place: (target, key, state, gone) for place, target, key, state, gone in claims}
        paths = self._target_paths()
        lost: Counter[bytes] = Counter()
        for source_folder in self.world.source.tree.values():
            for uid, one in source_folder.messages.items():
                place = (as_json(source_folder.path), source_folder.key(uid))
                assert place in by_place, f"a message of the source that the ledger does not know: {place}"
                target, key, state, gone = by_place.pop(place)
                if one.unreadable is not None:
                    continue
                assert state in (State.STORED, State.REFUSED), State(state).name
                if state == State.STORED and not gone:
                    here = self.world.target.folder(paths[target or 0]).find(key or "")
                    assert here is not None, f"claimed, but not there: {place}"
                    assert same(here.octets, one.octets), f"claims another message: {place}"
                else:
                    lost[canonical(one.octets)] += 1
        assert not by_place, f"the ledger knows messages that the source does not have: {by_place}"
        assert not lost - self.removed, "a message is missing in the target that nobody took away there"

    def _target_paths(self) -> dict[int, FolderPath]:
        query = sa.select(folder.c.id, folder.c.path).where(folder.c.side == "target")
        with self.world.ledger.engine.connect() as connection:
            return {row[0]: from_json(row[1]) for row in connection.execute(query)}

    def _extras(self) -> Counter[bytes]:
        """Count the second copies that the report names."""
        query = sa.select(message.c.digest).where(
            problem.c.message_id == message.c.id, problem.c.kind == "extra"
        )
        with self.world.ledger.engine.connect() as connection:
            named = Counter(bytes(row[0]) for row in connection.execute(query))
        return Counter({canonical(octets): named[digests(octets).digest] for octets in POOL})


def as_json(path: FolderPath) -> str:
    return json.dumps(path, ensure_ascii=False)


def from_json(text: str) -> FolderPath:
    return tuple(json.loads(text))


def canonical(octets: bytes) -> bytes:
    """Reduce octets to what a mending engine or server leaves of them."""
    return mend(octets).rstrip(b"\r\n")


def same(one: bytes, other: bytes) -> bool:
    return canonical(one) == canonical(other)


def count_of(some: Counter[bytes]) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for octets, n in some.items():
        found[canonical(octets)] += n
    return found


def pick_one(mailbox: MemoryMailbox, pick: int) -> tuple[FolderPath, int] | None:
    everything = [(path, uid) for path, one in sorted(mailbox.tree.items()) for uid in sorted(one.messages)]
    return everything[pick % len(everything)] if everything else None


POOL_CANONICAL = {canonical(octets) for octets in POOL}

TestMigration = Migration.TestCase
TestMigration.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

"""What may stand where, content by content: the oracle of the state machine.

It hears of all that people, servers and accidents do, and of each content it counts how often alimail may have
written it, and why. Nearly every content is unique, so that one message written twice, or not at all, or touched
without leave, shows whatever else has happened. It reads the ledger only for what the ledger claims (``ledger_says``)
and for what was in doubt when somebody meddled with it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa
from attrs import Factory, define, frozen

from alimail_core.identity import digests, mend
from alimail_core.ledger import State
from alimail_core.ledger.schema import folder, message, problem
from alimail_core.model import FolderPath
from alimail_core.testing.memory import MemoryFolder, MemoryMailbox, StoredMessage
from tests.harness import World

RENDERED = b"X-Rendered: "
NOT_CARRIED = {"\\Deleted", "\\Recent"}


def content_of(octets: bytes) -> bytes:
    """Reduce octets to what a source that renders anew, an engine or a server that mends leave of them."""
    octets = mend(octets)
    while octets.startswith(RENDERED):
        octets = octets.partition(b"\r\n")[2]
    return octets.rstrip(b"\r\n")


@frozen
class Said:
    """What the ledger says of a message that the source has."""

    source: FolderPath
    key: str | None
    state: State
    target: FolderPath | None
    target_key: str | None
    target_gone: bool


@define
class Auditor:
    """The account's books, kept apart from the ledger. All counters are by content."""

    world: World
    refused: set[bytes] = Factory(set)
    """What the target never takes."""
    limit: Counter[bytes] = Factory(Counter)
    """How often it may have been written, in all."""
    foreign: Counter[bytes] = Factory(Counter)
    """How often others have brought it to the target."""
    taken: Counter[bytes] = Factory(Counter)
    """How often the target's user has taken a copy away, or elsewhere."""
    absent: Counter[bytes] = Factory(Counter)
    """How many copies need not stand where they belong, because of that."""
    left: Counter[bytes] = Factory(Counter)
    """How often it left a place at the source, by a move or for good."""
    left_lately: Counter[bytes] = Factory(Counter)
    """The same since the last pass that completed."""
    on_the_move: Counter[bytes] = Factory(Counter)
    """How often it was moved at the source since the last pass that completed."""
    given: dict[bytes, set[frozenset[str]]] = Factory(dict)
    """What flags its messages had at the source at one time or another."""
    adopted: set[bytes] = Factory(set)
    """What may count as somebody else's work: others brought it too, or the ledger has forgotten writing it."""
    reflagged: set[bytes] = Factory(set)
    """Whose flags in the target are not alimail's alone."""
    filed: set[bytes] = Factory(set)
    """What the target's user has moved: its copies are not where alimail put them, and stay."""
    known: dict[bytes, bytes] = Factory(dict)
    """Contents by the digest of what the source has, where that does not render anew."""
    amnesia: bool = False
    """The ledger was lost or is an old one, and no pass has completed since."""

    # what the source's people do

    def arrived(self, octets: bytes) -> None:
        """A message, or one more copy of it, is at the source.

        Where one like it left the source since the last pass, and its copy the target, it looks like that one moved:
        not carried again.
        """
        content = content_of(octets)
        if self.limit[content]:  # of which of two equals a copy was made, only its flags and date tell
            self.reflagged.add(content)
        self.limit[content] += 1
        self.absent[content] += min(self.left_lately[content], self.absent[content])
        self.known[digests(octets).digest] = content_of(octets)

    def moved(self, octets: bytes) -> None:
        """A message was moved at the source. Where the copy must not be moved as well, it is written again."""
        content = content_of(octets)
        self.left[content] += 1
        self.left_lately[content] += 1
        self.on_the_move[content] += 1
        hidden = any(each.closed for each in self.world.source.tree.values())
        unknown = self._only_its_copy_tells(content) and self.absent[content] > 0
        if not self._follows(content) or hidden or unknown:
            self.limit[content] += 1

    def deleted(self, octets: bytes) -> None:
        """A message was deleted at the source."""
        self.left[content_of(octets)] += 1
        self.left_lately[content_of(octets)] += 1

    def hidden(self) -> None:
        """A folder of the source cannot be listed: what was moved out of it looks like new mail."""
        self.limit += self.on_the_move

    def _only_its_copy_tells(self, content: bytes) -> bool:
        """Tell whether a move is known by the copy alone: by no Message-ID, nor by what the source gave before.

        Where the copy does not stand as it was written, it is taken for a new message: rather twice than never.
        """
        return not self.world.source.traits.stable_octets and b"message-id:" not in content.lower()

    def _follows(self, content: bytes) -> bool:
        follows = self.world.options.moves == "follow" and self.world.target.traits.moves
        return follows and content not in self.adopted

    # what happens in the target

    def brought(self, octets: bytes) -> None:
        """Another writer has put a message into the target."""
        content = content_of(octets)
        self.foreign[content] += 1
        self.adopted.add(content)

    def taken_away(self, octets: bytes) -> None:
        """The target's user deleted a message, or its folder was removed or made anew."""
        content = content_of(octets)
        self.taken[content] += 1
        self.absent[content] += 1
        self._copy_left(content)
        if content in self._in_doubt() | self._being_undone():
            self.limit[content] += 1  # nobody can know that it had arrived, or that it was there still

    def moved_there(self, octets: bytes, to: FolderPath) -> None:
        """The target's user moved a message: in doubt it is found only in folders that alimail knows."""
        content = content_of(octets)
        self.absent[content] += 1
        self._copy_left(content)
        self.reflagged.add(content)
        self.filed.add(content)
        if content in self._in_doubt():
            self.adopted.add(content)  # it is its user's now
            # Where another copy was taken away before, nobody can know which of them this is.
            self.limit[content] += to not in self.world.source.tree or self.absent[content] > 1
        self.limit[content] += content in self._being_undone()  # nobody can know that it was not removed

    def _copy_left(self, content: bytes) -> None:
        if self._only_its_copy_tells(content):
            self.limit[content] += min(1, self.on_the_move[content])

    def flagged(self, octets: bytes, flags: frozenset[str]) -> None:
        """The source's user changed flags, or a message came with them."""
        self.given.setdefault(content_of(octets), set()).add(flags - NOT_CARRIED)

    def flagged_there(self, octets: bytes) -> None:
        """The target's user changed flags."""
        self.reflagged.add(content_of(octets))

    def _in_doubt(self) -> set[bytes]:
        """List what the ledger says may have arrived; where the source renders anew, that may be anything."""
        return self._contents(message.c.state == State.SENT)

    def _being_undone(self) -> set[bytes]:
        """List what the ledger says may have been removed by an undo that was cut off."""
        return self._contents(message.c.state == State.PENDING, message.c.target_key.is_not(None))

    def _contents(self, *where: sa.ColumnElement[bool]) -> set[bytes]:
        query = sa.select(message.c.digest).where(*where)
        with self.world.ledger.engine.connect() as connection:
            doubtful = {row[0] for row in connection.execute(query)}
        if not self.world.source.traits.stable_octets:
            return set(self.limit) if doubtful else set()
        return {self.known[digest] for digest in doubtful & set(self.known)}

    # the ledger

    def forgot(self) -> None:
        """The ledger was lost, or an old one put back: it takes what we did since for the user's work.

        That is our undoing, our moves, and our mirrored deletions: of what was moved at the source, by wish, too.
        """
        self.amnesia = True
        for ours in (self.world.deeds.moved, self.world.deeds.undone, self.world.deeds.removed):
            self.absent += self._of(ours)
        self.adopted |= set(self.limit)
        self.reflagged |= set(self.limit)

    def pass_begins(self, *, refill: bool = False) -> None:
        """Without its memory alimail writes what does not stand where it belongs; and so it does on wish."""
        if self.amnesia or refill:
            undone = self._of(self.world.deeds.undone)
            for content, missing in self._missing(every=True).items():
                self.limit[content] = max(
                    self.limit[content], self._written()[content] + missing - undone[content]
                )
        if refill:
            self.absent.clear()

    def pass_completed(self) -> None:
        """All is known now. What has left the source was not moved: if it comes back, it is carried again."""
        self.amnesia = False
        self.on_the_move.clear()
        self.left_lately.clear()
        alive = {content_of(one.octets) for _, _, one in messages(self.world.source)}
        self.absent = Counter({content: n for content, n in self.absent.items() if content in alive})

    def undone(self, before: list[StoredMessage], *, struck: bool) -> None:
        """Something was undone, or not: what is gone was ours alone, as we gave it, and the source has it still."""
        here = {id(one) for _, _, one in messages(self.world.target)}
        alive = {content_of(one.octets) for _, _, one in messages(self.world.source)}
        ours = self._written() - self._of(self.world.deeds.removed)
        for one in before:
            content, told = content_of(one.octets), f"{one.octets[-60:]!r}"
            if id(one) not in here:
                assert content in alive, f"the last copy was undone: {told}"
                assert one.flags - NOT_CARRIED in self.given[content], f"a user's flags were undone: {told}"
        for content, n in self._of(self.world.deeds.undone).items():
            assert n <= ours[content], f"somebody else's copy was undone: {content[-60:]!r}"
        if struck:  # what was not undone in the end is found there, as if somebody else had brought it
            self.adopted |= self._being_undone()

    # what must hold

    def check(self) -> None:
        """Compare both mailboxes, and what the ledger says of them, with the books."""
        self._check_counts()
        self._check_presence()
        self._check_deletions()
        self._check_flags_and_dates()
        self._check_ledger()

    def _check_counts(self) -> None:
        written, late, removed = (
            self._written(),
            self._of(self.world.deeds.late),
            self._of(self.world.deeds.removed),
        )
        there = sum((self._of(some) for some in self.world.target.contents().values()), Counter[bytes]())
        extras, undone = self._extras(), self._of(self.world.deeds.undone)
        for content in set(written) | set(there) | set(self.limit):
            told = f"{content[-60:]!r}"
            limit, n = self.limit[content] + undone[content], written[content]
            assert n <= limit + late[content], f"written {n} times instead of {limit}: {told}"
            excess = max(n - limit, 0)
            if not self.taken[content]:
                assert excess <= extras[content] + removed[content], f"an unnamed second copy: {told}"
            if not late[content] and not self.foreign[content] and content not in self.filed:
                assert not extras[content], f"a second copy is told that nobody can have made: {told}"
            balance = n + self.foreign[content] - self.taken[content] - removed[content] - undone[content]
            assert there[content] == balance, f"{there[content]} there, {balance} by the books: {told}"
            mirrored = self.left[content] if self.world.options.deletions == "mirror" else 0
            # What stood at the goal of a move, after the ledger was lost, may have been taken for our own copy.
            if content not in self.adopted:
                assert removed[content] <= late[content] + mirrored, f"removed without leave: {told}"

    def _check_presence(self) -> None:
        late = self._of(self.world.deeds.undone_late)
        for content, missing in self._missing().items():
            if content not in self.refused | set(late):
                told = f"missing in the target though nobody took it away there: {content[-60:]!r}"
                # Duplicates that are one share its copy, and its fate.
                one = self.world.options.duplicates == "collapse" and self.absent[content]
                assert one or missing <= self.absent[content], told

    def _check_deletions(self) -> None:
        options, traits = self.world.options, self.world.target.traits
        if options.deletions != "mirror" or not traits.moves:
            return
        alive = {content_of(one.octets) for _, _, one in messages(self.world.source)}
        meddled = self.adopted | self.filed | set(+self.absent) | set(+self._of(self.world.deeds.late))
        for place, _, one in messages(self.world.target):
            content = content_of(one.octets)
            if content in self.limit and content not in meddled:
                assert content in alive, f"deleted at the source, still in {place.path}: {content[-60:]!r}"

    def _check_flags_and_dates(self) -> None:
        meddled = self.adopted | self.reflagged | set(+self._of(self.world.deeds.late))
        sources: dict[bytes, list[StoredMessage]] = {}
        for _, _, one in messages(self.world.source):
            sources.setdefault(content_of(one.octets), []).append(one)
        for _, _, copy in messages(self.world.target):
            origins = sources.get(content_of(copy.octets), [])
            if len(origins) != 1 or content_of(copy.octets) in meddled or origins[0].unreadable:
                continue
            if self._written()[content_of(copy.octets)] != 1:
                continue
            (origin,) = origins
            told = f"{copy.octets[-60:]!r}"
            assert copy.internal_date == origin.internal_date, told
            assert copy.flags == origin.flags - NOT_CARRIED, (
                f"{set(copy.flags)} for {set(origin.flags)}: {told}"
            )

    def _check_ledger(self) -> None:
        said = {(each.source, each.key): each for each in self.ledger_says()}
        claimed = Counter((each.target, each.target_key) for each in said.values() if each.target_key)
        assert max(claimed.values(), default=1) == 1, f"claimed twice: {claimed.most_common(1)}"
        for place, uid, one in messages(self.world.source):
            told = said.pop((place.path, place.key(uid)), None)
            assert told is not None, f"not in the ledger: {place.path} {uid}"
            if one.unreadable is not None:
                continue
            content = content_of(one.octets)
            if content in self.refused:
                assert told.state == State.REFUSED or content in self.adopted, told
            elif told.state == State.COLLAPSED:
                assert self.world.options.duplicates == "collapse", told
            else:
                assert told.state == State.STORED, told
            if told.state == State.STORED and not told.target_gone:
                here = self.world.target.folder(told.target or ()).find(told.target_key or "")
                assert here is not None, f"claimed, but not there: {told}"
                assert content_of(here.octets) == content, f"claims another message: {told}"
        assert not said, f"the ledger knows what the source does not have: {said}"

    # the books' sources

    def _missing(self, *, every: bool = False) -> Counter[bytes]:
        """Count, by content, the copies that do not stand in the folders where the source has the messages.

        ``every``: also those of what the source does not give now, and of duplicates that may be one.
        """
        there = {path: self._of(some) for path, some in self.world.target.contents().items()}
        missing: Counter[bytes] = Counter()
        for place in self.world.source.tree.values():
            here = [one for one in place.messages.values() if every or not one.unreadable]
            wanted = Counter(content_of(one.octets) for one in here)
            if self.world.options.duplicates == "collapse" and not every:
                wanted = Counter(dict.fromkeys(wanted, 1))
            missing += wanted - there.get(place.path, Counter())
        return missing

    def _written(self) -> Counter[bytes]:
        return self._of(self.world.deeds.written)

    @staticmethod
    def _of(some: Counter[bytes]) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for octets, n in some.items():
            found[content_of(octets)] += n
        return found

    def _extras(self) -> Counter[bytes]:
        """Count the second copies that the report names."""
        query = sa.select(message.c.digest, folder.c.path, message.c.target_key).where(
            problem.c.message_id == message.c.id,
            problem.c.kind == "extra",
            folder.c.id == message.c.target_id,
        )
        with self.world.ledger.engine.connect() as connection:
            named = connection.execute(query).all()
        extras: Counter[bytes] = Counter()
        for digest, path, key in named:  # a source that renders anew gave octets that nobody else has seen
            copy = self.world.target.folder(_path(path)).find(key or "")
            extras[self.known.get(digest) or (content_of(copy.octets) if copy else b"")] += 1
        return extras

    def ledger_says(self) -> list[Said]:
        """Read what the ledger says of each message that the source has."""
        target = folder.alias()
        query = sa.select(
            folder.c.path, message.c.key, message.c.state, target.c.path, message.c.target_key,
            message.c.target_gone,
        ).select_from(
            message.join(folder, folder.c.id == message.c.folder_id)
            .outerjoin(target, target.c.id == message.c.target_id)
        ).where(message.c.gone == 0)  # fmt: skip
        with self.world.ledger.engine.connect() as connection:
            return [
                Said(
                    _path(row[0]),
                    row[1],
                    State(row[2]),
                    _path(row[3]) if row[3] else None,
                    row[4],
                    bool(row[5]),
                )
                for row in connection.execute(query)
            ]


def messages(mailbox: MemoryMailbox) -> Iterator[tuple[MemoryFolder, int, StoredMessage]]:
    """Give every message of a mailbox with its folder and its UID, in a fixed order."""
    for _, place in sorted(mailbox.tree.items()):
        for uid in sorted(place.messages):
            yield place, uid, place.messages[uid]


def _path(text: str) -> FolderPath:
    return tuple(json.loads(text))

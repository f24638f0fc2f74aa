"""What the ledger knows of provisioning: each step that was begun, and who is at it.

Its tables are made when they are first needed, in new ledgers and old ones alike; nothing else hangs on them. They
hold names and addresses, and no password.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

import sqlalchemy as sa
from attrs import define, field, frozen

from alimail_core.errors import LeaseHeld, LeaseLost
from alimail_core.ledger.lease import is_alive, this_owner
from alimail_core.ledger.ledger import Ledger
from alimail_core.provisioning.directory import Step, key_of, name_of

metadata = sa.MetaData()

provision = sa.Table(
    "provision",
    metadata,
    # one row: the lease, as accounts have theirs
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False, server_default=""),
    sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
    sa.Column("heartbeat", sa.Float),
)

step_table = sa.Table(
    "provision_step",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.Integer, nullable=False),  # the fence under which it was begun
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),  # what the thing was known by
    sa.Column("new_key", sa.Text, nullable=False),  # and is known by after the step: differs in a rename
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("makes", sa.SmallInteger, nullable=False),
    sa.Column("fields", sa.Text, nullable=False),  # names, not values
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("begun", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),  # when its outcome was told, or its connection was gone
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Index("provision_step_state", "state"),
)


class StepState(IntEnum):
    """How far a step has come. The numbers are stored: never renumber."""

    SENT = 1
    """It may have been carried out. Only looking decides."""
    DONE = 2
    """By the service's word, or by what was read there."""
    REFUSED = 3
    """The service will not; the reason is its own."""
    UNDONE = 4
    """It was certainly not carried out, and may be begun again."""


@frozen
class StepRow:
    """One step as the ledger has it."""

    id: int
    run: int
    kind: str
    key: str
    new_key: str
    name: str
    makes: bool
    fields: tuple[str, ...]
    state: StepState
    begun: float
    ended: float | None
    reason: str


@define
class StepBook:
    """The steps of a ledger, written under a lease; without one (``fence`` is ``None``) only read."""

    ledger: Ledger
    fence: int | None = None
    _told: list[tuple[int, StepState, str]] = field(factory=list, init=False)
    """Outcomes that ride on the next write: a lost one is found again by looking, a lost intent would not be."""

    @classmethod
    @contextmanager
    def lease(cls, ledger: Ledger) -> Iterator[StepBook]:
        """Take the organisation for one run. Raises ``LeaseHeld`` where another living process provisions it."""
        mine, now = this_owner(), ledger.clock.now().timestamp()
        with ledger.told_plainly(), ledger.engine.begin() as connection:
            metadata.create_all(connection)
            row = connection.execute(sa.select(provision)).first()
            if row is None:
                connection.execute(provision.insert().values(id=1))
            elif row.owner and is_alive(row.owner, now - (row.heartbeat or 0.0)):
                raise LeaseHeld(
                    "another process provisions this organisation",
                    remedy="Wait until it is done, or stop it.",
                )
            fence = (row.fence if row else 0) + 1
            connection.execute(provision.update().values(owner=mine, fence=fence, heartbeat=now))
        book = cls(ledger, fence)
        try:
            yield book
        finally:
            with ledger.told_plainly(), ledger.engine.begin() as connection:
                connection.execute(provision.update().where(provision.c.fence == fence).values(owner=""))

    def intend(self, steps: Sequence[Step]) -> list[int]:
        """Write down that these steps are about to be begun; on disk when this returns. Give an id for each."""
        with self._write() as connection:
            first = int(connection.execute(sa.select(sa.func.max(step_table.c.id))).scalar() or 0) + 1
            rows = [self._row(number, step) for number, step in enumerate(steps, first)]
            connection.execute(step_table.insert(), rows)
        return list(range(first, first + len(steps)))

    def settle(self, step_id: int, state: StepState, reason: str = "") -> None:
        """Note how a step ended; written with the next intent, or by ``flush``."""
        self._told.append((step_id, state, reason))

    def flush(self) -> None:
        """Write the outcomes that were noted."""
        if self._told:
            with self._write():
                pass

    def end_open(self) -> None:
        """Note that no connection is left by which a step that was sent could still be answered."""
        with self._write() as connection:
            open_ones = (step_table.c.state == StepState.SENT) & step_table.c.ended.is_(None)
            connection.execute(step_table.update().where(open_ones).values(ended=self._now()))

    def rows(self, states: Iterable[StepState] = tuple(StepState)) -> list[StepRow]:
        """List steps in these states, in the order in which they were begun."""
        wanted = [int(state) for state in states]
        query = sa.select(step_table).where(step_table.c.state.in_(wanted)).order_by(step_table.c.id)
        with self.ledger.told_plainly(), self.ledger.engine.connect() as connection:
            connection = connection.execution_options(alimail_reading=True)
            if not sa.inspect(connection).has_table(step_table.name):
                return []
            return [_row(row) for row in connection.execute(query).mappings()]

    def _row(self, number: int, step: Step) -> dict[str, object]:
        return {
            "id": number,
            "run": self.fence,
            "kind": step.kind.value,
            "key": step.key,
            "new_key": key_of(step.thing),
            "name": name_of(step.thing),
            "makes": int(step.makes),
            "fields": " ".join(step.fields),
            "state": int(StepState.SENT),
            "begun": self._now(),
        }

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """Write under the lease, with the outcomes that wait; on disk when it ends. Raises ``LeaseLost``."""
        with self.ledger.told_plainly(), self.ledger.engine.connect() as connection:
            sqlite = connection.dialect.name == "sqlite"
            if sqlite:
                self.ledger.set_sync(connection, True)
            with connection.begin():
                if not sqlite:
                    self.ledger.set_sync(connection, True)
                self._hold_lease(connection)
                self._write_told(connection)
                yield connection
        self._told.clear()
        self.ledger.on_sync()

    def _hold_lease(self, connection: sa.Connection) -> None:
        mine = provision.c.fence == self.fence
        held = connection.execute(provision.update().where(mine).values(heartbeat=self._now()))
        if held.rowcount != 1:
            raise LeaseLost("another process provisions this organisation now", remedy="It goes on there.")

    def _write_told(self, connection: sa.Connection) -> None:
        if self._told:
            connection.execute(
                step_table.update()
                .where(step_table.c.id == sa.bindparam("step"))
                .values(state=sa.bindparam("new_state"), ended=self._now(), reason=sa.bindparam("why")),
                [{"step": each, "new_state": int(state), "why": why} for each, state, why in self._told],
            )

    def _now(self) -> float:
        return self.ledger.clock.now().timestamp()


def _row(row: sa.RowMapping) -> StepRow:
    return StepRow(
        **{
            **row,
            "makes": bool(row["makes"]),
            "fields": tuple(row["fields"].split()),
            "state": StepState(row["state"]),
        }
    )

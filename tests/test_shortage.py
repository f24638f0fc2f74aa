"""A folder that has more messages than its server lists (``Changes.shortage``): what each verb makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core.errors import Remark
from alimail_core.ledger import Ledger, ProblemRow
from alimail_core.model import INBOX, Changes, Cursor, Folder, Unusable
from alimail_core.testing.memory import MemorySource, MemoryTraits
from tests.organisation import Organisation, message

SHORTAGE = Remark("warning", "it counts 3 items and the server lists 2 of them", "Mend the folder.")


class Short(MemorySource):
    """A source that lists all but the first message of each folder, and says so."""

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Leave out the first, and tell it with the last page."""
        for page in super().changes(requests):
            assert isinstance(page, Changes)
            entries = [entry for entry in page.entries if not entry.key.endswith("/1")]
            yield evolve(page, entries=entries, shortage=SHORTAGE if page.cursor is not None else None)


def short(office: Organisation) -> Organisation:
    """Let the source be short from now on."""
    office.wrap_source = lambda name, _: Short(office.sources[name])
    return office


def problems(office: Organisation) -> list[ProblemRow]:
    """Return what the ledger names."""
    with closing(Ledger.open(office.spec.ledger, office.spec.name)) as ledger:
        return ledger.problems()


@pytest.fixture
def office(tmp_path: Path) -> Organisation:
    """Anna with three messages, on a server that lists each folder whole."""
    office = Organisation(tmp_path, source=MemoryTraits(delta=False))
    office.give("anna", *map(message, ("one", "two", "three")))
    return office


def test_a_pass_carries_what_is_listed_and_names_the_rest(office: Organisation) -> None:
    """As a problem of its folder, as long as it is so."""
    short(office)
    for _ in range(2):
        with office.migration() as migration:
            assert migration.run().exit_code == 3
        (problem,) = problems(office)
        assert (problem.kind, problem.reason, problem.remedy) == ("folder", SHORTAGE.text, SHORTAGE.remedy)
        assert office.targets["anna"].contents()[INBOX].total() == 2
    office.wrap_source = lambda _, side: side
    with office.migration() as migration:
        assert migration.run().exit_code == 0
    assert problems(office) == []
    assert office.targets["anna"].contents()[INBOX].total() == 3


def test_what_is_not_listed_any_more_is_not_taken_for_deleted(office: Organisation) -> None:
    """Deletions are not mirrored from a list that is known to be short."""
    office.spec = evolve(office.spec, options=evolve(office.spec.options, deletions="mirror"))
    with office.migration() as migration:
        migration.run()
    with short(office).migration() as migration:
        migration.run()
    assert office.targets["anna"].contents()[INBOX].total() == 3


def test_a_plan_warns_of_it(office: Organisation) -> None:
    """Before anything moves."""
    with short(office).migration() as migration:
        (planned,) = migration.plan()
    assert planned.level == "warning"
    (remark,) = [each for each in planned.remarks if SHORTAGE.text in each.text]
    assert (remark.text.startswith("the folder INBOX"), remark.remedy) == (True, SHORTAGE.remedy)


@pytest.mark.parametrize("verb", ["verify", "compare"])
def test_no_proof_says_that_all_is_there(office: Organisation, verb: str) -> None:
    """Nobody has seen the rest."""
    with office.migration() as migration:
        migration.run()
    with short(office).migration() as migration:
        (proof,) = getattr(migration, verb)()
    assert (proof.failed, proof.exit_code) == (True, 1)
    (remark,) = [each for each in proof.remarks if SHORTAGE.text in each.text]
    assert (remark.level, remark.remedy) == ("fault", SHORTAGE.remedy)

"""Before anything moves: what ``check`` finds on each side, and what ``plan`` says a pass would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core.check import CheckResult, worst
from alimail_core.errors import Interrupted, Remark
from alimail_core.folders.policy import FolderPolicy, FolderRule
from alimail_core.hookspec import hookimpl
from alimail_core.ledger import Ledger
from alimail_core.model import INBOX, Changes, Cursor, Folder, FolderPath, SpecialUse, Unusable
from alimail_core.plan import AccountPlan
from alimail_core.secrets import Secret
from alimail_core.testing.memory import MemorySource, MemoryTraits
from alimail_core.units import Octets
from tests.organisation import Organisation, account, message


def check(office: Organisation, **changed: object) -> dict[str, CheckResult]:
    """Return Anna's results by side."""
    with office.migration(**changed) as migration:
        return {result.side: result for result in migration.check("anna")}


def plan(office: Organisation, **changed: object) -> AccountPlan:
    """Return Anna's plan."""
    with office.migration(**changed) as migration:
        [planned] = migration.plan("anna")
    return planned


def targets(planned: AccountPlan) -> dict[FolderPath, FolderPath]:
    """Return where each folder goes."""
    return {folder.source: folder.target for folder in planned.folders}


def test_a_sound_account_has_no_fault(tmp_path: Path) -> None:
    """Both sides of an account that can be moved are told with what they hold."""
    office = Organisation(tmp_path, target=MemoryTraits(quota_octets=10**6))
    office.give("anna", message("one"), message("two"))
    found = check(office)
    assert [(each.side, each.level, each.address) for each in found.values()] == [
        ("source", "ok", "anna@old.example"),
        ("target", "ok", "anna@new.example"),
    ]
    assert found["source"].remarks[0].text.startswith("1 folder, 2 messages, ")


def test_each_account_and_side_is_told_in_the_rosters_order(tmp_path: Path) -> None:
    """Results come in order, though accounts are tried side by side."""
    names = [f"user{number}" for number in range(10)]
    office = Organisation(tmp_path, names, workers=4)
    with office.migration() as migration:
        found = [(result.account, result.side) for result in migration.check()]
    assert found == [(f"{name}@old.example", side) for name in names for side in ("source", "target")]


def test_a_refused_login_is_a_fault_of_its_side_alone(tmp_path: Path) -> None:
    """The side whose password is wrong is told with the remedy; the other is tried all the same."""
    office = Organisation(tmp_path)
    wrong = evolve(account("anna"), target_secret=Secret.literal("wrong"))
    found = check(office, accounts=(wrong,))
    assert found["source"].level == "ok"
    assert found["target"].level == "fault"
    assert found["target"].remarks[-1].remedy == "Check the password."


def test_a_secret_that_is_not_there_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that leads nowhere is told by its name."""
    monkeypatch.delenv("ANNAS_PASSWORD", raising=False)
    office = Organisation(tmp_path)
    lost = evolve(account("anna"), source_secret=Secret("env", "ANNAS_PASSWORD", "source anna"))
    found = check(office, accounts=(lost,))
    assert found["source"].level == "fault"
    [remark] = found["source"].remarks  # and nobody tried to log in without it
    assert "ANNAS_PASSWORD" in remark.text


def test_a_missing_plug_in_is_told_with_what_to_install(tmp_path: Path) -> None:
    """An endpoint whose plug-in is not installed is a fault that names the package."""
    office = Organisation(tmp_path)
    lost = evolve(account("anna"), source=evolve(account("anna").source, kind="ews"))
    found = check(office, accounts=(lost,))
    assert "alimail-ews" in found["source"].remarks[-1].remedy


def test_a_bug_is_a_fault_of_its_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a plug-in is told with its type, logged with its trace, and ends nothing else."""
    office = Organisation(tmp_path, ["anna", "bob"])
    del office.sources["anna"]
    with office.migration() as migration:
        levels = [result.level for result in migration.check()]
    assert levels[0] == "fault"
    assert "fault" not in levels[2:]
    assert "a bug at the account anna@old.example" in caplog.text


def test_who_is_disabled_is_not_tried(tmp_path: Path) -> None:
    """Nobody logs in for an account that a run would pass over; it is told, and tried again once it is enabled."""
    office = Organisation(tmp_path, ["anna", "bob"])
    del office.sources["anna"]
    with office.migration() as migration:
        migration.disable("anna")
        found = list(migration.check())
        assert [(each.side, each.level, each.tried) for each in found] == [
            ("source", "note", False),
            ("target", "note", False),
            ("source", "ok", True),
            ("target", "note", True),
        ]
        assert "`alimail enable`" in found[0].remarks[0].remedy
        assert [each.side for each in migration.check("anna", sides=("target",))] == ["target"]
        migration.enable("anna")
        assert next(migration.check()).level == "fault"


def test_a_prompt_is_a_fault_where_others_do_the_work(tmp_path: Path) -> None:
    """A secret that only this process knows cannot be used by workers in other processes."""
    office = Organisation(tmp_path)
    asked = evolve(account("anna"), target_secret=Secret("prompt", "", "target anna"))
    found = check(office, accounts=(asked,), executor="processes")
    assert any("known to this process alone" in remark.text for remark in found["target"].remarks)


@pytest.mark.parametrize(
    ("free", "level"), [(10_000, "ok"), (1_050, "warning"), (999, "fault")], ids=["fits", "nearly", "not"]
)
def test_the_quota_is_held_against_the_sources_size(tmp_path: Path, free: int, level: str) -> None:
    """A mailbox that does not fit is a fault, one that nearly fills the target a warning."""
    octets = message("one", "x" * (1_000 - len(message("one", ""))))
    office = Organisation(tmp_path, target=MemoryTraits(quota_octets=free + len(message("there"))))
    office.targets["anna"].deliver(INBOX, message("there"))
    office.give("anna", octets)
    assert len(octets) == 1_000
    assert check(office)["target"].level == level


class Talkative(MemorySource):
    """A source that has something to say."""

    def remarks(self) -> Iterable[Remark]:
        """Warn."""
        return [Remark("warning", "the certificate expires in 3 days", "Renew it.")]


def test_what_a_side_remarks_is_told(tmp_path: Path) -> None:
    """Remarks of a plug-in, such as of its certificate, are among the results and set the level."""
    office = Organisation(tmp_path)
    office.wrap_source = lambda name, _: Talkative(office.sources[name])
    found = check(office)["source"]
    assert found.level == "warning"
    assert found.remarks[-1].remedy == "Renew it."


def test_a_check_can_be_stopped(tmp_path: Path) -> None:
    """After a wish to stop no further account is tried."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.stop.set()
    with office.migration() as migration, pytest.raises(Interrupted):
        list(migration.check())


def test_a_check_writes_nothing(tmp_path: Path) -> None:
    """Neither side changes, and no ledger is made."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    before = office.sources["anna"].snapshot(), office.targets["anna"].snapshot()
    check(office)
    assert (office.sources["anna"].snapshot(), office.targets["anna"].snapshot()) == before
    assert not Path(office.spec.ledger).exists()


def test_the_gravest_remark_sets_the_level() -> None:
    """Levels go from ok to fault; nothing to say is ok."""
    assert worst([]) == "ok"
    assert worst([Remark("note", ""), Remark("fault", ""), Remark("warning", "")]) == "fault"


# what a pass would do


def test_a_plan_tells_where_each_folder_goes_and_how_much(tmp_path: Path) -> None:
    """Before a first pass everything travels, and folders that are not there yet are told."""
    office = Organisation(tmp_path)
    one, draft = message("one"), message("draft")
    office.give("anna", one)
    office.give("anna", draft, draft, path=("Projects", "2024"))
    planned = plan(office)
    assert targets(planned) == {
        INBOX: INBOX,
        ("Projects",): ("Projects",),
        ("Projects", "2024"): ("Projects", "2024"),
    }
    assert (planned.messages, planned.octets) == (3, len(one) + 2 * len(draft))
    assert [folder.exists for folder in planned.folders] == [True, False, False]
    assert planned.level == "ok"


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    """Neither side changes, and no ledger is made."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"), path=("Projects",))
    before = office.sources["anna"].snapshot(), office.targets["anna"].snapshot()
    plan(office)
    assert (office.sources["anna"].snapshot(), office.targets["anna"].snapshot()) == before
    assert not Path(office.spec.ledger).exists()


@pytest.mark.parametrize("delta", [False, True], ids=["whole listings", "changes only"])
def test_a_later_plan_counts_only_what_still_travels(tmp_path: Path, delta: bool) -> None:
    """After a pass only what is new is counted, however the source lists it."""
    office = Organisation(tmp_path, source=MemoryTraits(delta=delta))
    office.give("anna", message("one"), message("two"))
    with office.migration() as migration:
        migration.run()
    assert plan(office).messages == 0
    new = message("new")
    office.give("anna", new)
    office.sources["anna"].set_flags(INBOX, 1, {"\\Seen"})
    planned = plan(office)
    assert (planned.messages, planned.octets) == (1, len(new))


def test_where_messages_have_no_size_the_folder_has_one(tmp_path: Path) -> None:
    """Its part for those that travel; a folder that tells nothing of itself adds nothing."""
    office = Organisation(tmp_path, source=MemoryTraits(bare_listings=True))
    first, second = message("one"), message("two " * 500)
    office.give("anna", first, second)
    assert plan(office).octets == len(first) + len(second)
    with office.migration() as migration:
        migration.run()
    assert plan(office).octets == 0
    third = message("three")
    office.give("anna", third)
    assert plan(office).octets == (len(first) + len(second) + len(third)) // 3


@pytest.mark.parametrize("delta", [False, True], ids=["whole listings", "changes only"])
def test_what_an_earlier_pass_left_still_travels(tmp_path: Path, delta: bool) -> None:
    """What the source did not give in the last pass is counted once."""
    office = Organisation(tmp_path, source=MemoryTraits(delta=delta))
    [uid, _] = office.give("anna", message("one"), message("two"))
    office.sources["anna"].spoil(INBOX, uid, "NO corrupt")
    with office.migration() as migration:
        migration.run()
    assert plan(office).messages == 1
    office.sources["anna"].set_flags(INBOX, uid, {"\\Seen"})
    assert plan(office).messages == 1


def test_many_accounts_are_each_told_what_is_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is asked for several at once; one that ran, one that did not and one with a rest do not mix."""
    monkeypatch.setattr("alimail_core.plan._ASKED_TOGETHER", 2)
    names = ("anna", "bob", "carl", "dora", "eve")
    office = Organisation(tmp_path, names, source=MemoryTraits(delta=True))
    for number, name in enumerate(names, 1):
        office.give(name, *(message(f"{name} {each}") for each in range(number)))
    office.sources["dora"].spoil(INBOX, 2, "NO corrupt")
    with office.migration() as migration:
        for name in ("eve", "dora", "bob"):
            migration.run(name)
        assert [each.messages for each in migration.plan()] == [1, 0, 3, 1, 0]


def test_a_plan_looks_no_message_up_where_nothing_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of accounts most have nothing: to open the ledger for each would take most of the time."""
    office = Organisation(tmp_path, source=MemoryTraits(delta=True))
    office.give("anna", message("one"))
    with office.migration() as migration:
        migration.run()
    monkeypatch.delattr(Ledger, "read")
    assert plan(office).level == "ok"


def test_a_plan_is_what_a_pass_does(tmp_path: Path) -> None:
    """The folders that a pass makes are those of the plan, also after names were made fit."""
    office = Organisation(tmp_path)
    for path in (("Sent",), ("A/B",), ("A", "B"), ("Ä",)):
        office.sources["anna"].make(path)
        office.give("anna", message("/".join(path)), path=path)
    planned = plan(office)
    with office.migration() as migration:
        migration.run()
    assert set(targets(planned).values()) == set(office.targets["anna"].tree)
    assert targets(plan(office)) == targets(planned)


def test_rules_hooks_and_skipped_folders_are_told(tmp_path: Path) -> None:
    """A plan says why a folder goes where it goes, and why one does not move."""

    class Mapper:
        """Sends the folder Old elsewhere."""

        @hookimpl
        def alimail_map_folder(self, folder: Folder) -> FolderPath | None:
            """Map one folder."""
            return ("Archive 2024",) if folder.path == ("Old",) else None

    office = Organisation(tmp_path)
    for path in (("Old",), ("Secret",)):
        office.sources["anna"].make(path)
    office.sources["anna"].make(("Starred",), special_use=SpecialUse.FLAGGED)
    policy = FolderPolicy(rules=(FolderRule(("Secret",), None),))
    with office.migration(policy=policy) as migration:
        migration.registry.register(Mapper(), name="mapper")
        [planned] = migration.plan()
    assert targets(planned) == {INBOX: INBOX, ("Old",): ("Archive 2024",)}
    assert {folder.rule for folder in planned.folders} == {"inbox", "plug-in"}
    assert {each.source: bool(each.reason) for each in planned.skipped} == {
        ("Secret",): True,
        ("Starred",): True,
    }


def test_the_plan_tells_which_folders_keep_their_place(tmp_path: Path) -> None:
    """Where rules come too late for a folder that was carried, whoever plans reads it before anything moves."""
    office = Organisation(tmp_path)
    office.give("anna", message("old"), path=("Old",))
    with office.migration() as migration:
        migration.run()
        assert [planned.remarks for planned in migration.plan()] == [()]
    policy = FolderPolicy(rules=(FolderRule(("Old",), ("Archive",)),))
    with office.migration(policy=policy) as migration:
        [planned] = migration.plan()
        assert targets(planned)[("Old",)] == ("Old",)
        [remark] = planned.remarks
        assert remark.level == "note"
        assert "Old (goes to Old, and by today's wishes to Archive)" in remark.text
        migration.run()
        assert [planned.remarks for planned in migration.plan()] == [()]


def test_what_will_not_fit_is_told(tmp_path: Path) -> None:
    """Messages that are too large, and a mailbox that is larger than its target, are told with a remedy."""
    office = Organisation(tmp_path, target=MemoryTraits(max_message_octets=600, quota_octets=1_000))
    office.give("anna", message("large", "x" * 1_000), message("small"))
    planned = plan(office)
    assert [remark.level for remark in planned.remarks] == ["warning", "fault"]
    assert planned.remarks[0].text.endswith("(600 octets): 1")
    assert planned.level == "fault"


def test_the_limit_of_the_whole_migration_is_told_where_it_is_passed(tmp_path: Path) -> None:
    """The account with which the migration exceeds its limit is told so, and those after it in the same words."""
    office = Organisation(tmp_path, ["anna", "bob", "carl"])
    for name in ("anna", "bob", "carl"):
        office.give(name, message("one"))
    options = evolve(office.spec.options, limit_octets=Octets(len(message("one"))))
    with office.migration(options=options) as migration:
        anna, bob, carl = migration.plan()
    assert [each.level for each in (anna, bob, carl)] == ["ok", "fault", "fault"]
    assert bob.remarks == carl.remarks


class Blind(MemorySource):
    """A source that lists no messages."""

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Refuse."""
        for folder, _ in requests:
            yield Unusable(folder.path, "NO ask somebody else")


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    """A folder whose messages cannot be counted is a warning, not silence."""
    office = Organisation(tmp_path)
    office.wrap_source = lambda name, _: Blind(office.sources[name])
    planned = plan(office)
    assert planned.level == "warning"
    assert "NO ask somebody else" in planned.remarks[0].text


def test_an_account_that_cannot_be_opened_is_planned_as_a_fault(tmp_path: Path) -> None:
    """One account's refused login does not end the plan of the others."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.give("bob", message("one"))
    wrong = evolve(account("anna"), source_secret=Secret.literal("wrong"))
    with office.migration(accounts=(wrong, account("bob"))) as migration:
        anna, bob = migration.plan()
    assert (anna.level, anna.remarks[0].remedy, anna.folders) == ("fault", "Check the password.", ())
    assert bob.messages == 1

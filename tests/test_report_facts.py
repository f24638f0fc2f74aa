"""What the report tells is what happened: sums that add up, time and speed, what is otherwise than it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from attrs import evolve

from alimail_core.cli import main
from alimail_core.contract import SourceKind
from alimail_core.errors import Refused
from alimail_core.folders.policy import FolderPolicy
from alimail_core.hookspec import hookimpl
from alimail_core.ledger import Ledger
from alimail_core.ledger.servers import keep_way
from alimail_core.messages import MessageFilter
from alimail_core.model import INBOX
from alimail_core.registry import Registry
from alimail_core.report.audit import RECIPE
from alimail_core.report.contents import report_folder
from alimail_core.report.files import as_json, schema_text
from alimail_core.spec import Endpoint
from alimail_core.testing.memory import MemoryTraits
from alimail_core.units import Octets
from alimail_imap.options import ImapOptions
from tests.organisation import Organisation, message
from tests.report_samples import sample
from tests.test_guides import blocks
from tests.test_report import hostile, parsed, prove, rows, run, written

pytestmark = pytest.mark.slow

REFUSE = MemoryTraits(refuse=lambda octets: Refused("NO it is bad") if b"bad" in octets else None)


def told(office: Organisation, number: int = 0) -> dict[str, Any]:
    """Write the report; return what its JSON says of one account."""
    account: dict[str, Any] = json.loads(written(office)["report.json"])["accounts"][number]
    return account


# the schema


def closed(schema: Any) -> Any:
    """Return a schema that allows no field which it does not describe."""
    if isinstance(schema, dict):
        inner = {name: closed(each) for name, each in schema.items()}
        return {**inner, "additionalProperties": False} if "properties" in inner else inner
    return [closed(each) for each in schema] if isinstance(schema, list) else schema


def check(document: dict[str, Any]) -> None:
    """Hold a report against the schema: each field that it has is described, and each that must be is there."""
    schema = closed(json.loads(schema_text()))
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(document)


def test_every_report_is_as_its_schema_says(tmp_path: Path) -> None:
    """A migration with everything in it, a hostile one and one that has not begun are all described."""
    check(as_json(sample(tmp_path, 60)))
    check(json.loads(hostile(tmp_path / "hostile")["report.json"]))
    check(json.loads(written(Organisation(tmp_path / "new"))["report.json"]))


@pytest.mark.parametrize("change", [{"version": 2}, {"more": 1}, {"written": 5}, {"accounts": [{}]}])
def test_the_schema_refuses_what_is_no_report(tmp_path: Path, change: dict[str, Any]) -> None:
    """A wrong value, a missing field and one that is not described are found."""
    with pytest.raises(jsonschema.ValidationError):
        check(as_json(sample(tmp_path, 1)) | change)


def test_the_schema_can_be_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """``alimail report --schema`` needs no configuration, and prints a schema that is one."""
    assert main(["report", "--schema", "--config", str(tmp_path / "none.toml")], Registry()) == 0
    printed = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed == json.loads(schema_text())


# sums


def test_every_message_of_the_source_is_accounted_for(tmp_path: Path) -> None:
    """Stored, refused, left out, collapsed and moved by its user: the balance has them all, and adds up."""
    office = Organisation(tmp_path, target=REFUSE)
    office.spec = evolve(
        office.spec,
        options=evolve(office.spec.options, duplicates="collapse"),
        messages=MessageFilter(smaller=Octets(2_000)),
    )
    twin = message("twin")
    office.give(
        "anna", message("one"), message("two"), twin, twin, message("bad"), message("big", "x" * 3_000)
    )
    run(office)
    office.targets["anna"].delete(INBOX, 1)
    office.sources["anna"].delete(INBOX, 2)
    office.give("anna", message("late"))
    run(office)
    account = told(office)
    balance = account["balance"]
    assert balance == {
        "messages": 6,
        "there": 2,
        "removed": 1,
        "merged": 0,
        "collapsed": 1,
        "left_out": 1,
        "refused": 1,
        "unreadable": 0,
        "pending": 0,
    }
    assert balance["messages"] == sum(number for name, number in balance.items() if name != "messages")
    assert account["source"]["messages"] == 6
    assert account["target"]["messages"] == 3, "also the one whose message has left the source since"
    assert account["source"]["octets"] > 3_000 > account["target"]["octets"] > 0


def test_what_a_cut_off_pass_left_is_still_to_come(tmp_path: Path) -> None:
    """What was listed and not carried is counted as pending."""
    office = Organisation(tmp_path)
    office.give("anna", *(message(f"number {number}") for number in range(5)))
    with office.migration() as migration:
        migration.run(trial=2)
    assert told(office)["balance"] | {"there": 2, "left_out": 3} == told(office)["balance"]


# time


class Slow:
    """Lets an hour go by with each message that a sink takes."""

    def __init__(self, office: Organisation) -> None:
        self.office = office

    def __call__(self, _name: str, sink: Any) -> Any:
        """Wrap a sink's append."""
        append = sink.append

        def slow(messages: Iterable[Any]) -> Any:
            for outcome in append(messages):
                self.office.clock.advance(3_600)
                yield outcome

        sink.append = slow
        return sink


def test_time_and_speed_are_those_of_the_writing_passes(tmp_path: Path) -> None:
    """Two passes that wrote took their hours; one that found nothing new adds none."""
    office = Organisation(tmp_path)
    office.wrap_sink = Slow(office)
    octets = 0
    for letters in (("one", "two"), (), ("three",)):
        given = [message(each) for each in letters]
        octets += sum(map(len, given))
        office.give("anna", *given)
        run(office)
    account = told(office)
    assert account["seconds"] == pytest.approx(3 * 3_600, abs=60)
    assert account["octets_per_second"] == pytest.approx(octets / account["seconds"])


def test_the_progress_is_drawn_from_what_was_sent_when(tmp_path: Path) -> None:
    """Each batch is a point at its time; sums grow, and end with all that was sent."""
    office = Organisation(tmp_path, ["anna", "bob"])
    began = office.clock.now()
    office.give("anna", message("one"), message("two"))
    run(office)
    office.clock.advance(86_400)
    office.give("bob", message("three"))
    run(office)
    files = written(office)
    points = json.loads(files["report.json"])["progress"]
    assert [point["messages"] for point in points] == [2, 3]
    assert points[0]["at"][:10] == began.isoformat()[:10]
    assert points[1]["at"][:10] > points[0]["at"][:10]
    assert "3 messages were sent" in " ".join(parsed(files["report.html"]).text)


def test_what_went_at_one_moment_is_not_drawn(tmp_path: Path) -> None:
    """One batch makes no line, and the page says nothing of how it went."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    run(office)
    assert "How it went" not in written(office)["report.html"]


# what is otherwise than it was


def test_a_refused_message_is_found_by_its_message_id(tmp_path: Path) -> None:
    """Folder, date, size, Message-ID and the server's words are in each file; the subject is in none."""
    office = Organisation(tmp_path, target=REFUSE)
    octets = message("very private subject", "bad")
    office.give("anna", octets, path=("Projects",))
    run(office)
    files = written(office)
    [row] = rows(files["problems.csv"])
    assert row["message id"] == "<very.private.subject@old.example>"
    assert (row["folder"], row["octets"], row["reason"]) == ("Projects", str(len(octets)), "NO it is bad")
    [problem] = json.loads(files["report.json"])["accounts"][0]["problem_list"]
    assert problem["message_id"] == row["message id"]
    assert row["message id"] in " ".join(parsed(files["report.html"]).text)
    assert not [name for name, text in files.items() if "private subject" in text]


def test_what_the_target_changes_is_told_with_how(tmp_path: Path) -> None:
    """Dropped flags, and messages that the target stores otherwise, are counted and told on the page and in CSV."""
    lossy = MemoryTraits(
        storable_flags=frozenset({"\\Seen"}), alter=lambda octets: octets.replace(b"\r\n", b"\n")
    )
    office = Organisation(tmp_path, target=lossy)
    for number in range(3):
        office.sources["anna"].deliver(INBOX, message(f"number {number}"), flags=frozenset({"$Forwarded"}))
    run(office)
    prove(office)
    files = written(office)
    notes = {row["what"]: row["how often"] for row in rows(files["notes.csv"])}
    assert notes["the target cannot store the keyword $Forwarded: left out"] == "3"
    assert notes["altered: the target altered line ends"] == "3"
    text = " ".join(parsed(files["report.html"]).text)
    assert all(each in text for each in notes)
    assert json.loads(files["report.json"])["accounts"][0]["altered"] == 3


def test_servers_are_told_with_their_encryption(tmp_path: Path) -> None:
    """Page, JSON and CSV tell each server's port and encryption, what was found by trying too, and for how many."""
    office = Organisation(tmp_path, ["anna", "bob"])
    source, target = (
        Endpoint("memory", ImapOptions("old")),
        Endpoint("memory", ImapOptions("new", tls="none")),
    )
    accounts = [evolve(each, source=source, target=target) for each in office.spec.accounts]
    office.spec = evolve(office.spec, accounts=tuple(accounts))
    with office.migration() as migration:
        migration.enable("")
        with closing(Ledger.open(office.spec.ledger, office.spec.name)) as ledger:
            keep_way(ledger, ("memory", "old", 0), ("starttls", 143))
    files = written(office)
    document = json.loads(files["report.json"])
    check(document)
    assert [(each["host"], each["tls"], each["port"], each["found"]) for each in document["servers"]] == [
        ("old", "starttls", 143, True),
        ("new", "none", 143, False),
    ]
    assert [(row["host"], row["found"], row["accounts"]) for row in rows(files["servers.csv"])] == [
        ("old", "yes", "2"),
        ("new", "no", "2"),
    ]
    text = " ".join(parsed(files["report.html"]).text)
    assert all(words in text for words in ("STARTTLS", "found by trying", "no encryption"))


def test_folders_with_another_name_are_told_once_for_all_accounts(tmp_path: Path) -> None:
    """A folder that went elsewhere stands on the page once, with how many have it; folders.csv has each."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.spec = evolve(office.spec, policy=FolderPolicy("folder", folder=("Old mail",)))
    for name in ("anna", "bob"):
        office.give(name, message("one"), path=("Projects",))
    run(office)
    prove(office)
    files = written(office)
    text = " ".join(parsed(files["report.html"]).text)
    assert text.count("now Old mail / Projects") == 1
    moved = [row for row in rows(files["folders.csv"]) if row["folder"] == "Projects"]
    assert [row["account"] for row in moved] == ["anna@old.example", "bob@old.example"]
    assert {(row["target folder"], row["proven"]) for row in moved} == {("Old mail/Projects", "1")}
    [renamed] = [each for each in told(office)["renamed_folders"] if each["source"] == ["Projects"]]
    assert renamed["target"] == ["Old mail", "Projects"]


class Poor(Organisation):
    """An organisation whose protocol cannot bring everything."""

    @hookimpl
    def alimail_sources(self) -> Iterable[SourceKind[Any]]:
        """Register the source."""
        [kind] = super().alimail_sources()
        return [evolve(kind, leaves_behind=("its drafts",))]


def test_what_a_protocol_leaves_behind_is_told(tmp_path: Path) -> None:
    """What no mail protocol brings is always told, and what this one does not bring, with its accounts."""
    office = Poor(tmp_path, ["anna", "bob"])
    run(office)
    text = " ".join(parsed(written(office)["report.html"]).text)
    for each in ("rules", "signatures", "contacts", "calendars", "its drafts"):
        assert each in text
    assert "2 accounts came by a protocol that does not bring these either" in text
    assert told(office)["leaves_behind"] == ["its drafts"]


def test_pop3_says_what_it_leaves_behind() -> None:
    """Folders, flags and local archives do not come by POP3; IMAP leaves nothing of that."""
    registry = Registry.load(["imap", "pop3"])
    words = " ".join(registry.source("pop3").leaves_behind)
    assert all(each in words for each in ("folders", "flags", "archives"))
    assert registry.source("imap").leaves_behind == ()


# the way to check it


def test_the_recipe_computes_the_roots(tmp_path: Path) -> None:
    """What page and guide tell to run prints each account's root digest, as accounts.csv has it.

    Two accounts that share their source address are two.
    """
    office = Organisation(tmp_path, ["anna", "bob", "carl"])
    one, two, three = office.spec.accounts
    office.spec = evolve(
        office.spec, accounts=(one, two, evolve(three, source_address=one.source_address, source_user="anna"))
    )
    office.give("anna", message("one"), message("two"))
    office.give("bob", message("three"), path=("A, B", 'C "D"'))
    run(office)
    prove(office)
    files = written(office)
    [recipe] = blocks("report.md", "python")
    assert recipe == RECIPE
    assert all(line in " ".join(parsed(files["report.html"]).text) for line in RECIPE.splitlines())
    folder = report_folder(office.spec)
    done = subprocess.run(
        [sys.executable, "-c", recipe], cwd=folder, capture_output=True, text=True, check=True
    )
    told = [f"{row['root sha256']} {row['account']} {row['target']}" for row in rows(files["accounts.csv"])]
    assert sorted(done.stdout.split("\n")[:-1]) == sorted(told)
    assert len(told) == 3

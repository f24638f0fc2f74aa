"""The report: the answer first, every problem by name, and nothing that a reader's program would act upon."""

from __future__ import annotations

import csv
import errno
import json
import re
import stat
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from alimail_core.errors import InputError, Refused
from alimail_core.model import INBOX
from alimail_core.proof.results import root_digest
from alimail_core.proof.store import ProofStore
from alimail_core.report.contents import report_folder
from alimail_core.testing.memory import MemoryTraits
from tests.organisation import Organisation, account, message

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script>\"'&\x1b[31m\u202e=cmd()"
"""A name that a browser, a terminal or a spreadsheet might act upon."""


def run(office: Organisation) -> None:
    """Make one pass, and let some time go by."""
    with office.migration() as migration:
        migration.run()
    office.clock.advance(60)


def prove(office: Organisation, *, full: bool = True) -> None:
    """Make a proof of every account."""
    with office.migration() as migration:
        list(migration.verify(full=full))
    office.clock.advance(60)


def written(office: Organisation) -> dict[str, str]:
    """Write the report; return the text of each file by its name."""
    with office.migration() as migration:
        return {path.name: path.read_text(encoding="utf-8-sig") for path in migration.report()}


def answers(office: Organisation) -> list[tuple[str, str]]:
    """Return the answer for each account."""
    told = json.loads(written(office)["report.json"])
    return [(each["verdict"]["level"], each["verdict"]["text"]) for each in told["accounts"]]


def rows(text: str) -> list[dict[str, str]]:
    """Read a CSV file."""
    return list(csv.DictReader(text.splitlines(keepends=True)))


class Checker(HTMLParser):
    """Collects a page's elements and its text; every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close an element."""
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


def parsed(page: str) -> Checker:
    """Read a page."""
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.opened == []
    return checker


def test_the_answer_comes_first(tmp_path: Path) -> None:
    """After a complete proof the page begins with the answer that all is there."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.give("anna", message("one"), message("two"))
    run(office)
    prove(office)
    files = written(office)
    text = " ".join(parsed(files["report.html"]).text)
    assert text.index("All there: 2 messages of 2 accounts.") < text.index("Accounts")
    assert json.loads(files["report.json"])["complete"] is True


def test_every_file_is_whole_and_for_its_owner(tmp_path: Path) -> None:
    """The files have mode 0600, and nothing else is left in the folder."""
    office = Organisation(tmp_path)
    run(office)
    written(office)
    folder = report_folder(office.spec)
    names = {path.name for path in folder.iterdir()}
    tables = {"accounts.csv", "folders.csv", "problems.csv", "notes.csv", "servers.csv", "messages.csv"}
    assert names == {"report.html", "report.json", *tables}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_report_can_be_written_before_anything_ran(tmp_path: Path) -> None:
    """Without a ledger every account is told as not begun."""
    office = Organisation(tmp_path)
    assert answers(office) == [("fault", "not begun")]


def test_what_was_not_proven_is_not_told_as_proven(tmp_path: Path) -> None:
    """An account that was carried without a problem is not yet told to be all there."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    run(office)
    assert answers(office) == [("note", "carried; not proven yet")]


def test_an_incomplete_proof_tells_what_lacks(tmp_path: Path) -> None:
    """What came after the last pass makes the answer a no, with its number."""
    office = Organisation(tmp_path)
    run(office)
    office.give("anna", message("one"), message("two"))
    prove(office)
    assert answers(office) == [("fault", "not all there: 2 pending")]


def test_a_pass_that_brought_more_takes_a_proof_back(tmp_path: Path) -> None:
    """What was sent after a proof is not proven by it."""
    office = Organisation(tmp_path)
    run(office)
    prove(office)
    office.give("anna", message("late"))
    run(office)
    [(level, text)] = answers(office)
    assert level == "note"
    assert text.endswith("a pass has brought or met more since")


def test_a_pass_that_took_away_takes_a_proof_back(tmp_path: Path) -> None:
    """What was removed from the target after a proof, by wish, is not there as it was proven."""
    office = Organisation(tmp_path)
    office.spec = evolve(office.spec, options=evolve(office.spec.options, deletions="mirror"))
    office.give("anna", message("one"), message("two"))
    run(office)
    prove(office)
    office.sources["anna"].delete(INBOX, 1)
    run(office)
    assert [level for level, _ in answers(office)] == ["note"]


def test_a_pass_that_met_what_it_could_not_carry_takes_a_proof_back(tmp_path: Path) -> None:
    """A message that was refused after the proof is missing from it."""
    office = Organisation(tmp_path, target=MemoryTraits(max_message_octets=400))
    run(office)
    prove(office)
    office.give("anna", message("large", "x" * 500))
    run(office)
    assert [level for level, _ in answers(office)] == ["note"]


def test_a_pass_that_found_nothing_to_do_leaves_a_proof_alone(tmp_path: Path) -> None:
    """With ``watch``, which looks every few minutes, a proof stands until something comes."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    run(office)
    prove(office)
    run(office)
    assert answers(office) == [("ok", "all there: every octet read back")]


def test_a_failed_account_tells_its_reason_and_remedy(tmp_path: Path) -> None:
    """What stops an account is told with its remedy."""
    office = Organisation(tmp_path)
    office.spec = evolve(office.spec, accounts=(evolve(account("anna"), source_user="nobody"),))
    run(office)
    [(level, text)] = answers(office)
    assert (level, "could not go on" in text) == ("fault", True)


def test_each_problem_is_named_with_folder_key_and_reason(tmp_path: Path) -> None:
    """A message in quarantine stands in the JSON, in the CSV and on the page, with the server's own words."""
    office = Organisation(tmp_path, target=MemoryTraits(max_message_octets=400))
    office.give("anna", message("large", "x" * 500), path=("Projects", "A/B"))
    run(office)
    files = written(office)
    [row] = rows(files["problems.csv"])
    assert (row["account"], row["kind"], row["key"]) == ("anna@old.example", "refused", "1/1")
    assert row["folder"] == r"Projects/A\/B"
    told = json.loads(files["report.json"])["accounts"][0]["problem_list"]
    assert [(each["folder"], each["reason"]) for each in told] == [(["Projects", "A/B"], row["reason"])]
    assert row["reason"] in " ".join(parsed(files["report.html"]).text)


def test_findings_of_the_proof_are_problems_too(tmp_path: Path) -> None:
    """A copy with another content stands among the problems."""
    office = Organisation(tmp_path)
    office.give("anna", message("one", "to be"))
    run(office)
    stored = office.targets["anna"].folder(INBOX).messages[1]
    stored.octets = stored.octets.replace(b"to be", b"to do")
    prove(office)
    files = written(office)
    assert [(row["kind"], row["reason"]) for row in rows(files["problems.csv"])] == [
        ("changed", "the target holds another content")
    ]
    assert "the target holds another content" in files["report.html"]


def test_what_a_proof_only_counts_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder with more of one kind than a proof names, nobody takes those that are named for all."""
    monkeypatch.setattr("alimail_core.proof.verify.MAX_FINDINGS", 2)
    office = Organisation(
        tmp_path, target=MemoryTraits(alter=lambda octets: b"X-Stored-By: test\r\n" + octets)
    )
    office.give("anna", *(message(f"{number}", "to be") for number in range(6)))
    run(office)
    stored = office.targets["anna"].folder(INBOX).messages
    for uid in (1, 2, 3):
        stored[uid].octets = stored[uid].octets.replace(b"to be", b"to do")
    prove(office)
    files = written(office)
    told = Counter((row["kind"], row["reason"][:6]) for row in rows(files["problems.csv"]))
    assert (told["changed", "the ta"], told["changed", "1 more"], told["altered", "1 more"]) == (2, 1, 1)
    assert "1 more, beyond the" in files["report.html"]
    (note,) = [row for row in rows(files["notes.csv"]) if "beyond" in row["what"]]
    assert (note["how often"], note["what"].endswith("; messages.csv has each by its key")) == ("1", True)


def test_the_root_can_be_computed_from_the_messages_file(tmp_path: Path) -> None:
    """Anyone can compute each account's root digest from the list of messages."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.give("anna", message("one"), message("two"))
    office.give("bob", message("three"))
    run(office)
    prove(office)
    files = written(office)
    listed = rows(files["messages.csv"])
    roots = {row["account"]: row["root sha256"] for row in rows(files["accounts.csv"])}
    for name in ("anna@old.example", "bob@old.example"):
        digests = [bytes.fromhex(row["sha256"]) for row in listed if row["account"] == name]
        assert root_digest(digests) == roots[name]


def hostile(tmp_path: Path) -> dict[str, str]:
    """Write the report of a migration in which every name and every word of a server is hostile."""
    refuse = MemoryTraits(refuse=lambda octets: Refused(f"NO {EVIL}") if b"bad" in octets else None)
    office = Organisation(tmp_path, target=refuse)
    office.spec = evolve(office.spec, name=EVIL)
    office.give("anna", message("bad"), message("good"), message("good too"), path=(EVIL,))
    run(office)
    prove(office)
    office.targets["anna"].delete(next(path for path in office.targets["anna"].tree if path != INBOX), 1)
    prove(office)
    return written(office)


def test_nothing_hostile_reaches_a_browser(tmp_path: Path) -> None:
    """Names and servers' words are text on the page, never elements, and controls are made visible."""
    page = hostile(tmp_path)["report.html"]
    assert "script" not in {tag for tag, _ in parsed(page).elements}
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_nothing_hostile_reaches_a_spreadsheet(tmp_path: Path) -> None:
    """No cell begins as a formula does, and none holds a control character."""
    files = hostile(tmp_path)
    for name in ("accounts.csv", "problems.csv", "messages.csv"):
        for row in csv.reader(files[name].splitlines(keepends=True)):
            assert not [cell for cell in row if re.match(r"\s*[=+@-]", cell)], name
            assert not [cell for cell in row if re.search(r"[\x00-\x1f\u202e]", cell)], name


def test_a_formula_in_a_folder_name_is_text(tmp_path: Path) -> None:
    """A folder whose name begins as a formula does is written with an apostrophe before it."""
    office = Organisation(tmp_path, target=MemoryTraits(max_message_octets=10))
    office.give("anna", message("large"), path=("=HYPERLINK(1)",))
    run(office)
    [row] = rows(written(office)["problems.csv"])
    assert row["folder"] == "'=HYPERLINK(1)"


def test_the_json_is_ascii_and_whole(tmp_path: Path) -> None:
    """The JSON holds the names as they are, escaped, so that no terminal acts upon it."""
    text = hostile(tmp_path)["report.json"]
    assert text.isascii()
    told = json.loads(text)
    assert told["migration"] == EVIL
    assert told["accounts"][0]["problem_list"][0]["folder"] == [EVIL]


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    """The page has no script, and no address from which anything would be loaded."""
    elements = parsed(hostile(tmp_path)["report.html"]).elements
    assert not {tag for tag, _ in elements} & {
        "script",
        "link",
        "img",
        "image",
        "iframe",
        "object",
        "form",
        "use",
    }
    assert not [told for _, told in elements for name in told if name == "src" or name.startswith("on")]
    names = {told["id"] for _, told in elements if "id" in told}
    assert {told["href"] for _, told in elements if "href" in told} <= {f"#{name}" for name in names}


def fields_of(value: Any, path: str = "") -> set[str]:
    """Return the paths of all fields of a JSON document; a list's members share one."""
    if isinstance(value, dict):
        return {
            found
            for name, each in value.items()
            for found in ({f"{path}.{name}"} | fields_of(each, f"{path}.{name}"))
        }
    if isinstance(value, list):
        return {found for each in value for found in fields_of(each, f"{path}[]")}
    return set()


def test_the_json_keeps_its_fields(tmp_path: Path) -> None:
    """What programs read of version 1 is there: a field may be added, none may go away."""
    found = fields_of(json.loads(hostile(tmp_path)["report.json"]))
    promised = """
        .schema .version .migration .written .complete .accounts .not_moved .servers
        .accounts[].source_address .accounts[].target_address .accounts[].state .accounts[].enabled
        .accounts[].in_roster .accounts[].passes .accounts[].started .accounts[].ended
        .accounts[].settled_messages .accounts[].settled_octets .accounts[].pending_messages
        .accounts[].pending_octets .accounts[].quarantined .accounts[].problems .accounts[].written_octets
        .accounts[].octets_per_second .accounts[].reason .accounts[].remedy
        .accounts[].verdict.level .accounts[].verdict.text .accounts[].notes
        .accounts[].problem_list[].kind .accounts[].problem_list[].folder .accounts[].problem_list[].key
        .accounts[].problem_list[].size .accounts[].problem_list[].date .accounts[].problem_list[].reason
        .accounts[].problem_list[].remedy .accounts[].problem_list[].first .accounts[].problem_list[].last
        .accounts[].proof.account .accounts[].proof.full .accounts[].proof.complete .accounts[].proof.failed
        .accounts[].proof.at .accounts[].proof.root .accounts[].proof.remarks
        .accounts[].proof.folders[].source .accounts[].proof.folders[].target
        .accounts[].proof.folders[].messages .accounts[].proof.folders[].octets
        .accounts[].proof.folders[].proven .accounts[].proof.folders[].altered
        .accounts[].proof.folders[].moved .accounts[].proof.folders[].collapsed
        .accounts[].proof.folders[].quarantined .accounts[].proof.folders[].pending
        .accounts[].proof.folders[].missing .accounts[].proof.folders[].changed
        .accounts[].proof.folders[].merged .accounts[].proof.folders[].extra
        .accounts[].proof.folders[].gone .accounts[].proof.folders[].root
        .accounts[].proof.folders[].findings[].kind .accounts[].proof.folders[].findings[].key
        .accounts[].proof.folders[].findings[].target .accounts[].proof.folders[].findings[].text
    """
    assert not set(promised.split()) - found


def test_a_kept_proof_is_read_back_as_it_was(tmp_path: Path) -> None:
    """A proof survives its file."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    run(office)
    with office.migration() as migration:
        [proof] = migration.verify()
    assert ProofStore(report_folder(office.spec)).find("anna@old.example", "anna@new.example") == proof


def test_a_spoilt_proof_is_named(tmp_path: Path) -> None:
    """A kept proof that cannot be read is an error with a remedy, and the report is not written without it."""
    office = Organisation(tmp_path)
    run(office)
    prove(office)
    [kept] = (report_folder(office.spec) / "proofs").glob("*.json")
    kept.write_text('{"version": 2, "proof": []}')
    with office.migration() as migration, pytest.raises(InputError) as caught:
        migration.report()
    assert str(kept) in str(caught.value)


def test_a_proof_that_may_not_be_read_is_not_to_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have made it: its reader is told of that, and of nothing that would lose it."""
    store = ProofStore(tmp_path)

    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied") as told:
        store.find("anna@old.example", "anna@new.example")
    assert "emove" not in told.value.remedy


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where the report cannot be written, the error names the folder and the remedy."""
    office = Organisation(tmp_path)
    (tmp_path / "taken").write_text("")
    with office.migration(report_folder=tmp_path / "taken") as migration:
        with pytest.raises(InputError, match="taken") as caught:
            migration.report()
        with pytest.raises(InputError, match="taken"):
            list(migration.verify())
    assert "report_folder" in caught.value.remedy


def test_a_report_can_go_elsewhere(tmp_path: Path) -> None:
    """A folder that is named for once takes the report, with the proofs kept beside the ledger."""
    office = Organisation(tmp_path)
    run(office)
    prove(office)
    with office.migration() as migration:
        paths = migration.report(tmp_path / "elsewhere", search="anna")
    assert {path.parent for path in paths} == {tmp_path / "elsewhere"}
    assert "All there" in paths[0].read_text()


def test_a_database_keeps_its_report_in_the_working_folder() -> None:
    """A ledger that is no file has its report in the folder that the command is run in."""
    office = Organisation(Path("/nowhere"))
    assert report_folder(evolve(office.spec, ledger="postgresql://db/mail")) == Path("alimail-report")

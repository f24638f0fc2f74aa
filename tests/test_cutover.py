"""The checklist of the change."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import pytest
from attrs import evolve

from alimail_core import cutover
from alimail_core.cutover import Checklist, Exchangers, look_up, make_checklist
from alimail_core.network import ServerOptions
from alimail_core.proof.results import AccountProof
from alimail_core.proof.store import ProofStore
from alimail_core.report.contents import AccountReport, Report
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.status import AccountStatus
from alimail_core.testing.certificates import make_certificate
from tests import organisation
from tests.internet import internet
from tests.memory_plugin import MemoryPlugin, command_line, registry_of
from tests.test_undo import CONFIG

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def status(name: str, **columns: object) -> AccountStatus:
    """Return an account that is in sync, but for what is told otherwise."""
    usual: dict[str, object] = {"state": "done", "ended": NOW - timedelta(hours=1)}
    addresses = f"{name}@old.example", f"{name}@new.example"
    return AccountStatus(*addresses, **(usual | columns))  # type: ignore[arg-type]


def seen(domain: str, ttl: int = 86_400) -> Exchangers:
    """Answer for a domain without any server."""
    return Exchangers(domain, ("mx.old.example",), ttl)


class Server(ServerOptions):
    """A server of whatever protocol."""

    implicit_port = 993
    cleartext_port = 143


def accounts_at(old: str, new: str) -> list[AccountSpec]:
    """Return an account between two hosts."""
    [anna] = [organisation.account("anna")]
    source, target = (Endpoint("imap", Server(host)) for host in (old, new))
    return [evolve(anna, source=source, target=target)]


def checklist_of(
    *accounts: AccountStatus | AccountReport,
    look: Callable[[str], Exchangers] = seen,
    old: str = "mail.old.example",
    new: str = "imap.sg.aliyun.com",
) -> Checklist:
    """Make the checklist of accounts, of which none is proven unless it is told."""
    told = [AccountReport(each) if isinstance(each, AccountStatus) else each for each in accounts]
    report = Report("harbour", NOW, tuple(told), ProofStore(Path("nowhere")))
    return make_checklist(report, accounts_at(old, new), look)


def proven(name: str, *, full: bool = True, **columns: object) -> AccountReport:
    """Return an account whose proof, half an hour old, says that all is there."""
    proof = AccountProof(f"{name}@old.example", full=full, at=NOW - timedelta(minutes=30))
    return AccountReport(status(name, **columns), proof=proof)


def test_what_is_in_order_is_done_and_the_change_is_left() -> None:
    """In sync, fresh and without problems is done; the change, the delta, the proof and the end are to do."""
    checklist = checklist_of(status("anna"), status("bert"), look=lambda name: seen(name, 60))
    assert [step.done for step in checklist.steps] == [True, True, True, True, *[False] * 5]
    assert checklist.domains == (seen("new.example", 60), seen("old.example", 60))


def test_a_record_that_leads_to_the_new_system_is_done() -> None:
    """Hosts of the new server's owner are the new system's, unless the old server is of the same owner."""

    def moved(name: str) -> Exchangers:
        return Exchangers(name, ("mx1.sg.aliyun.com", "mx2.sg.aliyun.com"), 600)

    checklist = checklist_of(status("anna"), look=moved)
    assert [each.changed for each in checklist.domains] == [True, True]
    done = [step.text for step in checklist.steps[3:5] if step.done]
    assert done == [
        "the MX of new.example leads to the new system: mx1.sg.aliyun.com, mx2.sg.aliyun.com",
        "mail to the old addresses of old.example goes to the new system: mx1.sg.aliyun.com, mx2.sg.aliyun.com",
    ]
    within = checklist_of(status("anna"), look=moved, old="imap.qiye.aliyun.com")
    assert not any(each.changed for each in within.domains)


@pytest.mark.parametrize(
    ("host", "exchanger", "same"),
    [
        ("imap.acme.com", "mx.acme.com.", True),
        ("imap.acme.com.cn", "mx.other.com.cn", False),
        ("imap.acme.co.uk", "MX.acme.co.uk", True),
        ("imap.acme.de", "acme.de", True),
        ("localhost", "mx.localhost.example", False),
    ],
)
def test_an_owner_is_told_by_the_end_of_a_name(host: str, exchanger: str, same: bool) -> None:
    """What a country's registry gives to everybody is nobody's own."""
    checklist = checklist_of(status("anna"), look=lambda name: Exchangers(name, (exchanger,)), new=host)
    assert checklist.domains[0].changed == same


def test_a_proof_is_done_where_all_of_them_hold() -> None:
    """Every account needs a full proof that no pass has taken back; one that has none is named."""
    proof = [step for step in checklist_of(proven("anna"), proven("bert")).steps if "proven" in step.text]
    assert [step.done for step in proof] == [True]
    assert "2026-01-02 11:30 UTC" in proof[0].text
    odd = [
        proven("anna"),
        proven("bert", full=False),
        proven("carl", ended=NOW, pending_messages=1),
        AccountReport(status("dana")),
    ]
    [step] = [step for step in checklist_of(*odd).steps if "prove it" in step.text]
    assert not step.done
    assert "3 of 4 accounts" in step.text
    assert "bert@old.example, carl@old.example, dana@old.example" in step.text


def test_what_is_behind_is_named_with_what_to_do() -> None:
    """An account that failed, waits, has problems or is old is told; a long-lived MX with the time to wait."""
    odd = [
        status("anna", state="failed"),
        status("bert", pending_messages=3),
        status("carl", problems=2, ended=NOW - timedelta(days=3)),
        status("left", state="failed", in_roster=False),
    ]
    steps = checklist_of(*odd).steps
    assert not any(step.done for step in steps)
    assert "2 of 3 accounts" in steps[0].text
    assert "anna@old.example, bert@old.example" in steps[0].text
    assert "2025-12-30" in steps[1].text
    assert "carl@old.example" in steps[2].text
    assert "2026-01-03 12:00" in steps[3].remedy


def test_what_is_not_looked_at_is_told() -> None:
    """Of many old domains ten are asked for and the rest named; an account under way is told as such."""
    many = [
        evolve(status(f"a{number}"), source_address=f"a{number}@old{number}.example") for number in range(13)
    ]
    asked: list[str] = []

    def look(name: str) -> Exchangers:
        asked.append(name)
        return seen(name)

    steps = checklist_of(*many, status("bert", state="running"), look=look).steps
    assert len(asked) == 11
    assert "of 1 a pass is under way" in steps[0].text
    [rest] = [step for step in steps if "further domains" in step.text]
    assert "4 further domains: old10.example, old11.example, old12.example, old.example" in rest.text
    assert not rest.done


def test_disabled_accounts_are_the_end() -> None:
    """When all accounts are disabled, the last step is done."""
    assert checklist_of(status("anna", enabled=False)).steps[-1].done


@pytest.mark.parametrize(
    ("left", "ttl", "done"), [(90, 86_400, False), (90, 300, True), (3_600, 300, False), (90, None, False)]
)
def test_a_record_is_low_where_its_own_servers_say_so(left: int, ttl: int | None, done: bool) -> None:
    """A resolver tells only what is left of the time that it keeps an answer; a longer rest is of an older record."""
    look = Exchangers("new.example", ("mx.old.example",), ttl, left=left)
    step = checklist_of(status("anna"), look=lambda name: evolve(look, domain=name)).steps[3]
    assert "MX of new.example" in step.text
    assert step.done is done


def test_the_own_name_servers_are_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """How long the record lives is theirs to tell; where they give no answer, or another does, nobody knows."""
    records = {
        ("new.example", "SOA"): ["ns.new.example. dns.new.example. 1 60 60 60 60"],
        ("new.example", "NS"): ["ns.new.example."],
        ("new.example", "MX"): ["10 mx.new.example."],
        ("ns.new.example", "A"): ["127.0.0.1"],
    }
    with internet(records, make_certificate(tmp_path, "new.example")) as world:
        resolve = dns.resolver.resolve

        def kept(name: str, kind: str, **words: Any) -> dns.resolver.Answer:
            answer = resolve(name, kind, **words)
            if kind == "MX" and answer.rrset is not None:
                answer.rrset.ttl = 7
            return answer

        monkeypatch.setattr(dns.resolver, "resolve", kept)
        found = look_up("new.example")
        assert (found.hosts, found.ttl, found.left) == (("mx.new.example",), 60, 7)
        world.failing.add("ns.new.example")
        assert look_up("new.example").ttl is None
        world.failing.clear()
        world.authority = False
        assert look_up("new.example").ttl is None


def test_records_are_told_in_the_order_of_preference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name server's answer the hosts are told, the preferred one first, with the time that it may be kept."""

    def resolve(name: str, kind: str, **_: object) -> dns.resolver.Answer:
        query = dns.message.make_query(name, kind)
        response = dns.message.make_response(query)
        records = dns.rrset.from_text(f"{name}.", 600, "IN", kind, "20 b.example.", "10 a.example.")
        response.answer.append(records)
        received, question = dns.message.from_wire(response.to_wire()), query.question[0]
        assert isinstance(received, dns.message.QueryMessage)
        return dns.resolver.Answer(question.name, question.rdtype, question.rdclass, received)

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    monkeypatch.setattr(cutover, "_own_ttl", lambda _: None)
    assert look_up("new.example") == Exchangers("new.example", ("a.example", "b.example"), left=600)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (dns.resolver.NoNameservers, "could not look up: NoNameservers"),
        (dns.resolver.NXDOMAIN, "the DNS knows no such domain"),
        (dns.resolver.NoAnswer, "there is no MX record"),
    ],
)
def test_without_an_answer_it_says_so(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], told: str
) -> None:
    """Where the DNS gives no answer, the checklist says why, and goes on."""

    def resolve(*_: object, **__: object) -> None:
        raise error.__new__(error)

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    steps = checklist_of(status("anna"), look=look_up).steps
    assert [step.text for step in steps if told in step.text] == [
        f"MX of new.example: {told}",
        f"mail to the old addresses of old.example: {told}",
    ]
    [remedy] = [step.remedy for step in steps if step.text.startswith("MX of new.example")]
    answered = error in (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)
    assert ("where the DNS is reached" in remedy) is not answered
    [change] = [step for step in steps if step.text.startswith("point the MX of new.example")]
    assert change.remedy.startswith("Before, let the domain's SPF record")


def test_the_command_tells_and_keeps_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints the list, or JSON, and keeps it beside the report; no ledger is made."""
    alimail = command_line(registry_of(MemoryPlugin()), tmp_path, monkeypatch)
    monkeypatch.setattr(cutover, "look_up", seen)
    Path("alimail.toml").write_text(CONFIG)
    assert alimail("cutover") == 0
    printed = capsys.readouterr().out
    assert "1. [ ] 1 of 1 accounts" in printed
    assert Path("alimail-report", "cutover.txt").read_text("utf-8") == printed
    assert alimail("cutover", "--json") == 0
    assert json.loads(capsys.readouterr().out)["domains"][0]["hosts"] == ["mx.old.example"]
    assert not Path("alimail.db").exists()

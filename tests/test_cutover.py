"""The checklist of the change."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.message
import dns.resolver
import dns.rrset
import pytest

from alimail_core import cutover
from alimail_core.cli import main
from alimail_core.cutover import Exchangers, look_up, make_checklist
from alimail_core.status import AccountStatus
from alimail_core.testing import FakeClock
from tests.memory_plugin import PASSWORD, MemoryPlugin, registry_of
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


def test_what_is_in_order_is_done_and_the_change_is_left() -> None:
    """In sync, fresh and without problems is done; the change, the delta, the proof and the end are to do."""
    checklist = make_checklist([status("anna"), status("bert")], NOW, lambda name: seen(name, 60))
    assert [step.done for step in checklist.steps] == [True, True, True, True, False, False, False, False]
    assert checklist.domains == (seen("new.example", 60),)


def test_what_is_behind_is_named_with_what_to_do() -> None:
    """An account that failed, waits, has problems or is old is told; a long-lived MX with the time to wait."""
    odd = [
        status("anna", state="failed"),
        status("bert", pending_messages=3),
        status("carl", problems=2, ended=NOW - timedelta(days=3)),
        status("left", state="failed", in_roster=False),
    ]
    steps = make_checklist(odd, NOW, seen).steps
    assert not any(step.done for step in steps)
    assert "2 of 3 accounts" in steps[0].text
    assert "anna@old.example, bert@old.example" in steps[0].text
    assert "2025-12-30" in steps[1].text
    assert "carl@old.example" in steps[2].text
    assert "2026-01-03 12:00" in steps[3].remedy


def test_disabled_accounts_are_the_end() -> None:
    """When all accounts are disabled, the last step is done."""
    assert make_checklist([status("anna", enabled=False)], NOW, seen).steps[-1].done


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
    assert look_up("new.example") == Exchangers("new.example", ("a.example", "b.example"), 600)


def test_without_dns_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no name server answers, the checklist says that it could not look, and goes on."""

    def resolve(*_: object, **__: object) -> None:
        raise dns.resolver.NoNameservers

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    found = look_up("new.example")
    assert found.fault == "could not look up: NoNameservers"
    steps = make_checklist([status("anna")], NOW, lambda _: found).steps
    assert [step.text for step in steps if "could not look up" in step.text]


def test_the_command_tells_and_keeps_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints the list, or JSON, and keeps it beside the report; no ledger is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLD", PASSWORD)
    monkeypatch.setenv("NEW", PASSWORD)
    monkeypatch.setattr(cutover, "look_up", seen)
    Path("alimail.toml").write_text(CONFIG)
    registry = registry_of(MemoryPlugin())
    assert main(["cutover"], registry, FakeClock()) == 0
    printed = capsys.readouterr().out
    assert "1. [ ] 1 of 1 accounts" in printed
    assert Path("alimail-report", "cutover.txt").read_text("utf-8") == printed
    assert main(["cutover", "--json"], registry, FakeClock()) == 0
    assert json.loads(capsys.readouterr().out)["domains"][0]["hosts"] == ["mx.old.example"]
    assert not Path("alimail.db").exists()

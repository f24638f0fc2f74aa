"""The ends of an account: which server's keys a pass trusts, and how many connections write."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import evolve, frozen

from alimail_core.contract import Credentials, ExecutorKind, Sink, SinkKind, Source, option
from alimail_core.ends import Openers, endpoint_name, shared_out
from alimail_core.errors import Denied
from alimail_core.hookspec import hookimpl
from alimail_core.migration import Migration
from alimail_core.options import TransferOptions
from alimail_core.pace import Pace
from alimail_core.registry import Registry
from alimail_core.running import ORDINARY, Running
from alimail_core.seam import Clock
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec
from alimail_core.testing.memory import MemoryMailbox, MemorySink
from alimail_core.transfer import PassSummary
from alimail_core.units import Octets
from alimail_imap.options import ImapOptions
from alimail_sink.options import AlibabaOptions
from tests.organisation import PASSWORD, MemoryOptions, Organisation, account, message

ALIMAIL = Endpoint("alimail", AlibabaOptions())
IMAP = Endpoint("imap", ImapOptions(host="mail.old.example"))


@frozen
class _Tree:
    """The options of a kind that tells no address."""

    root: Path = option("Where.")
    depth: int = option("How deep.", default=3)


def name(endpoint: Endpoint, user: str = "anna", **changed: object) -> str:
    """Name an endpoint after options were changed."""
    return endpoint_name(evolve(endpoint, options=evolve(endpoint.options, **changed)), user)


@pytest.mark.parametrize(("workers", "source", "target"), [(1, 9, 20), (4, 2, 5), (50, 1, 1)])
def test_workers_that_cannot_see_each_other_keep_a_limit_together(
    workers: int, source: int, target: int
) -> None:
    """Each has its part of the connections, and the server is the same to the ledger."""
    few = evolve(IMAP, options=evolve(IMAP.options, max_connections=9))
    shared = shared_out(evolve(account("anna"), source=few, target=ALIMAIL), workers)
    assert [each.options.max_connections for each in (shared.source, shared.target)] == [source, target]
    assert endpoint_name(shared.source, "anna") == endpoint_name(IMAP, "anna")
    unlimited = evolve(account("anna"), source=IMAP, target=IMAP)
    assert shared_out(unlimited, workers) == unlimited


def test_a_worker_elsewhere_is_given_its_part(tmp_path: Path) -> None:
    """Connections and pace, which its own governor holds it to."""
    given: list[MigrationSpec] = []

    def elsewhere(spec: MigrationSpec, *_: object) -> PassSummary:
        given.append(spec)
        return PassSummary("anna@old.example", 0, "done")

    far = ExecutorKind("far", "As if in other processes.", ThreadPoolExecutor, same_process=False)
    with Organisation(tmp_path, workers=4, pace=(Pace(Octets(1_000)),)).migration() as migration:
        Running(migration, far, [evolve(account("anna"), target=ALIMAIL)], ORDINARY, elsewhere).finish()
    [spec] = given
    assert spec.accounts[0].target.options.max_connections == 5
    assert spec.pace[0].octets_per_second == 250


@pytest.mark.parametrize(
    "other",
    [
        name(ALIMAIL, region="sg"),
        name(ALIMAIL, host="mail.example"),
        name(ALIMAIL, user="anna2"),
        endpoint_name(Endpoint("imap", ALIMAIL.options.imap()), "anna"),
    ],
    ids=["region", "host", "user", "kind"],
)
def test_another_server_or_mailbox_has_another_name(other: str) -> None:
    """A changed region, host, user or kind is seen, also where no host is written down."""
    assert endpoint_name(ALIMAIL, "anna") != other


def test_what_does_not_move_the_mailbox_changes_no_name() -> None:
    """A longer time-out, or the capitals of a host, make no server another."""
    assert name(ALIMAIL, timeout=9.0, append_connections=2) == endpoint_name(ALIMAIL, "anna")
    assert name(IMAP, host="Mail.OLD.example", ca=Path("x.pem")) == endpoint_name(IMAP, "anna")
    assert endpoint_name(ALIMAIL, "anna") == "alimail imap.qiye.aliyun.com:993 anna"


def test_a_kind_without_an_address_is_named_by_what_it_was_given() -> None:
    """All options that differ from their defaults count, so that a new option of a later version changes nothing."""
    tree = Endpoint("tree", _Tree(Path("/srv")))
    assert endpoint_name(tree, "anna") == f"tree root={Path('/srv')!r} anna"
    assert name(tree, depth=4) != endpoint_name(tree, "anna")


@frozen
class _Options:
    """Options by which a test sees what reaches the sink."""

    host: str = option("The server's name.", default="one.example")
    append_connections: int = option("How many write.", default=16)

    @property
    def address(self) -> tuple[str, int]:
        """Return which server it is."""
        return self.host, 993


def moving_to(office: Organisation, options: _Options) -> AccountSpec:
    """Return the office's account with a target of these options."""
    return evolve(office.spec.accounts[0], target=Endpoint("seen", options))


@pytest.mark.parametrize(("order", "connections"), [("strict", 1), ("recent", 16)])
def test_strict_order_reaches_the_sink(
    order: Literal["strict", "recent"], connections: int, tmp_path: Path
) -> None:
    """With ``order = strict`` one connection writes a mailbox; otherwise as many as configured."""
    office = _Seen(tmp_path)
    with office.migration(
        accounts=(moving_to(office, _Options()),),
        options=TransferOptions(read_ahead_octets=0, order=order),
    ) as migration:
        assert migration.run().exit_code == 0
    assert {each.append_connections for each in office.opened} == {connections}


def side_by_side(office: Organisation, secret: Secret | None = None) -> Migration:
    """Open a migration that reads ahead, and so opens both sides at the same time if it may."""
    [anna] = office.spec.accounts
    if secret is not None:
        anna = evolve(anna, target_secret=secret)
    return office.migration(accounts=(anna,), options=TransferOptions())


def test_both_sides_log_in_at_the_same_time(tmp_path: Path) -> None:
    """Each login goes on only once the other one has begun."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    both = threading.Barrier(2, timeout=60)

    def meet(_: str, side: Any) -> Any:
        both.wait()
        return side

    office.wrap_source = office.wrap_sink = meet
    with side_by_side(office) as migration:
        [summary] = migration.run().accounts
    assert (summary.state, summary.copied) == ("done", 1)


def test_a_sink_that_nobody_wants_any_more_is_closed(tmp_path: Path) -> None:
    """Where the source does not open, the sink is closed again, and its slot is free for the next attempt."""
    office = Organisation(tmp_path)
    opened, closed = threading.Event(), threading.Event()

    def refuse(_: str, side: Source) -> Source:
        assert opened.wait(60)
        raise Denied("NO the mailbox is locked")

    class Noted(MemorySink):
        def close(self) -> None:
            closed.set()
            super().close()

    def note(name: str, _: Sink) -> Sink:
        opened.set()
        return Noted(office.targets[name])

    office.wrap_source, office.wrap_sink = refuse, note
    with side_by_side(office) as migration:
        assert [each.state for each in migration.run().accounts] == ["failed"]
        assert closed.wait(60)
        office.wrap_source = lambda _, side: side
        assert [each.state for each in migration.run().accounts] == ["done"]


class _Opening:
    """What opens sinks and notes in which threads; ``gate``: only so many together."""

    def __init__(self, together: int = 1) -> None:
        self.threads: set[threading.Thread] = set()
        self._gate = threading.Barrier(together, timeout=60)

    def __call__(self) -> Sink:
        self._gate.wait()
        self.threads.add(threading.current_thread())
        return MemorySink(MemoryMailbox())


def test_a_thread_that_has_opened_a_sink_opens_others() -> None:
    """One after another they need few threads, and together one each."""
    openers, opening = Openers(), _Opening()
    for _ in range(60):
        openers.begin(opening).wait()
    assert len(opening.threads) < 30, "each had a thread of its own"
    opening = _Opening(together=8)
    for coming in [openers.begin(opening) for _ in range(8)]:
        coming.wait()
    assert len(opening.threads) == 8


def test_a_thread_that_nobody_needs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no sink is left to one that is about to end."""
    monkeypatch.setattr("alimail_core.ends.KEPT", 0.0)
    openers, opening = Openers(), _Opening()
    for _ in range(200):
        openers.begin(opening).wait()
    for thread in opening.threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in opening.threads)


def test_who_is_asked_for_a_password_is_asked_once_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a secret that is asked for, one side is opened after the other."""
    office = Organisation(tmp_path)
    monkeypatch.setattr("getpass.getpass", lambda _: PASSWORD)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    threads: list[str] = []

    def note(_: str, side: Sink) -> Sink:
        threads.append(threading.current_thread().name)
        return side

    office.wrap_sink = note
    with side_by_side(office, Secret("prompt", "", "target anna")) as migration:
        migration.run()
    assert not any(name.startswith("alimail-sink") for name in threads)
    assert len(threads) == 1


@pytest.mark.slow
def test_keys_of_another_server_are_not_trusted(tmp_path: Path) -> None:
    """After the target was moved to another server, the same keys there name somebody else's mail."""
    office = _Seen(tmp_path)
    office.give("anna", message("one"))
    with office.migration(accounts=(moving_to(office, _Options()),)) as migration:
        migration.run()
    office.targets["anna"].remake(("INBOX",))
    office.targets["anna"].deliver(("INBOX",), message("somebody else's"))
    office.targets["anna"].deliver(("INBOX",), message("one"))
    with office.migration(accounts=(moving_to(office, _Options("two.example")),)) as migration:
        [summary] = migration.run().accounts
        assert (summary.copied, summary.problems) == (0, 0)
        [proof] = migration.verify(full=True)
    assert [(folder.proven, folder.extra) for folder in proof.folders] == [(1, 1)]


class _Seen(Organisation):
    """An organisation with a second kind of sink, which notes the options that it is opened with."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.opened: list[_Options] = []

    @property
    def registry(self) -> Registry:
        """Add the kind ``seen``."""
        registry = super().registry
        registry.register(_SeenPlugin(self), name="seen")
        return registry

    def open_seen(self, options: _Options, login: Credentials, clock: Clock) -> Sink:
        """Note the options, and open Anna's target."""
        self.opened.append(options)
        return self._open_sink(MemoryOptions(), login, clock)


@frozen
class _SeenPlugin:
    office: _Seen

    @hookimpl
    def alimail_sinks(self) -> list[SinkKind[_Options]]:
        """Register the sink."""
        return [SinkKind("seen", "A sink whose options a test sees.", _Options, self.office.open_seen)]

"""Every public name of ``alimail_core``, used as others use it. Never run: mypy reads it.

What breaks a line here breaks the code of whoever wrote a plug-in or embeds the library. A test holds that no public
name is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_type

from attrs import frozen

from alimail_core import (
    BATCH_MESSAGES,
    BATCH_OCTETS,
    INBOX,
    PAGE,
    SYSTEM_FLAGS,
    AccountComparison,
    AccountPlan,
    AccountProof,
    AccountSpec,
    AccountStatus,
    AlimailError,
    Argument,
    Batch,
    BatchSettled,
    Changes,
    CheckResult,
    Clock,
    Command,
    Credentials,
    Cursor,
    Delivery,
    Denied,
    Department,
    DepartmentPath,
    Directory,
    Employee,
    Endpoint,
    Entry,
    Event,
    ExecutorKind,
    Fault,
    Finding,
    FlagChange,
    Folder,
    FolderComparison,
    FolderCount,
    FolderListed,
    FolderPath,
    FolderPlan,
    FolderPolicy,
    FolderProof,
    FolderRule,
    FolderSettled,
    Gone,
    Group,
    Headers,
    InDoubt,
    InputError,
    Interrupted,
    JsonLog,
    LeaseHeld,
    LeaseLost,
    LedgerError,
    LeftBehind,
    LoginDenied,
    MailCount,
    MapContext,
    Message,
    MessageFilter,
    MessageProof,
    MessagesProven,
    Migration,
    MigrationSpec,
    MigrationSummary,
    Mismatch,
    Moved,
    NobodyThere,
    Noted,
    NoTls,
    NotStored,
    Observer,
    Octets,
    OptionRow,
    OverQuota,
    Pace,
    PassEnded,
    PassStarted,
    PassSummary,
    PathRules,
    Patience,
    PluginError,
    PluginInfo,
    PluginProblem,
    ProblemFound,
    ProofEnded,
    ProofStarted,
    Provisioner,
    ProvisionerKind,
    ProvisionerTraits,
    ProvisionSpec,
    Quota,
    Refused,
    Registry,
    Remark,
    Secret,
    ServerOptions,
    Sink,
    SinkKind,
    SinkTraits,
    Skipped,
    Source,
    SourceKind,
    SpecialUse,
    Step,
    StepDone,
    StepNotDone,
    Stop,
    Stored,
    Thing,
    Throttled,
    Traits,
    TransferOptions,
    Transient,
    Unreadable,
    Unusable,
    Waiting,
    department_key,
    describe_options,
    dial,
    find_tls,
    fingerprint,
    fold,
    hookimpl,
    key_of,
    load,
    load_provision,
    loads,
    option,
    parse_secret,
    parse_url,
    root_digest,
    tls_context,
    tls_error,
    tls_remark,
)

# A plug-in


@frozen
class Options:
    """Options as a plug-in declares them."""

    host: str = option("The server's name.")
    depth: int = option("How deep.", default=3)
    token: str | None = option("A token.", default=None, secret=True)


class Store(Sink):
    """Each method with the signature of the contract."""

    traits = SinkTraits(
        stable_octets=True,
        max_connections=4,
        host="mail.example",
        rules=PathRules("/", "\\*", 8, 200, "utf-8", case_sensitive=False, keep_spaces=False),
        max_message_octets=50_000_000,
        moves=True,
    )

    def folders(self) -> Iterator[Folder]:
        """List folders."""
        yield Folder(INBOX)
        yield Folder(("A", "B"), SpecialUse.SENT, True, True, 1, 2, handle="A/B")

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """List changes."""
        for folder, cursor in requests:
            if cursor is None:
                yield Unusable(folder.path, "NO")
            entries = [Entry("1", 10, datetime.now(UTC), SYSTEM_FLAGS)] * PAGE
            yield Changes(folder, "1", entries, ["2"], complete=False, storable_flags=SYSTEM_FLAGS)
            yield Changes(folder, "1", complete=False, cursor={"modseq": 7})

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give headers."""
        yield Headers(entries[0].key, b"")

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give messages."""
        for folder, (one, *_) in requests:
            yield Message(folder.path, one.key, b"", flags=one.flags, internal_date=one.internal_date)
            yield Gone(folder.path, one.key)
            yield Unreadable(folder.path, one.key, "NO")

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """Look."""
        return (Entry(key) for key in keys)

    def remarks(self) -> Iterable[Remark]:
        """Tell remarks."""
        return [Remark("ok", "fine"), Remark("fault", "not so", "mend it")]

    def left_behind(self) -> Iterable[LeftBehind]:
        """Tell what stays."""
        return [LeftBehind(("Calendar",), 3)]

    def close(self) -> None:
        """Close."""

    def quota(self) -> Quota | None:
        """Tell the quota."""
        return Quota(used=1, limit=2)

    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        """Make folders."""
        return (Folder(path, use) for path, use in wanted)

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store messages."""
        errors: list[Refused | InDoubt | Transient] = [Refused("NO", about="size"), InDoubt("?", over=True)]
        errors += [Transient("BYE", remedy="wait"), Throttled("slower", retry_after=3)]
        for batch in batches:
            assert len(batch) <= BATCH_MESSAGES
            assert sum(len(one.octets) for one in batch) <= BATCH_OCTETS
            for delivery, error in zip(batch, errors, strict=False):
                yield Stored(delivery.id, key="1")
                yield NotStored(delivery.id, error)
        raise OverQuota("full", remedy="make room")

    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        """Change flags."""
        assert_type(changes[0].add, frozenset[str])

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        """Move."""
        return (Moved(key, new_key=None) for key in keys)

    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        """Remove."""
        return iter(keys)


def open_store(options: Options, credentials: Credentials, clock: Clock) -> Store:
    """Open a store."""
    assert_type(credentials.password(), str)
    assert_type(clock.now(), datetime)
    raise Denied(f"{credentials.user} may not", remedy=f"ask {options.host}")


@frozen
class Line(ServerOptions):
    """The options of a server on the network."""

    implicit_port = 995
    cleartext_port = 110

    depth: int = option("How deep.", default=3)


def reach(options: Line) -> bytes:
    """Reach a server, encrypt, and tell what a header says."""
    assert_type(options.address, tuple[str, int])
    patience = Patience()
    patience.begin()
    patience.moved(1)
    assert_type(patience.waited(1.0), str)
    with dial(options) as plain:
        try:
            encrypted = tls_context(options).wrap_socket(plain, server_hostname=options.host)
        except OSError as error:
            raise tls_error(error, options) from error
        assert_type(tls_remark(encrypted), Remark)
    return fingerprint(b"Subject: x").value


def begin(options: Line) -> None:
    """Connect, find no TLS, and let go."""
    try:
        dial(options).close()
    except NobodyThere as error:
        raise NoTls(f"{options.host} has no TLS") from error


def probe(options: Line) -> Line:
    """Find out how a server is reached."""
    return assert_type(find_tls(options, begin), Line)


def open_executor(workers: int) -> Executor:
    """Open an executor."""
    return ThreadPoolExecutor(workers)


def say(arguments: dict[str, str | bool | None]) -> int:
    """Do what a command does."""
    return len(arguments)


@hookimpl
def alimail_sources() -> list[SourceKind[Options]]:
    """Register a source."""
    return [SourceKind("store", "A store.", Options, open_store)]


@hookimpl
def alimail_sinks() -> list[SinkKind[Options]]:
    """Register a sink."""
    return [SinkKind("store", "A store.", Options, open_store)]


@hookimpl
def alimail_provisioners() -> list[ProvisionerKind[Options]]:
    """Register a provisioner."""
    return [ProvisionerKind("desk", "A desk.", Options, open_desk)]


@hookimpl
def alimail_executors() -> list[ExecutorKind]:
    """Register an executor."""
    return [ExecutorKind("mine", "Mine.", open_executor, same_process=True)]


@hookimpl
def alimail_commands() -> list[Command]:
    """Register a command."""
    return [
        Command("say", "Say it.", say, (Argument("what", "What."), Argument("--loud", "Loud.", flag=True)))
    ]


@hookimpl
def alimail_map_folder(folder: Folder, context: MapContext) -> FolderPath | None:
    """Map a folder."""
    return (context.source_address, context.target_address, context.policy, *folder.path)


@hookimpl
def alimail_observe(event: Event) -> None:
    """Observe, every event by its own fields."""
    match event:
        case PassStarted(account=account, number=number):
            assert_type((account, number), tuple[str, int])
        case Waiting(seconds=seconds, reason=reason):
            assert_type((seconds, reason), tuple[float, str])
        case FolderListed(folder=folder, target=target, pending_messages=messages, pending_octets=octets):
            assert_type((folder, target, messages, octets), tuple[FolderPath, FolderPath, int, int])
        case BatchSettled(copied=copied, adopted=adopted, octets=octets):
            assert_type((copied, adopted, octets), tuple[int, int, int])
        case FolderSettled(folder=folder):
            assert_type(folder, tuple[str, ...])
        case ProblemFound(key=key, reason=reason, remedy=remedy):
            assert_type((key, reason, remedy), tuple[str | None, str, str])
        case Noted(text=text, count=count):
            assert_type((text, count), tuple[str, int])
        case PassEnded(state=state, copied=copied, problems=problems):
            assert_type((state, copied, problems), tuple[str, int, int])
        case ProofStarted(messages=messages, octets=octets):
            assert_type((messages, octets), tuple[int, int])
        case MessagesProven(folder=folder, messages=messages, octets=octets):
            assert_type((folder, messages, octets), tuple[FolderPath, int, int])
        case ProofEnded(complete=complete, failed=failed):
            assert_type((complete, failed), tuple[bool, bool])


# A program that embeds alimail


def registries() -> Registry:
    """Make registries."""
    registry = Registry.load(only=["imap"])
    registry = Registry.load()
    registry.register(Store, name="mine", distribution="mine", version="1")
    assert_type(registry.problems, tuple[PluginProblem, ...])
    assert_type(registry.plugins(), list[PluginInfo])
    assert_type(registry.source("store"), SourceKind[Any])
    assert_type(registry.commands(), list[Command])
    assert_type(describe_options(Options), list[OptionRow])
    return registry


def specify(registry: Registry) -> MigrationSpec:
    """Specify a migration, by file, by text, by URL and by hand."""
    assert_type(load(Path("alimail.toml"), registry), MigrationSpec)
    assert_type(load_provision(Path("alimail.toml"), registry), ProvisionSpec)
    assert_type(loads("", registry, path=Path("alimail.toml")), MigrationSpec)
    source, user = parse_url("imap://ann@old.example", registry, "source")
    target = Endpoint("store", Options(host="new.example"))
    secrets = parse_secret("env:OLD", label="ann"), Secret.literal("secret", label="ann")
    account = AccountSpec("ann@old.example", "ann@new.example", source, target, user, "ann", *secrets)
    rules = (FolderRule(("Projects", "**"), ("Archive",)), FolderRule(("Spam",), None))
    return MigrationSpec(
        "move",
        "alimail.db",
        (account,),
        options=TransferOptions(adopt="headers", duplicates="collapse", deletions="mirror"),
        policy=FolderPolicy("folder", ("Old",), rules, frozenset({SpecialUse.JUNK})),
        messages=MessageFilter(unseen=True, smaller=Octets(25_000_000)),
        pace=(Pace(Octets(500_000), "08:00", "18:00"),),
        workers=8,
        executor="threads",
        report_folder=Path("report"),
    )


def migrate(spec: MigrationSpec, registry: Registry, stop: Stop) -> None:
    """Do everything that a migration can."""
    log = JsonLog(Path("log.jsonl"), spec.name)
    observers: list[Observer] = [alimail_observe, log]
    with Migration(spec, registry, observers=observers, clock=Clock(), stop=stop) as migration:
        assert_type(list(migration.check()), list[CheckResult])
        assert_type(list(migration.plan("ann")), list[AccountPlan])
        assert_type(migration.run("ann", refill=True), MigrationSummary)
        assert_type(migration.run_account(spec.accounts[0]), PassSummary)
        assert_type(migration.status(), list[AccountStatus])
        assert_type(migration.enable("ann") + migration.disable("ann"), list[str])
        assert_type(list(migration.verify("ann", full=True)), list[AccountProof])
        assert_type(list(migration.compare("ann", full=True)), list[AccountComparison])
        assert_type(migration.report(Path("report"), "ann"), list[Path])
        stop.set(15)
        assert_type(stop.is_set(), bool)


def root(proof: MessageProof) -> None:
    """Compute a folder's root digest again."""
    assert_type(root_digest([proof.digest]), str)


def read(plan: AccountPlan, proof: AccountProof, summary: MigrationSummary, check: CheckResult) -> None:
    """Read what a migration answers."""
    assert_type(plan.folders, tuple[FolderPlan, ...])
    assert_type(plan.skipped, tuple[Skipped, ...])
    assert_type((plan.messages, plan.octets, plan.level), tuple[int, int, str])
    assert_type(proof.folders, tuple[FolderProof, ...])
    assert_type(proof.folders[0].findings, tuple[Finding, ...])
    assert_type((proof.complete, proof.exit_code), tuple[bool, int])
    assert_type(summary.accounts, tuple[PassSummary, ...])
    assert_type(summary.exit_code, int)
    assert_type(check.remarks, tuple[Remark, ...])


class Desk(Provisioner):
    """A provisioner that holds nothing."""

    @property
    def traits(self) -> ProvisionerTraits:
        """Hold names only."""
        return ProvisionerTraits(employee_fields=frozenset({"name"}), renames=False, groups=False)

    def read(self) -> Directory:
        """Tell one of each."""
        return Directory.of([Department(("A", "B")), Employee("a@b", name="A"), Group("g@b")])

    def look(self, thing: Thing) -> Thing | None:
        """Find nothing."""
        return None

    def count_mail(self, addresses: Iterable[str]) -> Iterator[MailCount]:
        """Count one folder of each."""
        for each in addresses:
            yield MailCount(each, (FolderCount("Sent", 1, SpecialUse.SENT, inbox=fold(each) == ""),))

    def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
        """Do every other step."""
        for step in steps:
            assert_type(step.thing, Department | Employee | Group)
            path: DepartmentPath = ("A",)
            assert_type(key_of(step.thing) == department_key(path), bool)
            yield StepNotDone(step, Refused("no")) if step.makes else StepDone(step)

    def close(self) -> None:
        """Do nothing."""


def open_desk(options: Options, _clock: Clock) -> Desk:
    """Open it."""
    return Desk()


def read_comparison(told: AccountComparison) -> None:
    """Read what two mailboxes have in common."""
    assert_type(told.folders, tuple[FolderComparison, ...])
    assert_type(told.folders[0].mismatches, tuple[Mismatch, ...])
    assert_type((told.complete, told.exit_code), tuple[bool, int])


def fail(act: Callable[[], None]) -> int:
    """Tell errors apart."""
    try:
        act()
    except Throttled as error:
        assert_type(error.retry_after, float | None)
    except InDoubt as error:
        assert_type(error.over, bool)
    except Refused as error:
        assert_type(error.about, str)
    except Interrupted as error:
        assert_type(error.signal, int)
    except InputError as error:
        assert_type(error.faults, tuple[Fault, ...])
    except (PluginError, LedgerError, LeaseHeld, LeaseLost, LoginDenied, OverQuota) as error:
        assert_type(error.remedy, str)
    except AlimailError as error:
        return error.exit_code
    return 0


def sides(source: Source, delivery: Delivery) -> Traits:
    """Use a source as a context manager."""
    with source as opened:
        assert_type(opened, Source)
        return opened.traits if delivery.flags else Traits()

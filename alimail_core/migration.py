"""All accounts of a migration: run, check, plan, status, verify, report, enable and disable.

A ``Migration`` is what a program that embeds alimail works with, and what the command line stands on. It keeps no
global state, so several may live in one process. One account that fails never stops the others.

Passes, proofs, reports and undo are imported where they are asked for: ``status`` and many a pass are soon over.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import asdict, evolve, frozen

from alimail_core.check import SIDES, CheckResult, check_account, passed_over
from alimail_core.ends import Ends, Openers, endpoint_name, written_in_order
from alimail_core.errors import AlimailError, Disabled, InputError, Interrupted, Remark, Unreached
from alimail_core.events import Event, Noted, Observer, PassEnded
from alimail_core.executors import in_order
from alimail_core.governor import Governor
from alimail_core.ledger import Ledger
from alimail_core.listening import Heard, listen
from alimail_core.model import INBOX
from alimail_core.plan import AccountPlan, Known, known_of, override_of, plan_account
from alimail_core.registry import Registry
from alimail_core.running import ORDINARY, Running, Wish
from alimail_core.seam import Clock, Stop
from alimail_core.spec import AccountSpec, MigrationSpec
from alimail_core.status import AccountStatus, status_of
from alimail_core.traces import trace_of
from alimail_core.ways import Ways

if TYPE_CHECKING:
    from alimail_core.proof.results import AccountComparison, AccountProof
    from alimail_core.report.contents import Report
    from alimail_core.telling import Line
    from alimail_core.transfer import PassSummary
    from alimail_core.undo import Undone

__all__ = [
    "AccountPlan",
    "AccountStatus",
    "CheckResult",
    "Migration",
    "MigrationSummary",
    "run_account",
]

_log = logging.getLogger(__name__)


@frozen
class MigrationSummary:
    """How a run ended: one summary for each account, in the roster's order."""

    accounts: tuple[PassSummary, ...]
    signal: int | None = None
    """What asked to stop, where something did."""

    @property
    def exit_code(self) -> int:
        """0: all there; 3: done, with problems; 1: something could not go on; 130 or 143: interrupted.

        Accounts that wait for their passwords are problems where others went on; disabled ones are none.
        """
        states = {
            "problems" if each.state == "trial" and each.problems else each.state for each in self.accounts
        }
        if self.signal is not None and "stopped" in states:
            return 128 + self.signal
        if "failed" in states or states - {"disabled"} == {"pending"}:
            return 1
        return 3 if states & {"problems", "stopped", "pending"} else 0


class Migration:
    """One migration, opened by whoever works with it. Close it, or use it as a context manager.

    ``observers`` see every event, from several threads but one at a time. ``stop`` ends a run between two batches.
    The ledger is opened when it is first needed, and made by ``run``, ``enable`` and ``disable`` alone.
    """

    def __init__(
        self,
        spec: MigrationSpec,
        registry: Registry,
        *,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.spec = spec
        self.registry = registry
        self.clock = clock or Clock()
        self.stop = stop or Stop()
        self._observers = tuple(observers)
        self._observing = threading.RLock()
        self._governor = Governor(self.clock, self.stop, spec.pace)
        self._ways = Ways(self._found_ledger)
        self._openers = Openers()
        self._ledger: Ledger | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        """Return the migration itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened inside."""
        self.close()

    def close(self) -> None:
        """Let go of the ledger. Idempotent."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    # what moves mail

    def run(
        self, search: str = "", *, refill: bool = False, retry: bool = False, trial: int | None = None
    ) -> MigrationSummary:
        """Make one pass over every account that has ``search`` in one of its addresses, several side by side.

        ``refill`` also copies again what is in the target no more, and what it refused; ``retry`` only what it
        refused; ``trial`` carries so many of each folder's newest messages and no more. Raises ``LedgerError`` where
        the ledger cannot be opened and ``PluginError`` for an executor that is not there; whatever befalls one
        account is in its summary.
        """
        accounts = self._matching(search)
        self._made_ledger()
        kind = self.registry.executor(self.spec.executor)
        done = Running(self, kind, accounts, Wish(refill, retry, trial), run_account).finish()
        return MigrationSummary(tuple(done), self.stop.signal if self.stop.is_set() else None)

    def run_account(self, account: AccountSpec, wish: Wish = ORDINARY) -> PassSummary:
        """Make one pass over one account in this thread. Raises nothing but what ends a process."""
        try:
            return self.try_account(account, wish)
        except Unreached as error:
            return self.ended(account, "failed", str(error), error.remedy)

    def try_account(self, account: AccountSpec, wish: Wish = ORDINARY) -> PassSummary:
        """Make one pass over one account in this thread; raise ``Unreached`` where one of its servers is away."""
        try:
            return self._pass(account, wish)
        except Unreached:
            raise
        except Interrupted as error:
            from alimail_core.transfer import interrupted_state

            return self.ended(account, interrupted_state(error), str(error), error.remedy)
        except AlimailError as error:
            return self.ended(account, "failed", str(error), error.remedy)
        except Exception as bug:  # noqa: BLE001 - one account's bug must not stop the others
            self.tell_bug(account, bug)
            return self.ended(account, "failed", *bug_words(bug))

    def _pass(self, account: AccountSpec, wish: Wish) -> PassSummary:
        from alimail_core.transfer import run_pass

        if self.stop.is_set():
            raise Interrupted("stopped on request", signal=self.stop.signal)
        ledger = self._made_ledger()
        account_id = ledger.account(account.source_address, account.target_address)
        if not self.is_enabled(account):
            raise Disabled("the account is disabled", remedy="`alimail enable` lets it go on.")
        ends = self._ends(account, writes=True)
        policy = self.spec.policy_of(account)
        return run_pass(
            account=account.source_address,
            ledger=ledger,
            account_id=account_id,
            open_source=ends.source,
            open_sink=ends.sink,
            options=self.spec.options,
            policy=policy,
            messages=self.spec.messages,
            map_folder=override_of(self.registry, account, policy),
            observe=self.observe,
            clock=self.clock,
            stop=self.stop,
            refill=wish.refill,
            retry=wish.retry,
            trial=wish.trial,
            endpoints=(
                endpoint_name(account.source, account.source_user),
                endpoint_name(account.target, account.target_user),
            ),
        )

    def ended(self, account: AccountSpec, state: str, reason: str, remedy: str) -> PassSummary:
        """Sum up, and tell the observers of, a pass that could not tell of its own end."""
        from alimail_core.transfer import PassSummary

        summary = PassSummary(account.source_address, 0, state, reason=reason, remedy=remedy)
        self.tell_end(summary)
        return summary

    def tell_end(self, summary: PassSummary) -> None:
        """Tell the observers of a pass whose own events did not reach them."""
        self.observe(PassEnded(**asdict(summary)))

    def enable(self, search: str) -> list[str]:
        """Let the accounts that match run; return their source addresses."""
        return self._switch(self._matching(search), True)

    def disable(self, search: str) -> list[str]:
        """Keep the accounts that match from running; one that runs stops before its next batch."""
        return self._switch(self._matching(search), False)

    def _switch(self, accounts: Sequence[AccountSpec], enabled: bool) -> list[str]:
        ledger = self._made_ledger()
        ledger.enable(
            [ledger.account(each.source_address, each.target_address) for each in accounts], enabled
        )
        return [each.source_address for each in accounts]

    def ask_to_stop(self, accounts: Sequence[AccountSpec]) -> None:
        """Ask the passes of these accounts to stop, whatever process they run in; they may run again at once."""
        ledger = self._made_ledger()
        ledger.ask_to_stop([ledger.account(each.source_address, each.target_address) for each in accounts])

    def is_enabled(self, account: AccountSpec) -> bool:
        """Tell whether an account may run."""
        ledger = self._made_ledger()
        account_id = ledger.account(account.source_address, account.target_address)
        with closing(ledger.read(account_id)) as book:
            return book.enabled()

    def undo(self, account: AccountSpec, folder: str = "", *, dry_run: bool = False) -> Undone:
        """Take out of an account's target what this migration wrote there; see ``alimail_core.undo``.

        Unless it is a ``dry_run``, the account is disabled first, and stays so. Raises what ``undo_account`` raises.
        """
        from alimail_core.undo import undo_account

        ledger = self._found_ledger()
        account_id = _ids(ledger).get((account.source_address, account.target_address))
        if ledger is None or account_id is None:
            raise InputError(f"{account}: nothing was carried yet", remedy="There is nothing to undo.")
        return undo_account(self._ends(account), ledger, account_id, folder, dry_run=dry_run)

    def listen(self, account: AccountSpec, over: Callable[[], bool]) -> Heard:
        """Wait for new mail in an account's inbox until ``over()`` is true; see ``alimail_core.listening``."""
        ledger = self._made_ledger()
        account_id = ledger.account(account.source_address, account.target_address)
        with closing(ledger.read(account_id)) as book:
            inbox = next((row for row in book.folders("source") if row.path == INBOX), None)
        if inbox is None or inbox.cursor is None or inbox.target_id is None:
            return Heard.NOT_NOW
        keep = 2 * max(self.spec.workers, 1)  # a pass has two ends, which may be of one server
        return listen(self._ends(account), inbox.cursor, over, keep=keep, tell_bug=self._bug_teller(account))

    # what only looks

    def check(self, search: str = "", sides: Collection[str] = SIDES) -> Iterator[CheckResult]:
        """Try both sides of every account that matches, or one; a result for each, in the roster's order.

        One that is disabled is told and not tried. Raises ``PluginError`` for an executor that is not there,
        ``LedgerError`` and ``Interrupted``; never for one account.
        """
        leaves = not self.registry.executor(self.spec.executor).same_process
        ledger = self._found_ledger()
        disabled = {
            (row.source_address, row.target_address)
            for row in (ledger.accounts() if ledger else [])
            if not row.enabled
        }

        def one(account: AccountSpec) -> list[CheckResult]:
            if (account.source_address, account.target_address) in disabled:
                return passed_over(account, sides)
            return list(
                check_account(
                    self._ends(account),
                    leaves_process=leaves,
                    tell_bug=self._bug_teller(account),
                    sides=sides,
                )
            )

        for results in in_order(one, self._matching(search), self.spec.workers):
            yield from results

    def plan(self, search: str = "") -> Iterator[AccountPlan]:
        """Tell what ``run`` would do with every account that matches; writes nothing anywhere.

        An account with which the migration would exceed its limit of octets is told so. Raises ``LedgerError``
        and ``Interrupted``; never for one account.
        """
        ledger = self._found_ledger()

        def one(of: tuple[AccountSpec, Known | None]) -> AccountPlan:
            account, known = of
            return plan_account(
                self._ends(account),
                known,
                self.spec.policy_of(account),
                self.spec.messages,
                tell_bug=self._bug_teller(account),
            )

        total = ledger.total_octets() if ledger else 0
        for planned in in_order(one, known_of(self._matching(search), ledger), self.spec.workers):
            total += planned.octets
            yield self._within_limit(planned, total)

    def _within_limit(self, planned: AccountPlan, total: int) -> AccountPlan:
        limit = self.spec.options.limit_octets
        if limit is None or total <= limit or not planned.octets:
            return planned
        # In the same words for all, so that it is told once: the first that is named is the one that exceeds it.
        text = f"this account and those before it exceed the migration's limit of {limit:,} octets"
        remark = Remark("fault", text, "Ask the target's provider, then raise `limit_octets`.")
        return evolve(planned, remarks=(*planned.remarks, remark))

    def status(self, search: str = "") -> list[AccountStatus]:
        """Tell from the ledger how far every account that matches has come; also while another process runs."""
        ledger = self._found_ledger()
        accounts, others = self._matching(search), not self.spec.partial
        return status_of(accounts, ledger, search, now=self.clock.now(), others=others)

    def verify(self, search: str = "", *, full: bool = False) -> Iterator[AccountProof]:
        """Hold both sides of every account that matches against the ledger; see ``alimail_core.proof.verify``.

        ``full`` reads every octet back. Each proof, with the digest of each message, is kept beside the report,
        which needs it. Raises ``LedgerError``, ``Interrupted``, and ``InputError`` where the report's folder cannot
        be written; never for one account.
        """
        from alimail_core.proof.store import ProofStore
        from alimail_core.proof.verify import verify_account
        from alimail_core.report.contents import report_folder

        ledger = self._found_ledger()
        ids = _ids(ledger)
        store = ProofStore(report_folder(self.spec))

        def one(account: AccountSpec) -> AccountProof:
            addresses = account.source_address, account.target_address
            return store.keep(
                *addresses,
                lambda each_message, known: verify_account(
                    self._ends(account),
                    ledger,
                    ids.get(addresses),
                    self.spec.policy_of(account),
                    self.spec.messages,
                    full=full,
                    known=known,
                    each_message=each_message,
                    observe=self.observe,
                    tell_bug=self._bug_teller(account),
                ),
            )

        yield from in_order(one, self._matching(search), self.spec.workers)

    def compare(self, search: str = "", *, full: bool = False) -> Iterator[AccountComparison]:
        """Hold both sides of every account that matches against each other; see ``alimail_core.proof.independent``.

        Neither the ledger nor an earlier proof is asked. Raises ``Interrupted``; never for one account.
        """

        from alimail_core.proof.independent import compare_account

        def one(account: AccountSpec) -> AccountComparison:
            return compare_account(
                self._ends(account),
                self.spec.policy_of(account),
                self.spec.messages,
                full=full,
                collapse=self.spec.options.duplicates == "collapse",
                observe=self.observe,
                tell_bug=self._bug_teller(account),
            )

        yield from in_order(one, self._matching(search), self.spec.workers)

    def known(self, search: str = "") -> Report:
        """Tell all that ledger and latest proofs know of every account that matches; no server is asked.

        Raises ``LedgerError``, and ``InputError`` for a proof that cannot be read.
        """
        from alimail_core.proof.store import ProofStore
        from alimail_core.report.contents import make_report, report_folder

        return make_report(
            self.spec,
            self.registry,
            self.status(search),
            self._found_ledger(),
            ProofStore(report_folder(self.spec)),
            self._ways.servers(self.spec.accounts),
            now=self.clock.now(),
            partial=self.spec.partial or bool(search),
        )

    def report(self, folder: Path | None = None, search: str = "") -> list[Path]:
        """Write the report's files from the ledger and the latest proofs; no server is asked.

        ``folder``: by default the configuration's, or one beside the ledger. Returns the paths written. Raises
        ``LedgerError``, and ``InputError`` where the folder cannot be written.
        """
        from alimail_core.report.contents import report_folder
        from alimail_core.report.files import write_report

        return write_report(self.known(search), folder or report_folder(self.spec))

    # what all of it stands on

    def observe(self, event: Event) -> None:
        """Tell every observer and every plug-in that observes; one event at a time.

        What an observer raises is logged and stops nothing.
        """
        with self._observing:
            for observer in self._observers:
                try:
                    observer(event)
                except Exception as bug:  # noqa: BLE001 - somebody else's code; it must not stop a migration
                    _log.warning("an observer failed: %s", " <- ".join(trace_of(bug)))
            self.registry.observe(event)

    def tell_bug(self, account: AccountSpec, bug: Exception) -> None:
        """Log where a bug came from, without the exception's text, which may hold a piece of a message."""
        from alimail_core.logs import JsonLog  # with all of structlog: only for who has a log, or a bug

        logs = [observer for observer in self._observers if isinstance(observer, JsonLog)]
        for log in logs:
            log.bug(bug)
        if not logs:
            _log.error("a bug at the account %s:\n%s", account.source_address, "\n".join(trace_of(bug)))

    def _bug_teller(self, account: AccountSpec) -> Callable[[Exception], None]:
        return lambda bug: self.tell_bug(account, bug)

    def _ends(self, account: AccountSpec, *, writes: bool = False) -> Ends:
        if self.spec.options.order == "strict":
            account = evolve(account, target=written_in_order(account.target))
        name = account.source_address
        return Ends(
            account,
            self.registry,
            self._governor,
            self.clock,
            self._ways,
            lambda text: self.observe(Noted(name, text)),
            writes=writes,
            # One thing after another, so that tests repeat exactly.
            openers=self._openers if self.spec.options.read_ahead_octets else None,
        )

    def _matching(self, search: str) -> list[AccountSpec]:
        wanted = search.casefold()
        return [
            each
            for each in self.spec.accounts
            if wanted in each.source_address.casefold() or wanted in each.target_address.casefold()
        ]

    def _made_ledger(self) -> Ledger:
        """Open the ledger, made where there is none. Raises ``LedgerError``."""
        with self._opening:
            if self._ledger is None:
                self._ledger = Ledger.open(self.spec.ledger, self.spec.name, self.clock)
            return self._ledger

    def _found_ledger(self) -> Ledger | None:
        """Open the ledger; ``None`` where there is none yet. Raises ``LedgerError``."""
        with self._opening:
            is_there = (
                self._ledger is not None or "://" in self.spec.ledger or _may_exist(Path(self.spec.ledger))
            )
        return self._made_ledger() if is_there else None


def _may_exist(ledger: Path) -> bool:
    """Tell whether there is a ledger; one that cannot be looked for may be there, and opening it tells why not."""
    try:
        return ledger.exists()
    except OSError:
        return True


class _Elsewhere(Migration):
    """A migration in a worker process: what happens is observed where the run was begun, if that can be reached."""

    tell: Observer | None = None

    def observe(self, event: Event) -> None:
        """Tell it there."""
        (self.tell or super().observe)(event)


def run_account(spec: MigrationSpec, wish: Wish = ORDINARY, line: Line | None = None) -> PassSummary:
    """Make one pass over a migration's only account, in a process that has nothing but this plain data.

    It builds its own registry of the installed plug-ins, reads the secrets, opens the ledger, and tells over the
    line how it goes. Ctrl-C reaches every process of a terminal; who has started the workers decides, so they leave
    it to them.
    """
    if threading.current_thread() is threading.main_thread() and multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    from alimail_core.telling import contact  # with all of multiprocessing: only for a worker

    with ExitStack() as stack:
        tell = stack.enter_context(contact(line)) if line is not None else None
        migration = stack.enter_context(_Elsewhere(spec, Registry.load()))
        migration.tell = tell
        return migration.try_account(spec.accounts[0], wish)


def bug_words(bug: BaseException) -> tuple[str, str]:
    """Return reason and remedy for an exception that nobody foresaw; its text may hold what is private."""
    return f"{type(bug).__name__}: a bug in alimail or in a plug-in", "Report it, with the log of the run."


def _ids(ledger: Ledger | None) -> dict[tuple[str, str], int]:
    rows = ledger.accounts() if ledger else []
    return {(row.source_address, row.target_address): row.id for row in rows}

"""One account's pass from beginning to end: attempts, each with connections of its own, until all is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from attrs import asdict, frozen

from alimail_core.contract import Sink, Source
from alimail_core.errors import (
    AlimailError,
    Disabled,
    InDoubt,
    Interrupted,
    LeaseLost,
    LedgerError,
    LoginDenied,
    Throttled,
    Transient,
    Unreached,
)
from alimail_core.events import FolderSettled, Observer, PassEnded, PassStarted
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Ledger, State
from alimail_core.messages import EVERYTHING, MessageFilter
from alimail_core.model import Folder, FolderPath
from alimail_core.options import TransferOptions
from alimail_core.seam import PATIENCE, Clock, Stop
from alimail_core.transfer.doubt import adopt_undone, resolve_doubts, send, tell_lost, tell_merged
from alimail_core.transfer.follow import carry_flags, follow_moves, mirror_deletions, targets_with_news
from alimail_core.transfer.listing import chunks, leave_out, list_source, pair_folders, tell_listed
from alimail_core.transfer.reconcile import reconcile
from alimail_core.transfer.state import NOT_CARRIED, Pair, Pass, Run

ATTEMPTS = 8
"""Attempts in a row without any progress, and ``PATIENCE`` without any, before the account is given up for now."""

SURELY_OVER = 86_400.0
"""Seconds after which no server finishes what was sent to it: a second copy that turns up then is a user's own."""

LONGEST_PAUSE = 300.0
"""Seconds between two attempts at the most, unless the server asks for more."""


@frozen
class PassSummary:
    """How a pass ended. ``state``: ``"done"``, ``"problems"``, ``"trial"``, ``"stopped"``, ``"disabled"``,
    ``"failed"``, or ``"pending"``: a password is missing or refused.
    """

    account: str
    number: int
    state: str
    copied: int = 0
    adopted: int = 0
    octets: int = 0
    problems: int = 0
    reason: str = ""
    remedy: str = ""
    left_out: int = 0
    """Messages of the source that are not carried by wish."""


def run_pass(
    *,
    account: str,
    ledger: Ledger,
    account_id: int,
    open_source: Callable[[], Source],
    open_sink: Callable[[], Sink],
    options: TransferOptions,
    policy: FolderPolicy,
    messages: MessageFilter = EVERYTHING,
    map_folder: Callable[[Folder], FolderPath | None] = lambda _: None,
    observe: Observer = lambda _: None,
    clock: Clock | None = None,
    stop: Stop | None = None,
    refill: bool = False,
    retry: bool = False,
    trial: int | None = None,
    endpoints: tuple[str, str] = ("", ""),
) -> PassSummary:
    """Carry everything that is new, changed or moved at the source; whatever happens, nothing twice.

    Opens and closes both sides as often as it takes. Raises ``LeaseHeld``, ``LeaseLost``, ``LedgerError``,
    bugs, and ``Unreached`` where a side could not be opened at all: whoever called has its thread back, and calls
    again later. Every other end, also a failed login, is a summary and stands in the ledger. ``refill`` first asks
    again for what the target lost or refused, ``retry`` only for what it refused. A ``trial`` carries so many of
    each folder's newest messages, and leaves the rest to later passes.
    """
    with ledger.lease(account_id) as book:
        run = Run(
            account,
            book,
            options,
            policy,
            map_folder,
            observe,
            clock or Clock(),
            stop or Stop(),
            refill,
            messages,
            trial,
        )
        number = book.begin_pass(*endpoints, run.left_out_by)
        if retry:
            book.offer_refused()
        run.tell(PassStarted(account, number))
        try:
            state, error = _until_settled(run, open_source, open_sink)
        except Unreached as away:
            book.end_pass("failed", str(away), away.remedy)
            raise
        except Exception as bug:
            if not isinstance(bug, LeaseLost | LedgerError):
                book.end_pass("failed", f"{type(bug).__name__}: a bug in alimail or in a plug-in")
            raise
        _tell_dropped(run)
        problems = book.open_problems()
        if state == "done" and trial is not None:
            state = "trial"
        elif state == "done" and problems:
            state = "problems"
        reason, remedy = (str(error), error.remedy) if error else ("", "")
        left_out = book.count_all(State.LEFT_OUT)
        book.end_pass(state, reason, remedy)
    done = run.counts
    summary = PassSummary(
        account, number, state, done.copied, done.adopted, done.octets, problems, reason, remedy, left_out
    )
    run.tell(PassEnded(**asdict(summary)))
    return summary


def _until_settled(
    run: Run, open_source: Callable[[], Source], open_sink: Callable[[], Sink]
) -> tuple[str, AlimailError | None]:
    """Make attempts until one ends, or none gets any further; return the pass's state and what ended it."""
    failures, fruitless, since = 0, 0, 0.0
    while True:
        before = _progress(run)
        try:
            _attempt(run, open_source, open_sink)
            return "done", None
        except (LeaseLost, LedgerError):
            raise
        except Interrupted as error:
            return interrupted_state(error), error
        except (Transient, InDoubt) as error:
            if isinstance(error, Unreached) and not failures:
                raise
            failures = 1 if _progress(run) != before else failures + 1
            since = run.clock.monotonic() if failures == 1 else since
            # Who lets nobody in, or asks for time, says nothing against what was asked.
            fruitless = min(failures, fruitless + (not isinstance(error, Unreached | Throttled)))
            run.counts.careful = fruitless > 1
            # Who asks for time bears only so much of it at once.
            run.counts.piecemeal |= fruitless > 1 or (failures > 1 and isinstance(error, Throttled))
            if failures >= ATTEMPTS and run.clock.monotonic() - since >= PATIENCE:
                return "failed", error
            lost = error
        except AlimailError as error:
            return "pending" if isinstance(error, LoginDenied) else "failed", error
        try:
            run.wait(_pause(run, failures, lost), str(lost))
        except Interrupted as error:
            return interrupted_state(error), error


def _progress(run: Run) -> tuple[int, ...]:
    """Measure how far the pass has come: two equal answers mean that nothing was achieved between them."""
    done = run.counts
    return *run.book.progress(), len(run.book.unfinished()), done.places, len(done.latest), done.deeds


def interrupted_state(error: Interrupted) -> str:
    """Say as what a pass ended that was asked to: who is disabled by wish needs no second look."""
    return "disabled" if isinstance(error, Disabled) else "stopped"


def _pause(run: Run, failures: int, error: AlimailError) -> float:
    """Return seconds to wait: what the server asks for, else exponential back-off with jitter."""
    if isinstance(error, Throttled) and error.retry_after is not None:
        return max(error.retry_after, 0.1)
    return float(min(LONGEST_PAUSE, 2.0 ** min(failures, 12)) * (0.5 + run.clock.random() / 2))


def _attempt(run: Run, open_source: Callable[[], Source], open_sink: Callable[[], Sink]) -> None:
    """Open both ends and carry; whatever ends it, the target's settle time runs from their closing on."""
    try:
        with open_source() as source, _listing(run, source) as sources, open_sink() as sink:
            p = Pass.of(run, source, sink)
            carry(p, sources)
    except (LeaseLost, LedgerError):
        raise
    except AlimailError:
        run.book.end_open_batches()
        raise


@contextmanager
def _listing(run: Run, source: Source) -> Iterator[Callable[[], Sequence[Folder]]]:
    """Let the source list its folders while the sink is opened; what is given waits for the list."""
    if not run.options.read_ahead_octets:  # one thing after another, so that tests repeat exactly
        yield lambda: list(source.folders())
        return
    with ThreadPoolExecutor(1, thread_name_prefix="alimail-folders") as pool:
        yield pool.submit(lambda: list(source.folders())).result


def _tell_dropped(run: Run) -> None:
    for flag, count in run.counts.dropped.items():
        if flag in NOT_CARRIED:
            run.note("messages that are marked for deletion at the source: carried without the mark", count)
        else:
            run.note(f"the target cannot store the keyword {flag}: left out", count)


def carry(p: Pass, sources: Callable[[], Sequence[Folder]]) -> None:
    """Make one attempt with open ends; returns when everything that the source told is settled or named."""
    p.book.forget_doubts(SURELY_OVER)
    adopt_undone(p)
    pair_folders(p, sources)
    if p.refill and not p.counts.refilled:
        reconcile(p, p.unseen())
        p.book.refill()
        p.counts.refilled = True
    for pairs in chunks(p):
        p.check_in()
        listed = list_source(p, pairs)
        if p.later:
            follow_moves(p)
        leave_out(p, listed)
        tell_listed(p, listed)
        if p.counts.piecemeal:
            _carry_piecemeal(p, pairs)
        reconcile(p, targets_with_news(p, pairs))
        send(p, pairs)
        save_cursors(p, pairs)
    resolve_doubts(p)
    while p.book.reconsider_twins(State.COLLAPSED):  # the twin was refused, or its copy was moved
        reconcile(p, targets_with_news(p, p.pairs))
        send(p, p.pairs)
        resolve_doubts(p)
    carry_flags(p)
    mirror_deletions(p)
    # Also what was stored before a connection died, and read back only now.
    looked = [
        target for target in p.targets.values() if target.surveyed is not None or target.id in p.counts.looked
    ]
    tell_merged(p, looked)
    tell_lost(p, looked)
    save_cursors(p, p.pairs)
    p.book.forget_problems("extra", list({row.id for row in p.book.doubled()} - p.book.still_doubled()))
    left = p.book.pending()
    if any(pair.id in left and pair.target.surveyed is not None for pair in p.pairs):
        raise Transient("the target did not take all messages", remedy="Run the same command again.")
    for place in p.source.left_behind():
        p.note_once(f"no mail, and stays at the source: {'/'.join(place.path)}", place.items)
    if p.later and not p.incomplete:
        p.book.let_go()


def _carry_piecemeal(p: Pass, pairs: Sequence[Pair]) -> None:
    """Do for one folder after another what is to be done in it, so that it has no more news when it is left."""
    for pair in pairs:
        news = [target for target in targets_with_news(p, [pair]) if target is pair.target]
        if news:
            reconcile(p, news)
            send(p, [pair])
            carry_flags(p)
        save_cursors(p, [pair])


def save_cursors(p: Pass, pairs: Sequence[Pair]) -> None:
    """Store how far the listing came of each folder of which everything is settled, or named as a problem."""
    unsettled = p.book.unsettled()
    ready = [pair for pair in pairs if pair.id in p.cursors and pair.id not in unsettled]
    known = {row.id: row.cursor for row in p.book.folders("source")}
    moved_on = {pair.id: p.cursors[pair.id] for pair in ready if p.cursors[pair.id] != known[pair.id]}
    p.book.save_cursors(moved_on)
    for pair in ready:
        del p.cursors[pair.id]
        p.tell(FolderSettled(p.account, pair.source.path))

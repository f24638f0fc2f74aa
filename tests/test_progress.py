"""Progress: what is added up from events, and how it is drawn on a terminal and elsewhere."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import pytest
from rich.console import Console

from alimail_core.cli.output import duration_text, octets_text, reason_lines, table_lines
from alimail_core.cli.progress import LiveProgress, PlainProgress, Progress, make_progress
from alimail_core.cli.tally import Estimate, Sizes, Tally
from alimail_core.events import (
    BatchSettled,
    Event,
    FolderListed,
    FolderSettled,
    MessagesProven,
    Noted,
    PassEnded,
    PassStarted,
    ProblemFound,
    ProofEnded,
    ProofStarted,
    Waiting,
)
from alimail_core.seam import Clock

A = "a@old.example"
B = "b@old.example"
INBOX = ("INBOX",)
EVIL = "x\x1b[2J\u202egpj.exe[bold red]\n"


class Dial(Clock):
    """A clock that stands still until a test turns it."""

    time = 0.0

    def monotonic(self) -> float:
        """Return what the test has set."""
        return self.time


@pytest.fixture
def clock() -> Dial:
    """Return a clock at zero."""
    return Dial()


def play(progress: Progress, clock: Dial, events: Sequence[tuple[float, Event]]) -> None:
    """Hand events over, each at its second."""
    for at, event in events:
        clock.time = at
        progress(event)


def live(
    clock: Dial, accounts: int = 1, width: int = 100, height: int = 24
) -> tuple[LiveProgress, io.StringIO]:
    """Return a live progress on a terminal made of text."""
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=width, height=height, markup=False, highlight=False
    )
    return LiveProgress(console, accounts, clock), stream


def begun(messages: int, octets: int, account: str = A) -> list[tuple[float, Event]]:
    """Return the events of an account that has listed its inbox at second 0."""
    return [(0, PassStarted(account, 1)), (0, FolderListed(account, INBOX, INBOX, messages, octets))]


def listed(
    messages: int, octets: int, *, accounts: int = 1, plan: Mapping[str, Sizes] | None = None, at: float = 0.0
) -> Tally:
    """Return the tally of accounts, one of which has listed its inbox."""
    tally = Tally(0.0, accounts, plan or {})
    for _, event in begun(messages, octets):
        tally.take(event, at)
    return tally


def estimated(tally: Tally, at: float) -> Estimate:
    """Return the estimate of that second, of which there is one."""
    estimate = tally.estimate(at)
    assert estimate is not None
    return estimate


def test_estimate_of_small_mail_follows_the_messages(clock: Dial) -> None:
    """A thousand tiny messages at ten a second take what is left of them divided by ten."""
    tally = listed(1_000, 1_000, plan={A: {INBOX: (1_000, 1_000)}})
    for second in range(1, 21):
        tally.take(BatchSettled(A, INBOX, copied=10, octets=10), float(second))
    estimate = estimated(tally, 20.0)
    assert estimate.seconds == pytest.approx(80.0)
    assert not estimate.at_least


def test_estimate_of_large_mail_follows_the_octets() -> None:
    """Where few large messages remain, the octets decide and not the count."""
    tally = listed(101, 11_000_000, plan={A: {INBOX: (101, 11_000_000)}})
    tally.take(BatchSettled(A, INBOX, copied=100, octets=1_000_000), 10.0)
    estimate = estimated(tally, 10.0)
    assert estimate.seconds == pytest.approx(100.0)


def test_estimate_forgets_a_pace_that_is_over() -> None:
    """A server that slows down lengthens the estimate within a minute."""
    tally = listed(10_000, 10_000)
    tally.take(BatchSettled(A, INBOX, copied=6_000, octets=6_000), 1.0)
    tally.take(BatchSettled(A, INBOX, copied=60, octets=60), 100.0)
    estimate = estimated(tally, 100.0)
    assert estimate.seconds == pytest.approx((10_000 - 6_060) / 1.0)


def test_estimate_is_a_lower_bound_while_something_is_unlisted() -> None:
    """Without a plan the estimate says so: the account may have folders that are not listed yet."""
    tally = listed(100, 100)
    tally.take(BatchSettled(A, INBOX, copied=50, octets=50), 10.0)
    estimate = estimated(tally, 10.0)
    assert estimate.at_least


def test_the_time_before_the_first_listing_is_not_the_pace() -> None:
    """Logins and listings are over; what is left takes as long as what was sent."""
    tally = listed(100, 100, at=30.0)
    tally.take(BatchSettled(A, INBOX, copied=50, octets=50), 32.0)
    estimate = estimated(tally, 32.0)
    assert estimate.seconds == pytest.approx(2.0)


def test_accounts_that_were_not_begun_are_guessed_to_be_like_those_that_are_over() -> None:
    """Without that, many accounts seem to be over when the few that run now are."""
    tally = listed(100, 1000, accounts=10)
    tally.take(BatchSettled(A, INBOX, copied=100, octets=1000), 10.0)
    tally.take(PassEnded(A, 1, "done", copied=100, adopted=0, octets=1000, problems=0), 10.0)
    estimate = estimated(tally, 10.0)
    assert estimate.seconds == pytest.approx(90.0)
    assert estimate.at_least


def test_there_is_no_estimate_without_a_pace() -> None:
    """A first burst, and a stand-still of a minute, give no number at all."""
    tally = listed(100, 100)
    tally.take(BatchSettled(A, INBOX, copied=50, octets=50), 1.0)
    assert tally.estimate(1.0) is None
    assert tally.estimate(500.0) is None


def test_a_folder_that_is_listed_again_counts_what_is_left_of_it() -> None:
    """After a lost connection the new listing replaces the old one; nothing is counted twice."""
    tally = listed(100, 1_000)
    tally.take(BatchSettled(A, INBOX, copied=40, octets=400), 1.0)
    tally.take(FolderListed(A, INBOX, INBOX, 60, 600), 2.0)
    assert tally.left() == (60, 600)
    assert tally.sum()[0] == 40


def test_mail_that_was_moved_at_the_source_does_not_travel() -> None:
    """A plan counts moved messages; the listing that has told them from news takes its place, folder by folder."""
    tally = Tally(0.0, 1, {A: {INBOX: (100, 1_000), ("Sent",): (7, 70)}})
    tally.take(PassStarted(A, 1), 0.0)
    assert tally.left() == (107, 1_070)
    tally.take(FolderListed(A, INBOX, INBOX, 10, 100), 1.0)
    assert tally.left() == (17, 170)
    tally.take(BatchSettled(A, INBOX, copied=10, octets=100), 2.0)
    assert tally.left() == (7, 70)


def test_a_listing_without_sizes_counts_by_the_plan() -> None:
    """Of Exchange only folders have sizes: the plan's share of one stands until its messages have come."""
    tally = Tally(0.0, 1, {A: {INBOX: (100, 1_000)}})
    tally.take(PassStarted(A, 1), 0.0)
    tally.take(FolderListed(A, INBOX, INBOX, 50, 0), 1.0)
    assert tally.left() == (50, 500)
    tally.take(FolderListed(A, ("New",), ("New",), 3, 0), 1.0)
    assert tally.left() == (53, 500)


def test_what_was_there_already_sets_no_pace() -> None:
    """Ten thousand messages that another tool had copied, found in a second, do not shorten the estimate."""
    tally = listed(10_100, 101_000)
    tally.take(BatchSettled(A, INBOX, adopted=10_000, octets=100_000), 1.0)
    assert tally.estimate(10.0) is None
    tally.take(BatchSettled(A, INBOX, copied=10, octets=100), 10.0)
    estimate = estimated(tally, 10.0)
    assert estimate.seconds == pytest.approx(90.0)


def test_a_proof_is_counted_by_messages_and_by_octets() -> None:
    """The octets of one large message count while it is read, and the slower of the two decides."""
    tally = Tally(0.0, 1)
    tally.take(ProofStarted(A, 100, 10_000), 0.0)
    tally.take(MessagesProven(A, INBOX, 0, 4_000), 5.0)
    tally.take(MessagesProven(A, INBOX, 50, 1_000), 10.0)
    estimate = estimated(tally, 10.0)
    assert estimate.seconds == pytest.approx(10.0)
    assert not estimate.at_least
    tally.take(ProofEnded(A, complete=True, failed=False), 11.0)
    assert (tally.left(), tally.running()) == ((0, 0), [])


def test_proofs_that_were_not_begun_are_expected() -> None:
    """What the ledger has of accounts that wait their turn belongs to the rest, so that the estimate is whole."""
    tally = Tally(0.0, 2, {A: {(): (90, 0)}, B: {(): (100, 0)}})
    tally.take(ProofStarted(A, 100, 0), 0.0)
    tally.take(MessagesProven(A, INBOX, 100, 0), 10.0)
    assert tally.left() == (100, 0)
    assert tally.all_known()


def test_what_became_a_problem_is_not_waited_for() -> None:
    """A message that is set aside is neither settled nor left."""
    tally = listed(2, 20)
    tally.take(BatchSettled(A, INBOX, copied=1, octets=10), 1.0)
    tally.take(ProblemFound(A, INBOX, "1/7", "too big", ""), 1.0)
    assert tally.left() == (0, 0)
    assert tally.sum() == (1, 10, 1)


def test_live_progress_shows_each_running_account_and_the_whole(clock: Dial) -> None:
    """A terminal shows folder, count, octets and pace of each account, then the sum with an estimate."""
    progress, stream = live(clock, accounts=2)
    play(
        progress,
        clock,
        [
            *begun(100, 100_000),
            *begun(300, 300_000, B),
            (10, BatchSettled(A, INBOX, copied=50, octets=50_000)),
            (10, BatchSettled(B, INBOX, copied=50, octets=50_000)),
        ],
    )
    progress.console.print(progress.picture())
    lines = stream.getvalue().splitlines()
    assert lines[0].rstrip() == "a@old.example  50/100  50 kB  5 messages/s  5.0 kB/s  INBOX"
    assert lines[1].rstrip() == "b@old.example  50/300  50 kB  5 messages/s  5.0 kB/s  INBOX"
    assert lines[2].startswith("0 of 2 accounts, 100 of 400+ messages, 100 kB, 10 messages/s")
    assert lines[2].rstrip().endswith("at least 30 s left")


def test_live_progress_shows_a_wait_and_lets_it_run_down(clock: Dial) -> None:
    """A wait is told with its reason and its rest, and is over with the next event."""
    progress, stream = live(clock)
    play(progress, clock, [(0, PassStarted(A, 1)), (0, Waiting(A, 30, "the server asked for a slower pace"))])
    clock.time = 10
    progress.console.print(progress.picture())
    assert "waiting 20 s: the server asked for a slower pace" in stream.getvalue()
    progress(BatchSettled(A, INBOX, copied=1, octets=1))
    stream.truncate(0)
    progress.console.print(progress.picture())
    assert "waiting" not in stream.getvalue()


def test_live_progress_keeps_within_the_terminal(clock: Dial) -> None:
    """More accounts than lines are summed up, and no line is wider than the terminal."""
    progress, stream = live(clock, accounts=50, width=40, height=10)
    for number in range(50):
        progress(PassStarted(f"{number}{'x' * 60}@old.example", 1))
    progress.console.print(progress.picture())
    lines = stream.getvalue().splitlines()
    assert len(lines) == 8
    assert "... and 44 accounts more" in lines[6]
    assert max(map(len, lines)) <= 40


def test_live_progress_never_cuts_the_estimate_off(clock: Dial) -> None:
    """On 80 columns a long folder name gives way to the numbers, and the sum goes on in a second line."""
    progress, stream = live(clock, accounts=300, width=80)
    long = ("x" * 70,)
    play(
        progress,
        clock,
        [
            (0, FolderListed(A, long, long, 1_234_567, 10**12)),
            (0, ProblemFound(A, long, None, "refused", "")),
            (10, BatchSettled(A, long, copied=1_000, octets=10**9)),
        ],
    )
    progress.console.print(progress.picture())
    lines = stream.getvalue().splitlines()[-3:]
    assert lines[0].startswith(
        "a@old.example  1,000/1,234,567  1.0 GB  100 messages/s  100 MB/s  1 problem  xx"
    )
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines[1:]).endswith("at least 3 h 26 min left")


def test_live_progress_draws_and_leaves_the_last_state(clock: Dial) -> None:
    """Entering draws, lines that stay come above, and leaving keeps the last picture."""
    progress, stream = live(clock)
    with progress:
        play(progress, clock, [*begun(1, 10), (1, ProblemFound(A, INBOX, "1/1", "refused", "Look at it."))])
        progress(PassEnded(A, 1, "problems", 0, 0, 0, 1))
    shown = stream.getvalue()
    assert "a@old.example: problem in INBOX 1/1: refused -> Look at it." in shown
    assert "1 of 1 account" in shown.splitlines()[-2]


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_untrusted_reaches_the_terminal(clock: Dial, terminal: bool) -> None:
    """Control and bidi characters and markup in names and server answers are shown, never acted upon."""
    stream = io.StringIO()
    progress: Progress
    if terminal:
        progress, stream = live(clock, width=2_000)
    else:
        progress = PlainProgress(stream, 1, clock)
    play(
        progress,
        clock,
        [
            (0, PassStarted(EVIL, 1)),
            (0, FolderListed(EVIL, (EVIL,), (EVIL,), 2, 20)),
            (1, BatchSettled(EVIL, (EVIL,), copied=1, octets=10)),
            (1, FolderSettled(EVIL, (EVIL,))),
            (1, Noted(EVIL, EVIL)),
            (1, ProblemFound(EVIL, (EVIL,), EVIL, EVIL, EVIL)),
            (1, Waiting(EVIL, 5, EVIL)),
        ],
    )
    if isinstance(progress, LiveProgress):
        progress.console.print(progress.picture())
    progress(PassEnded(EVIL, 1, "failed", 1, 0, 10, 1, EVIL, EVIL))
    shown = stream.getvalue()
    assert "\u202e" not in shown
    assert "\x1b[2J" not in shown
    assert "[bold red]" in shown
    assert "\\x1b[2J\\u202egpj.exe" in shown


def test_plain_progress_writes_a_line_a_folder_and_a_summary_now_and_then(clock: Dial) -> None:
    """A pipe gets lines that stay: folders as they are listed and settled, a sum each half minute, the end."""
    stream = io.StringIO()
    progress = PlainProgress(stream, 1, clock, {A: {INBOX: (200, 2_000_000)}})
    play(
        progress,
        clock,
        [
            *begun(200, 2_000_000),
            (10, BatchSettled(A, INBOX, copied=100, octets=1_000_000)),
            (40, BatchSettled(A, INBOX, copied=100, octets=1_000_000)),
            (40, FolderSettled(A, INBOX)),
            (41, PassEnded(A, 1, "done", 200, 0, 2_000_000, 0)),
        ],
    )
    assert stream.getvalue().splitlines() == [
        "a@old.example: INBOX: 200 messages, 2.0 MB to copy",
        "0 of 1 account, 200 of 200 messages, 2.0 MB, 5 messages/s, 50 kB/s",
        "a@old.example: INBOX: 200 messages, 2.0 MB settled",
        "a@old.example: all there, 200 copied, 2.0 MB",
    ]


def test_a_note_of_many_accounts_is_told_with_their_number(clock: Dial) -> None:
    """A note is shown when it first comes, and at the end with the number of accounts that it is true of."""
    stream = io.StringIO()
    with PlainProgress(stream, 3, clock) as progress:
        for name, count in ((A, 2), (B, 1), (B, 4)):
            progress(Noted(name, "the target cannot store $Junk", count))
        progress(Noted(A, "dates are not kept"))
    assert stream.getvalue().splitlines() == [
        "a@old.example: the target cannot store $Junk (2)",
        "a@old.example: dates are not kept",
        "2 accounts: the target cannot store $Junk (7)",
    ]


def test_a_note_that_grew_is_told_again_at_the_end(clock: Dial) -> None:
    """The number with which it first came would be taken for the whole."""
    stream = io.StringIO()
    with PlainProgress(stream, 1, clock) as progress:
        for count in (7, 13):
            progress(Noted(A, "stand there no more", count))
    assert stream.getvalue().splitlines() == [
        "a@old.example: stand there no more (7)",
        "a@old.example: stand there no more (20)",
    ]


def test_a_folder_that_gets_another_name_is_told_with_it(clock: Dial) -> None:
    """Who looks for a folder in the target has to know what it is called there."""
    stream = io.StringIO()
    progress = PlainProgress(stream, 1, clock)
    play(progress, clock, [(0, PassStarted(A, 1)), (0, FolderListed(A, ("A/B",), ("A - B",), 2, 0))])
    assert stream.getvalue() == "a@old.example: A/B: 2 messages to copy to A - B\n"


@pytest.mark.parametrize(
    ("complete", "failed", "words"),
    [
        (True, False, "all there"),
        (False, False, "NOT all there"),
        (False, True, "could not be looked at to the end"),
    ],
)
def test_the_end_of_a_proof_is_a_line(clock: Dial, complete: bool, failed: bool, words: str) -> None:
    """Each account's proof ends with what it found and how much it looked at."""
    stream = io.StringIO()
    progress = PlainProgress(stream, 1, clock)
    play(progress, clock, [(0, ProofStarted(A, 3, 30)), (1, MessagesProven(A, INBOX, 3, 30))])
    progress(ProofEnded(A, complete, failed))
    assert stream.getvalue() == f"a@old.example: {words}, 3 messages looked at\n"


def test_problems_beyond_the_first_are_counted(clock: Dial) -> None:
    """A folder of ten thousand problems does not fill the screen; the report names them."""
    stream = io.StringIO()
    progress = PlainProgress(stream, 1, clock)
    for number in range(100):
        progress(ProblemFound(A, INBOX, str(number), "refused", ""))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert "alimail report" in lines[-1]
    assert progress.tally.sum()[2] == 100


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_wish_for_plain_lines_is_kept(
    monkeypatch: pytest.MonkeyPatch, clock: Dial, name: str, value: str
) -> None:
    """NO_COLOR and a dumb terminal get plain lines even where the stream is a terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    assert isinstance(make_progress(1, clock, plain=False, stream=stream), LiveProgress)
    assert isinstance(make_progress(1, clock, plain=True, stream=stream), PlainProgress)
    assert isinstance(make_progress(1, clock, plain=False, stream=io.StringIO()), PlainProgress)
    monkeypatch.setenv(name, value)
    assert isinstance(make_progress(1, clock, plain=False, stream=stream), PlainProgress)


class Terminal(io.StringIO):
    """Text that says that it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (36_400_000, "36 MB"),
        (999_700, "1.0 MB"),
        (2.5e12, "2.50 TB"),
    ],
)
def test_sizes_are_in_decimal_units(octets: float, text: str) -> None:
    """A size shows two digits and the unit that suits it."""
    assert octets_text(octets) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (59.7, "1 min"),
        (3_599, "1 h"),
        (7_800, "2 h 10 min"),
        (100_000, "1 d 4 h"),
    ],
)
def test_times_are_no_more_exact_than_an_estimate_is(seconds: float, text: str) -> None:
    """A time shows the two units that matter."""
    assert duration_text(seconds) == text


def test_a_reason_that_several_share_is_told_once() -> None:
    """It stands behind the names, of which the first few are told; another remedy is another line."""
    down = [(f"u{number}@old.example", "the server is down", "start it") for number in range(7)]
    own = ("dana@old.example", "the server is down", "")
    many = ", ".join(name for name, _, _ in down[:5])
    fine = ("carl@old.example", "", "")
    assert list(reason_lines([*down, own, fine])) == [
        f"{many} and 2 more: the server is down",
        "  -> start it",
        "dana@old.example: the server is down",
    ]


def test_table_counts_cells_and_not_characters() -> None:
    """Chinese names take two cells each, and numbers stand to the right."""
    rows = [("收件箱", 5), ("Sent\x1b", 12_345)]
    assert list(table_lines(("Folder", "Messages"), rows)) == [
        "Folder    Messages",
        "收件箱           5",
        "Sent\\x1b    12,345",
    ]

"""The report as one HTML page: no script, nothing loaded from elsewhere, nothing in it that is not escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from alimail_core.plan import NOT_MOVED
from alimail_core.report import AccountReport, Report
from alimail_core.text import html

SHOWN = 200
"""Problems that the page shows of each account; the CSV file has them all."""

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; color: #1d2733; background: #fff;
  max-width: 76rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
p.answer { font-size: 1.25rem; padding: .75rem 1rem; border-left: .4rem solid; border-radius: .2rem; }
.ok { border-color: #1a7f4b; background: #eef8f2; } .note { border-color: #3a6ea5; background: #eef4fa; }
.warning { border-color: #b7791f; background: #fdf6e7; } .fault { border-color: #b3261e; background: #fcefee; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #52606d; border-bottom: 2px solid #d5dbe1; }
th, td { padding: .3rem .6rem; vertical-align: top; overflow-wrap: anywhere; }
td { border-bottom: 1px solid #e8ecf0; } td.number, th.number { text-align: right; white-space: nowrap; }
td.verdict { border-left: .3rem solid; } code { font-size: .85em; overflow-wrap: anywhere; }
.quiet { color: #52606d; } footer { margin-top: 3rem; color: #52606d; font-size: .85rem; }
"""


def page(report: Report) -> str:
    """Write the page."""
    title = html(f"Migration report: {report.migration}")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            f'<p class="quiet">{_moment(report.written)}</p>',
            *_answer(report),
            *_accounts(report.accounts),
            *_problems(report.accounts),
            *_notes(report.accounts),
            *_folders(report.accounts),
            *_not_moved(),
            "<footer>Written by alimail. The same is in report.json, accounts.csv and problems.csv; messages.csv "
            "lists each message with its digest.</footer>",
            "</body></html>",
            "",
        ]
    )


def _answer(report: Report) -> Iterator[str]:
    levels = [account.verdict.level for account in report.accounts]
    done = levels.count("ok")
    messages = sum(account.total("messages") for account in report.accounts)
    if report.complete:
        text, level = f"All there: {messages:,} messages of {_count(done, 'account')}.", "ok"
    elif "fault" in levels or not levels:
        text, level = f"Not all there: {done:,} of {_count(len(levels), 'account')} are complete.", "fault"
    else:
        text = f"Not proven yet: {done:,} of {_count(len(levels), 'account')} are proven complete."
        level = "warning" if "warning" in levels else "note"
    yield f'<p class="answer {level}"><strong>Is it all there?</strong> {html(text)}</p>'


def _accounts(accounts: Sequence[AccountReport]) -> Iterator[str]:
    yield "<h2>Accounts</h2>"
    columns = ("Account", "Target", "Answer", "In the source", "There", "Octets written", "Left", "Problems")
    yield from _table(columns, (_account_cells(account) for account in accounts), numbers=range(3, 8))


def _account_cells(account: AccountReport) -> list[str]:
    status, verdict = account.status, account.verdict
    remedy = f'<br><span class="quiet">{html(status.remedy)}</span>' if status.remedy else ""
    return [
        f"<td>{html(status.source_address)}</td>",
        f"<td>{html(status.target_address)}</td>",
        f'<td class="verdict {html(verdict.level)}">{html(verdict.text)}{remedy}</td>',
        _number(account.total("messages") if account.proof else None),
        _number(status.settled_messages),
        _number(status.written_octets),
        _number(status.pending_messages),
        _number(status.problems),
    ]


def _problems(accounts: Sequence[AccountReport]) -> Iterator[str]:
    yield "<h2>What was not carried, or is not as it was carried</h2>"
    told = False
    for account in accounts:
        rows = [*_problem_rows(account)]
        if not rows and not (account.proof and account.proof.remarks):
            continue
        told = True
        yield f"<h3>{html(account.status.source_address)}</h3>"
        for remark in account.proof.remarks if account.proof else ():
            yield f'<p>{html(remark.text)}. <span class="quiet">{html(remark.remedy)}</span></p>'
        if rows:
            yield from _table(
                ("Kind", "Folder", "Date", "Octets", "Reason", "What to do"), rows[:SHOWN], numbers=[3]
            )
        if len(rows) > SHOWN:
            yield f'<p class="quiet">and {len(rows) - SHOWN:,} more in problems.csv</p>'
    if not told:
        yield "<p>Nothing.</p>"


def _problem_rows(account: AccountReport) -> Iterator[list[str]]:
    for problem in account.problems:
        yield [
            f"<td>{html(problem.kind)}</td>",
            f"<td>{_path(problem.folder)}</td>",
            f"<td>{_moment(problem.date) if problem.date else ''}</td>",
            _number(problem.size),
            f"<td>{html(problem.reason)}</td>",
            f"<td>{html(problem.remedy)}</td>",
        ]
    for path, finding in account.findings():
        cells = (html(finding.kind), _path(path), "", "", html(finding.text), "")
        yield [f"<td>{each}</td>" for each in cells]


def _notes(accounts: Sequence[AccountReport]) -> Iterator[str]:
    rows = [
        [f"<td>{html(account.status.source_address)}</td>", f"<td>{html(text)}</td>", _number(count)]
        for account in accounts
        for text, count in account.notes
    ]
    if rows:
        yield "<h2>Worth knowing</h2>"
        yield from _table(("Account", "What", "How often"), rows, numbers=[2])


def _folders(accounts: Sequence[AccountReport]) -> Iterator[str]:
    proven = [account for account in accounts if account.proof]
    if proven:
        yield "<h2>Proof, folder by folder</h2>"
    for account in proven:
        assert account.proof is not None
        yield f"<h3>{html(account.status.source_address)}</h3>"
        at = _moment(account.proof.at) if account.proof.at else ""
        how = "every octet read back" if account.proof.full else "keys, sizes and flags compared"
        yield f'<p class="quiet">{at}, {how}; root digest <code>{html(account.proof.root)}</code></p>'
        yield from _table(_FOLDER_COLUMNS, _folder_rows(account), numbers=range(2, 2 + len(_FOLDER_COUNTS)))


_FOLDER_COUNTS = (
    "messages",
    "proven",
    "altered",
    "moved",
    "merged",
    "left_out",
    "quarantined",
    "pending",
    "missing",
    "changed",
    "extra",
)
_FOLDER_COLUMNS = ("Folder", "Goes to", *(name.capitalize().replace("_", " ") for name in _FOLDER_COUNTS))


def _folder_rows(account: AccountReport) -> Iterator[list[str]]:
    for folder in account.proof.folders if account.proof else ():
        counts = [_number(getattr(folder, name)) for name in _FOLDER_COUNTS]
        yield [f"<td>{_path(folder.source)}</td>", f"<td>{_path(folder.target)}</td>", *counts]


def _not_moved() -> Iterator[str]:
    yield "<h2>What does not move with mail</h2>"
    yield f"<p>Make these anew in the new system: {html(', '.join(NOT_MOVED))}.</p>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int]) -> Iterator[str]:
    right = set(numbers)
    yield '<div class="scroll"><table><thead><tr>'
    for index, name in enumerate(columns):
        yield f'<th class="number">{html(name)}</th>' if index in right else f"<th>{html(name)}</th>"
    yield "</tr></thead><tbody>"
    yield from (f"<tr>{''.join(row)}</tr>" for row in rows)
    yield "</tbody></table></div>"


def _number(value: int | None) -> str:
    return f'<td class="number">{"" if value is None else f"{value:,}"}</td>'


def _path(path: Sequence[str]) -> str:
    return " / ".join(html(name) for name in path)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

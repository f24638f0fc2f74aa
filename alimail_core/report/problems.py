"""The middle of the report's page: accounts and messages that need a look, and what is otherwise than it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from alimail_core.ledger.facts import PlacedFolder
from alimail_core.markup import Column, Content, Markup, lines, table, tag, together
from alimail_core.plan import NOT_MOVED
from alimail_core.report.cells import (
    MANY,
    Section,
    items,
    name_of,
    path_of,
    prose,
    quiet,
    rest,
    section,
    verdict_of,
)
from alimail_core.report.contents import AccountReport, moment_text
from alimail_core.units import count_text, octets_text

SHOWN = 50
"""Problems that the page shows of one account; the CSV file has them all."""


def attention(accounts: Sequence[AccountReport]) -> Section | None:
    """Name the accounts that are not all there, the gravest first."""
    grave = [each for level in ("fault", "warning") for each in accounts if each.verdict.level == level]
    if not grave:
        return None
    return section(
        "attention",
        "Accounts that need a look",
        table(
            "Accounts that are not all there, the gravest first",
            [Column("Account"), Column("Answer"), Column("What to do")],
            map(_grave_row, islice(grave, MANY)),
        ),
        rest(len(grave) - MANY, "accounts.csv"),
    )


def _grave_row(account: AccountReport) -> tuple[Content, ...]:
    remarks = account.proof.remarks if account.proof else ()
    told = (quiet(f"{remark.text}. {remark.remedy}") for remark in remarks)
    return name_of(account), lines(verdict_of(account), *told), prose(account.verdict.remedy)


def problems(accounts: Sequence[AccountReport]) -> Section:
    """Name what was not carried, message by message, with the words of the server that said so."""
    rows: list[tuple[Content, ...]] = []
    left = 0
    for account in accounts:
        own = list(_problem_rows(account))
        room = min(SHOWN, MANY - len(rows))
        rows += own[:room]
        left += len(own[room:])
    caption = "No subject is kept; folder, date, size and Message-ID find a message in its mailbox."
    columns = [Column("Where"), Column("What"), Column("Why, and what to do")]
    shown = table(caption, columns, rows) if rows else tag("p", "Nothing.")
    heading = "What was not carried, or is not as it was carried"
    return section("problems", heading, shown, rest(left, "problems.csv"))


def _problem_rows(account: AccountReport) -> Iterator[tuple[Content, ...]]:
    address = account.status.source_address
    for each in account.problems:
        when = moment_text(each.date) if each.date else ""
        size = "" if each.size is None else octets_text(each.size)
        measures = ", ".join(filter(None, (when, size)))
        what = lines(tag("b", each.kind), measures, each.message_id, _key(each.key))
        why = lines(each.reason, tag("span", prose(each.remedy), class_="quiet"))
        yield lines(address, path_of(each.folder)), what, why
    for path, finding in chain(account.beyond(), account.findings()):
        if finding.kind in ("missing", "changed", "pending"):
            what = lines(tag("b", finding.kind), _key(finding.key))
            yield lines(address, path_of(path)), what, finding.text


def _key(key: str) -> Markup:
    return quiet(f"key {key}" if key else "")


# what is otherwise than it was


def not_moved(accounts: Sequence[AccountReport]) -> Section:
    """Tell what people have to make anew, so that nobody finds out in the week after."""
    by_protocol = Counter(each.leaves_behind for each in accounts if each.leaves_behind)
    return section(
        "not-moved",
        "What does not move with mail",
        tag("p", "No mail protocol carries these, whatever tool is used. Make them anew in the new system:"),
        items(NOT_MOVED),
        (_left_behind(number, behind) for behind, number in by_protocol.items()),
        tag(
            "p",
            "Mail that a program keeps only on somebody's computer, such as PST, OST and MBOX files, is in no "
            "mailbox: it did not come, and this report cannot count it.",
        ),
    )


def _left_behind(number: int, behind: Sequence[str]) -> Markup:
    accounts = count_text(number, "account")
    return together(
        tag("p", f"{accounts} came by a protocol that does not bring these either:"),
        items(map(prose, behind)),
    )


def changed(accounts: Sequence[AccountReport]) -> Section | None:
    """Tell what cost no message: what the target stores otherwise, flags that it cannot hold, and other notes."""
    counts: Counter[str] = Counter()
    concerned: Counter[str] = Counter()
    for account in accounts:
        told = account.otherwise()
        counts.update(told)
        concerned.update(told.keys())
    if not counts:
        return None
    return section(
        "changed",
        "What is otherwise than it was",
        table(
            "No message was lost by any of these",
            [Column("What"), Column("How often", number=True), Column("Accounts", number=True)],
            ((prose(text), number, concerned[text]) for text, number in counts.most_common(MANY)),
        ),
        rest(len(counts) - MANY, "notes.csv"),
    )


def renamed(accounts: Sequence[AccountReport]) -> Section | None:
    """Tell where folders are now that have another name or place, the same of many accounts in one row."""
    counts = Counter(placed for account in accounts for placed in account.facts.renamed)
    if not counts:
        return None
    return section(
        "folders",
        "Folders that have another name or place",
        table(
            "Where their owners find them now",
            [Column("Folder"), Column("Why"), Column("Accounts", number=True)],
            ((_both(placed), placed.rule, number) for placed, number in counts.most_common(MANY)),
        ),
        rest(len(counts) - MANY, "folders.csv"),
    )


def _both(placed: PlacedFolder) -> Markup:
    return lines(path_of(placed.source), quiet(f"now {path_of(placed.target)}"))

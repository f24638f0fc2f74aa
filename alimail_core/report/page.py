"""The report as one HTML page: no script, nothing loaded from elsewhere, nothing in it that is not escaped.

A manager reads the first screen: the answer, the sums, what to do now. Then come the accounts and messages that need
a look, and last, for an auditor, every account and the proof.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from alimail_core.markup import Markup, tag, together
from alimail_core.pages import document
from alimail_core.report.audit import balance, every_account, proof, servers, words
from alimail_core.report.cells import Section, items, prose, section
from alimail_core.report.chart import accounts_bar, progress_chart
from alimail_core.report.contents import AccountReport, Report, moment_text
from alimail_core.report.problems import attention, changed, not_moved, problems, renamed
from alimail_core.units import count_text, octets_text

LEVELS = {
    "ok": "all there, proven",
    "note": "under way, or not proven",
    "warning": "not finished, or with problems",
    "fault": "not all there",
}

STEPS = 6
"""What there is to do that the first screen has room for."""


def page(report: Report) -> str:
    """Write the page."""
    title = f"Migration report: {report.migration}"
    sections = list(_sections(report))
    contents = tag("nav", items(each.link for each in sections), aria_label="On this page")
    main = tag("main", _summary(report), contents, (each.markup for each in sections))
    footer = tag(
        "footer",
        "Written by alimail. With this page belong report.json for programs, and for spreadsheets accounts.csv, "
        "folders.csv, problems.csv, notes.csv, servers.csv, and messages.csv, which lists every message with its "
        "digest.",
    )
    header = tag("header", tag("h1", title), tag("p", moment_text(report.written), class_="quiet"))
    return document(title, header, main, footer)


def _sections(report: Report) -> Iterator[Section]:
    parts = (attention, problems, not_moved, changed, renamed, balance, every_account, proof)
    yield from filter(None, (part(report.accounts) for part in parts))
    yield from filter(None, (servers(report.servers), words()))


# the first screen


def _summary(report: Report) -> Markup:
    return together(
        _answer(report),
        _sums(report.accounts),
        accounts_bar(Counter(each.verdict.level for each in report.accounts), LEVELS),
        _to_do(report.accounts),
        _progress(report),
    )


def _answer(report: Report) -> Markup:
    levels = [account.verdict.level for account in report.accounts]
    done = levels.count("ok")
    messages = sum(account.total("messages") for account in report.accounts)
    if report.complete:
        text, level = f"All there: {messages:,} messages of {count_text(done, 'account')}.", "ok"
    elif "fault" in levels or not levels:
        text = f"Not all there: {done:,} of {count_text(len(levels), 'account')} are complete."
        level = "fault"
    else:
        text = f"Not proven yet: {done:,} of {count_text(len(levels), 'account')} are proven complete."
        level = "warning" if "warning" in levels else "note"
    if report.partial:
        text += " This report was wished of some accounts alone, and does not tell of the others."
    return tag("p", tag("strong", "Is it all there?"), " ", text, class_=f"answer {level}")


def _sums(accounts: Sequence[AccountReport]) -> Markup:
    facts = [each.facts for each in accounts]
    source = sum(each.balance.messages for each in facts)
    target = sum(each.target_messages for each in facts)
    stays = sum(each.balance.refused + each.balance.unreadable for each in facts)
    shown = [
        ("In the old system", source, octets_text(sum(each.source_octets for each in facts))),
        ("In the new system", target, octets_text(sum(each.target_octets for each in facts))),
        ("Still to come", sum(each.balance.pending for each in facts), "messages known"),
        ("Could not be carried", stays, "messages, named below" if stays else "messages"),
    ]
    return tag(
        "dl",
        (tag("div", tag("dt", name), tag("dd", number, tag("small", unit))) for name, number, unit in shown),
        class_="sums",
    )


def _to_do(accounts: Sequence[AccountReport]) -> Markup:
    """Write what to do now: each remedy once, with all whom it helps, and the gravest of them first."""
    gravity = list(LEVELS).index
    groups: dict[str, list[AccountReport]] = defaultdict(list)
    for each in sorted(accounts, key=lambda account: -gravity(account.verdict.level)):
        if each.verdict.remedy:
            groups[each.verdict.remedy].append(each)
    first = sorted(
        groups.items(), key=lambda group: (-gravity(group[1][0].verdict.level), -len(group[1]), group[0])
    )
    steps = [_step(*group) for group in first[:STEPS]]
    if len(groups) > STEPS:
        steps.append(tag("li", "There is more: see ", tag("a", "every account", href="#accounts"), "."))
    steps.append(tag("li", tag("a", "Tell people what does not move with mail", href="#not-moved"), "."))
    return section("to-do", "What to do now", tag("ol", steps)).markup


def _progress(report: Report) -> Markup:
    drawn = progress_chart(report.progress, sum(each.status.pending_octets for each in report.accounts))
    return section("progress", "How it went", drawn).markup if drawn else drawn


def _step(remedy: str, concerned: Sequence[AccountReport]) -> Markup:
    some = ", ".join(each.status.source_address for each in concerned[:3])
    more = f" and {len(concerned) - 3:,} more" if len(concerned) > 3 else ""
    who = f"{some}{more}" if len(concerned) > 1 else f"{some}: {concerned[0].verdict.text}"
    number = count_text(len(concerned), "account")
    return tag(
        "li", tag("strong", number), ": ", prose(remedy), " ", tag("span", prose(f"({who})"), class_="quiet")
    )

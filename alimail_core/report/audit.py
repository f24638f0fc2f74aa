"""The end of the report's page, for the files: where every message is, every account, the proof, the words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import asdict

from alimail_core.markup import Column, Content, Markup, lines, table, tag, together
from alimail_core.proof.results import FolderProof
from alimail_core.report.cells import Section, name_of, path_of, quiet, section, verdict_of
from alimail_core.report.contents import AccountReport, moment_text
from alimail_core.units import duration_text, octets_text
from alimail_core.ways import Server

PROVEN_FOLDERS = 1_000
"""Up to so many folders the page has the proof folder by folder; folders.csv always has it."""

RECIPE = """\
import csv, hashlib
digests = {}
with open("messages.csv", encoding="utf-8-sig", newline="") as file:
    for row in csv.DictReader(file):
        digests.setdefault((row["account"], row["target"]), []).append(bytes.fromhex(row["sha256"]))
for addresses, found in digests.items():
    print(hashlib.sha256(b"".join(sorted(found))).hexdigest(), *addresses)
"""
"""How anybody computes the root digests again, with nothing but Python."""


_FATES = {
    "there": "stand in the new system",
    "removed": "were there, and were moved or removed by the user of the new system",
    "merged": "are there as one with an identical message",
    "collapsed": "not copied by wish: identical to another message of the folder",
    "left_out": "left out by wish: by the filter, or because it was a trial",
    "refused": "in quarantine: the new system refuses them",
    "unreadable": "the old system did not give them",
    "pending": "still to come",
}


def balance(accounts: Sequence[AccountReport]) -> Section:
    """Account for every message that the source has: what became of them, as a sum that adds up."""
    sums = Counter[str]()
    for account in accounts:
        sums.update(asdict(account.facts.balance))
    rows: list[tuple[Content, Content]] = [(fate, sums[name]) for name, fate in _FATES.items() if sums[name]]
    rows.append((tag("b", "All messages of the old system, as last listed"), tag("b", sums["messages"])))
    gone = sum(each.facts.target_messages for each in accounts) - sums["there"]
    if gone:
        rows.append(("Besides: carried, and no longer in the old system", gone))
    columns = [Column("What became of them"), Column("Messages", number=True)]
    return section(
        "balance",
        "Where every message is",
        table("From the ledger; accounts.csv has these sums for each account", columns, rows),
    )


def every_account(accounts: Sequence[AccountReport]) -> Section:
    """List all accounts with both sides, time and speed."""
    columns = [
        Column("Account"),
        Column("Answer"),
        Column("Old system", number=True),
        Column("New system", number=True),
        Column("Time, speed", number=True),
    ]
    caption = (
        "Messages and their size on both sides; the time from the begin of each pass to its last message sent"
    )
    return section("accounts", "Every account", table(caption, columns, map(_account_row, accounts)))


def _account_row(account: AccountReport) -> tuple[Content, ...]:
    facts, speed = account.facts, account.status.octets_per_second
    return (
        name_of(account),
        verdict_of(account),
        lines(facts.balance.messages, octets_text(facts.source_octets)),
        lines(facts.target_messages, octets_text(facts.target_octets)),
        "" if speed is None else lines(duration_text(facts.seconds or 0), f"{octets_text(speed)}/s"),
    )


def proof(accounts: Sequence[AccountReport]) -> Section | None:
    """Tell what was proven of each account, its root digest, and how to compute that again."""
    proven = [account for account in accounts if account.proof]
    if not proven:
        return None
    columns = [Column("Account"), Column("Root digest, time and kind of the proof")]
    return section(
        "proof",
        "The proof",
        tag(
            "p",
            "A proof lists both mailboxes afresh and holds them against the ledger; a full one also reads every "
            "octet back. The root digest of an account stands for all of its messages in the new system: it is the "
            "SHA-256 over the SHA-256 digests of its messages, 32 octets each, sorted, one after the other. Anybody "
            "can compute it again from messages.csv, with nothing but Python:",
        ),
        tag("pre", tag("code", ((line, Markup("\n")) for line in RECIPE.splitlines()))),
        tag(
            "p",
            "The digest of one message is that of its octets, as IMAP gives them with ",
            tag("code", "BODY.PEEK[]"),
            ".",
        ),
        table("Each account's latest proof", columns, map(_proof_row, proven)),
        _folders(proven),
    )


def _proof_row(account: AccountReport) -> tuple[Content, ...]:
    assert account.proof is not None
    how = "every octet read back" if account.proof.full else "keys, sizes and flags compared"
    at = moment_text(account.proof.at) if account.proof.at else ""
    return name_of(account), lines(tag("code", account.proof.root), quiet(f"{at}, {how}"))


def _folders(proven: Sequence[AccountReport]) -> Markup:
    count = sum(len(account.proof.folders) for account in proven if account.proof)
    heading = tag("h3", "Folder by folder")
    if count > PROVEN_FOLDERS:
        return together(heading, tag("p", f"The proofs of {count:,} folders are in folders.csv."))
    columns = [
        Column("Folder"),
        Column("Messages", number=True),
        Column("Proven", number=True),
        Column("Otherwise"),
    ]
    rows = (
        (_place(account, folder), folder.messages, folder.proven, _besides(folder))
        for account in proven
        for folder in (account.proof.folders if account.proof else ())
    )
    return together(heading, table("Messages in the source, and of those", columns, rows))


def _place(account: AccountReport, folder: FolderProof) -> Markup:
    place = path_of(folder.source)
    moved = f"to {path_of(folder.target)}" if folder.target != folder.source else ""
    return lines(place, quiet(moved), quiet(account.status.source_address))


_BESIDES = (
    "altered",
    "moved",
    "merged",
    "collapsed",
    "left_out",
    "quarantined",
    "pending",
    "missing",
    "changed",
    "extra",
    "gone",
    "flags_changed",
    "flags_pending",
)


def _besides(folder: FolderProof) -> str:
    counts = ((getattr(folder, name), name.replace("_", " ")) for name in _BESIDES)
    told = [f"{number:,} {name}" for number, name in counts if number]
    return ", ".join([*told, *(["emptied or made anew in the target"] if folder.lost else [])])


_WORDS = {
    "proven": "stands in the new system as it was sent; in a full proof, with every octet read back",
    "altered": "stands there, and the new system stores other octets than it was sent, such as other line ends; "
    "what a reader sees is the same",
    "moved": "was carried, and its user has moved or removed it in the new system since",
    "merged": "the new system keeps it and an identical message as one",
    "collapsed": "by wish not copied, because an identical message of the same folder was",
    "left out": "by wish not carried, as the configuration says",
    "quarantined": "the new system will not take it, or the old one will not give it; the reason is named",
    "pending": "in the old system and not carried yet",
    "missing": "was carried, and is not there",
    "changed": "stands there with another content than was carried",
    "extra": "stands in the new system and was not carried by this migration",
    "gone": "was carried, and is no longer in the old system",
}


_TLS = {
    "implicit": "TLS from the first octet",
    "starttls": "STARTTLS",
    "none": "no encryption",
    "auto": "not found out yet",
    "": "as its plug-in does",
}


def servers(found: Sequence[Server]) -> Section | None:
    """Tell how each server was reached: what an auditor asks of the way that mail and passwords took."""
    if not found:
        return None
    columns = [Column("Server"), Column("Encryption"), Column("Accounts", number=True)]
    caption = "As the configuration says, or as it was found by trying, the best first, and then kept"
    return section(
        "servers", "How the servers were reached", table(caption, columns, map(_server_row, found))
    )


def _server_row(server: Server) -> tuple[Content, ...]:
    side = "old system" if server.side == "source" else "new system"
    encryption = lines(_TLS.get(server.tls, server.tls), quiet("found by trying" if server.found else ""))
    place = lines(f"{server.host}, port {server.port}", quiet(f"{side}, {server.kind}"))
    return place, encryption, server.accounts


def words() -> Section:
    """Explain the words that the page counts by."""
    told = ((tag("dt", word), tag("dd", meaning)) for word, meaning in _WORDS.items())
    return section("words", "What the words mean", tag("dl", told, class_="words"))

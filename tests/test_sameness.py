"""Who goes where twice: targets that are shared, and targets that are their own source."""

from __future__ import annotations

from pathlib import Path

import pytest

from alimail_core.cli import main
from alimail_core.config.load import loads
from alimail_core.errors import InputError
from alimail_core.folders.policy import FolderPolicy, FolderRule
from alimail_core.hookspec import hookimpl
from alimail_core.model import Folder, FolderPath
from alimail_core.plan import override_of
from alimail_core.registry import Registry
from alimail_core.spec import MigrationSpec

REGISTRY = Registry.load(["imap", "pop3", "alimail"])


def text(
    source: str = 'host = "old.example"',
    target: str = 'host = "new.example"',
    rest: str = "",
    kind: str = "imap",
) -> str:
    """Write a configuration for the accounts of ``r.csv``."""
    return (
        f'[migration]\nname = "x"\nroster = "r.csv"\n[source]\nkind = "{kind}"\nsecret = "env:A"\n{source}\n'
        f'[target]\nkind = "imap"\nsecret = "env:B"\n{target}\n{rest}'
    )


def read(folder: Path, configuration: str, *rows: str) -> MigrationSpec:
    """Read a configuration with a roster of these rows beside it."""
    (folder / "r.csv").write_text("\n".join(["source,target,target user", *rows]) + "\n", "utf-8")
    return loads(configuration, REGISTRY, path=folder / "alimail.toml")


def faults(folder: Path, configuration: str, *rows: str) -> list[tuple[str, str]]:
    """Return what is told of one."""
    with pytest.raises(InputError) as caught:
        read(folder, configuration, *rows)
    return [(fault.where, fault.message) for fault in caught.value.faults]


SHARED = ("info@old.example,office@new.example,", "sales@old.example,Office@new.example,")


def test_two_accounts_to_one_target_are_refused_with_both_places(tmp_path: Path) -> None:
    """Whoever did not mean it sees both cells, and how to say that it is meant."""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text(), *SHARED)
    [fault] = caught.value.faults
    assert (fault.where, fault.message) == (
        "r.csv!B3",
        "the target address stands in r.csv!B2 already, with another source",
    )
    assert 'shared_targets = "apart"' in fault.remedy


def test_a_shared_target_keeps_its_sources_apart_by_wish(tmp_path: Path) -> None:
    """All of each goes beneath a folder of its own, rules included; an account with a target of its own does not."""
    rules = 'rules = [{source = "Projects", target = "Archive"}, {source = "Spam", skip = true}]\n'
    wish = f'[folders]\nshared_targets = "apart"\n{rules}'
    spec = read(tmp_path, text(rest=wish), *SHARED, "anna@old.example,anna@new.example,")
    info, sales, anna = spec.accounts
    root = ("sales@old.example",)
    ruled = (FolderRule(("Projects",), ("Archive",)), FolderRule(("Spam",), None))
    assert info.root == ("info@old.example",)
    assert spec.policy_of(sales) == FolderPolicy(
        "folder", root, (FolderRule(("Projects",), (*root, "Archive")), ruled[1]), is_apart=True
    )
    assert (spec.policy_of(sales).reason, spec.policy_of(anna).reason) == (
        'shared_targets = "apart"',
        "history original",
    )
    assert spec.policy_of(anna) == FolderPolicy("original", (), ruled)


class _Mover:
    """A plug-in that sends one folder to a place of its own choice."""

    @hookimpl
    def alimail_map_folder(self, folder: Folder) -> FolderPath | None:
        return ("Elsewhere",) if folder.path == ("Work",) else None


def test_what_a_plug_in_places_is_kept_apart_as_well(tmp_path: Path) -> None:
    """Its word counts within the folder of the source, and not in the target's own."""
    registry = Registry()
    registry.register(_Mover())
    spec = read(
        tmp_path, text(rest='[folders]\nshared_targets = "apart"\n'), *SHARED, "a@old.example,a@new.example,"
    )
    placed = [override_of(registry, account, spec.policy_of(account)) for account in spec.accounts]
    assert [place(Folder(("Work",))) for place in placed] == [
        ("info@old.example", "Elsewhere"),
        ("sales@old.example", "Elsewhere"),
        ("Elsewhere",),
    ]
    assert [place(Folder(("Other",))) for place in placed] == [None] * 3


def test_rules_may_be_for_some_accounts(tmp_path: Path) -> None:
    """A rule with accounts decides for these; beneath a shared target's folder as well."""
    rules = '{source = "Old", skip = true, accounts = ["*@SALES.example"]}, {source = "Old", target = "New"}'
    wish = text(rest=f'[folders]\nshared_targets = "apart"\nrules = [{rules}]\n')
    spec = read(tmp_path, wish, "a@sales.example,o@new.example,", "i@old.example,o@new.example,")
    policies = [spec.policy_of(account) for account in spec.accounts]
    assert [[rule.target for rule in policy.rules] for policy in policies] == [
        [None, ("a@sales.example", "New")],
        [("i@old.example", "New")],
    ]


def test_a_doubled_row_is_refused_whatever_is_shared(tmp_path: Path) -> None:
    """The wish lets two sources into a target, and no account in twice, wherever in the roster it stands."""
    wish = text(rest='[folders]\nshared_targets = "apart"\n')
    assert faults(tmp_path, wish, *SHARED, SHARED[1]) == [
        ("r.csv!A4", "this account stands in r.csv!A3 already")
    ]


def test_everything_into_the_inbox_cannot_be_kept_apart(tmp_path: Path) -> None:
    """Two wishes that contradict each other are told, and the rows that need one of them are not."""
    wish = text(rest='[folders]\nhistory = "inbox"\nshared_targets = "apart"\n')
    [(_, message)] = faults(tmp_path, wish, *SHARED)
    assert "contradict" in message


def test_one_user_of_two_target_addresses_is_refused(tmp_path: Path) -> None:
    """Two addresses with one login are one mailbox, where two ledgers would know nothing of each other."""
    rows = ("a@old.example,a@new.example,office", "b@old.example,b@new.example,Office")
    assert faults(tmp_path, text(), *rows) == [
        ("r.csv!B3", "the target's user name is that of r.csv!B2, with another address")
    ]


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        ('host = "mail.example"', 'host = "MAIL.example."', "imap"),
        ('host = "mail.example"\ntls = "starttls"', 'host = "mail.example"', "imap"),
        ('host = "mail.example"', 'host = "mail.example"', "pop3"),
        ('host = "bücher.example"', 'host = "xn--bcher-kva.example"', "imap"),
        ('host = "localhost"\nport = 1143', 'host = "127.0.0.1"\nport = 1143', "imap"),
        ('host = "0:0:0:0:0:0:0:1"', 'host = "[::1]"', "imap"),
    ],
    ids=["case", "port", "protocol", "idna", "loopback", "IPv6"],
)
def test_a_target_that_is_its_source_is_refused(tmp_path: Path, source: str, target: str, kind: str) -> None:
    """However the server is spelt, a mailbox is not copied into itself; other accounts are not blamed."""
    told = faults(
        tmp_path, text(source, target, kind=kind), "a@x.example,A@x.example,", "b@x.example,c@x.example,"
    )
    assert told == [("r.csv!B2", "the target is the source itself: the same user on the same server")]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ('host = "old.example"', 'host = "new.example"'),
        ('host = "127.0.0.1"\nport = 1143', 'host = "127.0.0.1"\nport = 2143'),
        ('host = "127.0.0.1"', 'host = "127.0.0.2"'),
    ],
    ids=["host", "port", "loopback"],
)
def test_the_same_address_on_another_server_is_a_target(tmp_path: Path, source: str, target: str) -> None:
    """Most who move keep their addresses."""
    [account] = read(tmp_path, text(source, target), "a@x.example,a@x.example,").accounts
    assert account.source_user == account.target_user


@pytest.mark.parametrize(
    ("wish", "users"),
    [
        ("", ("anna@a.example", "bert@B.example")),
        ('login = "local-part"', ("anna", "bert")),
        ('login = "local-part"\nlogin_domains = ["b.example", "c.example"]', ("anna", "bert@B.example")),
    ],
    ids=["all domains", "none", "specific domains"],
)
def test_the_login_has_the_domain_for_all_or_some_domains(
    tmp_path: Path, wish: str, users: tuple[str, ...]
) -> None:
    """The console's "Include domain in"."""
    rows = ("anna@a.example,anna@new.example,", "bert@B.example,bert@new.example,")
    spec = read(tmp_path, text(f'host = "old.example"\n{wish}'), *rows)
    assert tuple(account.source_user for account in spec.accounts) == users


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        ('login_domains = ["a.example"]', "local-part"),
        ('login = "local-part"\nlogin_domains = ["anna@a.example"]', "domains"),
    ],
)
def test_domains_that_say_nothing_are_refused(tmp_path: Path, wish: str, word: str) -> None:
    """A list that would change nothing is not what its author meant."""
    [(_, message)] = faults(tmp_path, text(f'host = "old.example"\n{wish}'), "a@x.example,a@y.example,")
    assert word in message


def test_copy_refuses_a_mailbox_into_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No password is asked for, and no ledger is made."""
    ends = ("imap://anna@mail.example", "imap://anna@MAIL.example:143?tls=starttls")
    secrets = ("--source-secret", "env:A", "--target-secret", "env:A")
    assert main(["copy", "--ledger", str(tmp_path / "l.db"), *secrets, *ends], REGISTRY) == 2
    assert "the target is the source itself" in capsys.readouterr().err
    assert not (tmp_path / "l.db").exists()

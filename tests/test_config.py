"""The configuration: what a file becomes, and every fault of it with its line."""

from __future__ import annotations

import pickle
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import evolve, field, frozen
from attrs.validators import ge, in_
from hypothesis import given, settings
from hypothesis import strategies as st

from alimail_core.config.load import load, loads
from alimail_core.config.tables import TABLES
from alimail_core.config.text import example, reference
from alimail_core.config.toml_lines import locate, nearest
from alimail_core.contract import Credentials, SinkKind, SourceKind, option
from alimail_core.errors import InputError
from alimail_core.folders.policy import FolderPolicy, FolderRule
from alimail_core.hookspec import hookimpl
from alimail_core.model import SpecialUse
from alimail_core.options import TransferOptions
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.secrets import NO_SECRET, Secret
from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec
from alimail_core.structure import Misfits, describe_options, structure, toml_text

DOCUMENT = Path(__file__).parent.parent / "docs" / "reference" / "configuration.md"


@frozen
class _Server:
    host: str = option("The server.")
    port: int | None = option("The port.", default=None)
    tls: Literal["implicit", "none"] = option("Encryption.", default="implicit")
    ca: Path | None = option("Certificates.", default=None)
    token: Secret | None = option("A token.", default=None)
    wait: float = field(default=1.0, validator=ge(0), metadata={"help": "Seconds."})
    retries: int = field(default=1, validator=in_([1, 2]), metadata={"help": "How often."})


def _open(options: Any, credentials: Credentials, clock: Clock) -> Any:
    raise AssertionError("nothing is opened here")


class _Plugin:
    @hookimpl
    def alimail_sources(self) -> list[SourceKind[Any]]:
        return [
            SourceKind("old", "An old server.", _Server, _open),
            SourceKind("disk", "Files.", _Server, _open, needs_secret=False),
        ]

    @hookimpl
    def alimail_sinks(self) -> list[SinkKind[Any]]:
        return [SinkKind("new", "A new server.", _Server, _open)]


REGISTRY = Registry()
REGISTRY.register(_Plugin())

FULL = """
[migration]
name = "example-2026"
ledger = "state/alimail.db"
roster = "roster.csv"
workers = 8
report_folder = "reports"

[source]
kind = "old"
host = "mail.old.example"
ca = "old.pem"
login = "local-part"

[target]
kind = "new"
host = "mail.new.example"
port = 1143
secret = "file:target.txt"

[folders]
history = "folder"
folder = "Archive/Old mail"
rules = [{source = "Projects/**", target = "Archive/Projects"}, {source = "Spam", skip = true}]
skip = ["all"]

[transfer]
deletions = "mirror"
settle_seconds = 3

[[account]]
source_address = "ben@old.example"
target_address = "ben@new.example"
source_user = "OLD\\\\ben"
source_secret = "prompt"
"""

SMALL = """
[migration]
name = "x"
[source]
kind = "old"
host = "h"
secret = "env:A"
[target]
kind = "new"
host = "h"
secret = "env:B"
[[account]]
source_address = "a@old"
target_address = "a@new"
"""


def _faults(text: str, path: Path = Path("alimail.toml")) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        loads(text, REGISTRY, path=path)
    return [(fault.where.removeprefix("alimail.toml:"), fault.message) for fault in caught.value.faults]


def test_a_kind_that_needs_no_password_is_asked_for_none() -> None:
    """Where whoever can reach the mail may read it, no secret is missing, and one that is given is kept."""
    disk = SMALL.replace('kind = "old"', 'kind = "disk"')
    [given] = loads(disk, REGISTRY).accounts
    assert given.source_secret == Secret("env", "A", "every source account")
    [bare] = loads(disk.replace('secret = "env:A"', ""), REGISTRY).accounts
    assert bare.source_secret == NO_SECRET
    [waiting] = loads(disk.replace('secret = "env:B"', ""), REGISTRY).accounts
    assert waiting.target_secret == Secret.missing("target a@new")


@pytest.mark.parametrize("kind", ["imap", "alimail"])
def test_certificates_are_looked_for_beside_the_configuration(kind: str, tmp_path: Path) -> None:
    """A relative ``ca`` starts from the file that names it, whatever the current folder is."""
    registry = Registry.load(["imap", "alimail"])
    rest = SMALL.replace('kind = "new"', f'kind = "{kind}"\nca = "certificates/new.pem"')
    text = rest.replace('kind = "old"', 'kind = "imap"\nca = "old.pem"')
    [account] = loads(text, registry, path=tmp_path / "alimail.toml").accounts
    assert account.source.options.ca == tmp_path / "old.pem"
    assert account.target.options.ca == tmp_path / "certificates" / "new.pem"


def test_a_file_and_its_roster_become_a_migration(tmp_path: Path) -> None:
    """Paths start from the file, passwords are references, logins follow the endpoint's rule."""
    (tmp_path / "roster.csv").write_text(
        "old address,old password,new address\nanna@old.example,env:ANNA,anna@new.example\n"
    )
    (tmp_path / "alimail.toml").write_text(FULL)
    source = Endpoint("old", _Server("mail.old.example", ca=tmp_path / "old.pem"))
    target = Endpoint("new", _Server("mail.new.example", 1143))
    shared = Secret("file", str(tmp_path / "target.txt"), "every target account")
    assert load(tmp_path / "alimail.toml", REGISTRY) == MigrationSpec(
        name="example-2026",
        ledger=str(tmp_path / "state" / "alimail.db"),
        accounts=(
            AccountSpec(
                "anna@old.example",
                "anna@new.example",
                source,
                target,
                "anna",
                "anna@new.example",
                Secret("env", "ANNA", "source anna@old.example"),
                shared,
            ),
            AccountSpec(
                "ben@old.example",
                "ben@new.example",
                source,
                target,
                "OLD\\ben",
                "ben@new.example",
                Secret("prompt", "", "source ben@old.example"),
                shared,
            ),
        ),
        options=TransferOptions(deletions="mirror", settle_seconds=3.0),
        policy=FolderPolicy(
            "folder",
            ("Archive", "Old mail"),
            (FolderRule(("Projects", "**"), ("Archive", "Projects")), FolderRule(("Spam",), None)),
            frozenset({SpecialUse.ALL}),
        ),
        workers=8,
        report_folder=tmp_path / "reports",
    )


def test_a_small_file_has_the_defaults() -> None:
    """What is left out is as the reference says, and crosses to another process."""
    spec = loads(SMALL, REGISTRY)
    assert (spec.options, spec.policy, spec.workers, spec.executor) == (
        TransferOptions(),
        FolderPolicy(),
        4,
        "threads",
    )
    assert spec.ledger == str(Path.cwd() / "alimail.db")
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_every_fault_is_told_at_once_with_its_line() -> None:
    """Unknown keys, wrong types, missing ones, unknown plug-ins, bad references and rules, all in one error."""
    text = """\
[migration]
nam = "x"
workers = "four"
executor = "thread"
[source]
kind = "ews"
[target]
kind = "new"
prt = 1
tls = "implcit"
token = "hunter2"
wait = -1
retries = 7
[folders]
rules = [
  {source = "a", target = "b"},
  {source = "c"},
  {source = "d", skip = true, x = 1},
]
history = "folder"
[transfer]
batch_messages = 0
deletions = true
[transfers]
[[account]]
source_address = "anna"
target_address = "a@new"
[[account]]
source_secret = "hunter2"
"""
    assert _faults(text) == [
        ("1", "name is missing"),
        ("2", "nam is not an option here"),
        ("3", "workers must be a whole number, not text"),
        ("4", "there is no executor called thread"),
        ("6", "there is no source called ews"),
        ("7", "host is missing"),
        ("9", "prt is not an option here"),
        ("10", 'tls must be "implicit" or "none"'),
        ("11", "token is not a reference to a secret"),
        ("12", "wait must be >= 0: -1.0"),
        ("13", "retries must be in [1, 2] (got 7)"),
        ("14", "folder must be named"),
        ("17", "rules say either target or skip = true"),
        ("18", "rules.x is not an option here"),
        ("22", "batch_messages must be at least 1"),
        ("23", 'deletions must be "keep" or "mirror"'),
        ("24", "there is no table [transfers]"),
        ("26", "source_address is not a mail address"),
        ("28", "source_address is missing"),
        ("28", "target_address is missing"),
        ("29", "source_secret is not a reference to a secret"),
    ]


@pytest.mark.parametrize(
    ("line", "instead", "told"),
    [
        ('name = "x"', 'name = ""', ("3", "name is to be filled in")),
        ('name = "x"', 'name = " "', ("3", "name must have 1 to 100 visible characters")),
        ('name = "x"', 'name = "x"\nworkers = 0', ("4", "workers must be from 1 to 1000")),
        (
            'name = "x"',
            'name = "x"\nworkers = true',
            ("4", "workers must be a whole number, not true or false"),
        ),
        (
            'name = "x"',
            'name = "x"\nroster = 2026-01-01',
            ("4", "roster must be text in quotes, not a date or time"),
        ),
        (
            'name = "x"',
            'name = "x"\nledger = "postgresql://a:S3cret@h/db"',
            ("4", "ledger has a password in it"),
        ),
        (
            'name = "x"',
            'name = "x"\nledger = "postgresql://h/db?password=S3cret"',
            ("4", "ledger has a password in it"),
        ),
        ('secret = "env:A"', "secret = 3", ("7", "secret must be text in quotes, not a whole number")),
        ('kind = "new"', 'kind = "pop3"', ("9", "there is no sink called pop3")),
        ('host = "h"', 'host = "h"\nwait = nan', ("7", "wait must be a finite number")),
        (
            "[[account]]",
            "[account]",
            ("12", "account must be written [[account]], since there may be several"),
        ),
        ('target_address = "a@new"', "", ("12", "target_address is missing")),
        (
            "[source]",
            "[folders]\nskip = [\n'all',\n'al']\n[source]",
            ("7", 'skip must be "all" or "archive" or'),
        ),
        ("[source]", "[folders]\nrules = 3\n[source]", ("5", "rules must be a list, not a whole number")),
        (
            "[source]",
            "[folders]\nrules = [{source = 'a//b', skip = true}]\n[source]",
            ("5", "rules a folder must be"),
        ),
        (
            "[source]",
            "[transfer]\nsettle_seconds = -1\n[source]",
            ("5", "settle_seconds must not be negative"),
        ),
        ("[source]", "transfer = 3\n[source]", ("4", "transfer is not an option here")),
        ("[source]", '[sources.""]\n[source]', ("4", "a further old system has no name")),
    ],
)
def test_each_fault_has_its_line(line: str, instead: str, told: tuple[str, str]) -> None:
    """One thing wrong in an otherwise good file is one fault, in the right place, without the value."""
    ((where, message),) = [
        fault for fault in _faults(SMALL.replace(line, instead, 1)) if "no account" not in fault[1]
    ]
    assert where == told[0]
    assert message.startswith(told[1])
    assert "S3cret" not in message


@frozen
class _Shared(_Server):
    bearer: str | None = option("Who brings what belongs to nobody.", default=None, account=True)


def test_an_option_for_an_account_that_is_not_there_is_refused() -> None:
    """What one account brings for all would stay behind, unsaid; each system is asked for its own accounts."""
    registry = Registry()
    registry.register(_Plugin())

    class Sharing:
        @hookimpl
        def alimail_sources(self) -> list[SourceKind[Any]]:
            return [SourceKind("shared", "Another.", _Shared, _open)]

    registry.register(Sharing())
    branch = '[sources.Branch]\nkind = "shared"\nhost = "b"\nbearer = "{}"\nsecret = "env:C"\n[source]'
    account = '[[account]]\nsource_address = "Hall@old"\ntarget_address = "h@new"\nsource_system = "branch"\n'

    def text(bearer: str) -> str:
        return SMALL.replace("[source]", branch.format(bearer)) + account

    assert len(loads(text("hALL@old"), registry).accounts) == 2
    for bearer, remedy in (
        ("a@old", "give it a line in the roster"),  # which is of the other system
        ("halls@old", "did you mean hall@old?"),
    ):
        with pytest.raises(InputError) as caught:
            loads(text(bearer), registry)
        (fault,) = caught.value.faults
        assert (fault.where, fault.remedy) == ("alimail.toml:7", remedy)
        assert fault.message == "bearer is the source user of no account"
    with pytest.raises(InputError) as caught:  # the faulty row may be the one
        loads(text("hall@old").replace("Hall@old", "Hall"), registry)
    assert "bearer" not in str(caught.value.faults)


def test_a_fault_that_each_side_may_have_hides_none_of_its_kinds_options() -> None:
    """A wrong key of every side, and a wrong option of the plug-in, are told of one table together."""
    text = SMALL.replace('kind = "new"', 'kind = "new"\nlogin = "name"\ntls = "implcit"')
    assert [message for _, message in _faults(text)] == [
        'login must be "address" or "local-part"',
        'tls must be "implicit" or "none"',
    ]


def test_what_is_missing_altogether_is_told() -> None:
    """An empty file lacks three tables; without a roster or a table there is no account."""
    assert [message for _, message in _faults("")] == [
        "the table [migration] is missing",
        "the table [source] is missing",
        "the table [target] is missing",
    ]
    assert _faults(SMALL[: SMALL.index("[[account]]")]) == [("2", "there is no account")]


def test_the_rosters_faults_are_told_with_the_files(tmp_path: Path) -> None:
    """An account that stands in both is found, and the roster's own faults keep their cells."""
    (tmp_path / "r.csv").write_text("source,target\na@old,a@new\nb,b@new\n")
    text = SMALL.replace('name = "x"', 'name = "x"\nroster = "r.csv"\nworker = 3')
    path = tmp_path / "alimail.toml"
    assert _faults(text, path) == [
        (f"{path}:5", "worker is not an option here"),
        ("r.csv!A3", "the source address is not a mail address"),
        (f"{path}:15", "this account stands in r.csv!A2 already"),
    ]


def test_faults_stand_under_the_name_of_their_file(tmp_path: Path) -> None:
    """Who reads the first line knows which file to open; a column that is not read is named beside the faults."""
    (tmp_path / "r.csv").write_text("source,target,wafe\na@old,a\nb@old,b\n")
    text = SMALL.replace('name = "x"', 'name = "x"\nroster = "r.csv"')
    path = tmp_path / "alimail.toml"
    for worker, told in (
        ("", "r.csv has 2 faults"),
        ("\nworker = 3", f"{path} has 1 fault, r.csv has 2 faults"),
    ):
        with pytest.raises(InputError) as caught:
            loads(text.replace('name = "x"', f'name = "x"{worker}'), REGISTRY, path=path)
        assert caught.value.message == told
        assert [(each.text, each.remedy) for each in caught.value.remarks] == [
            ('r.csv!C1: the column "wafe" is not read', "did you mean wave?")
        ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = 1\na = 2\n", "a key is given"),
        ("a = {x = 1, x = 2}", "a key is given"),
        ("[a]\n[a]\n", "a table is begun"),
        ("[[a]]\n[a]\n", "a table is begun"),
    ],
)
def test_what_is_given_twice_is_told_with_what_to_do(text: str, told: str) -> None:
    """tomllib cannot overwrite a value; people have written a key twice."""
    with pytest.raises(InputError) as caught:
        loads(text, REGISTRY)
    [fault] = caught.value.faults
    assert fault.message.startswith(told)
    assert fault.remedy.startswith(("leave one", "put the keys"))


def test_what_is_said_of_accounts_that_there_are_not_is_told() -> None:
    """A rule or a domain with a slip in it decides for nobody; the ones that somebody has are not told."""
    text = """[migration]
name = "m"
[source]
kind = "old"
host = "h"
login = "local-part"
login_domains = ["old.exmaple", "OLD.example"]
[target]
kind = "new"
host = "n"
[folders]
rules = [
    {source = "A", skip = true, accounts = ["*@new.example"]},
    {source = "B", skip = true, accounts = ["anna@odl.example", "*@x.example"]},
]
[[account]]
source_address = "anna@old.example"
target_address = "anna@new.example"
"""
    told = loads(text, REGISTRY).remarks
    assert [(each.level, each.text, each.remedy) for each in told] == [
        (
            "warning",
            "alimail.toml:7: no account here has an address of old.exmaple",
            "did you mean old.example?",
        ),
        (
            "warning",
            "alimail.toml:14: rule 2 is for anna@odl.example, *@x.example, and there is no such account",
            "see how that is spelt",
        ),
    ]


def test_remarks_of_the_roster_are_kept(tmp_path: Path) -> None:
    """A column that is not read, and a source with two targets, are told but stop nothing; headings may be named."""
    (tmp_path / "r.csv").write_text("Quelle,target,note\na@old,b@new,hello\n")
    text = SMALL.replace('name = "x"', 'name = "x"\nroster = "r.csv"\nheadings = {Quelle = "source address"}')
    spec = loads(text, REGISTRY, path=tmp_path / "alimail.toml")
    assert [remark.text for remark in spec.remarks] == [
        'r.csv!C1: the column "note" is not read',
        f"a@old goes to 2 targets: r.csv row 2, {tmp_path / 'alimail.toml'}:14",
    ]


def test_a_prompt_cannot_reach_another_process() -> None:
    """With an executor that leaves the process, secrets that are asked for are refused beforehand."""
    text = SMALL.replace("env:A", "prompt").replace('name = "x"', 'name = "x"\nexecutor = "processes"')
    ((_, message),) = _faults(text)
    assert message == "the source password is asked at a prompt, which executor = processes cannot do"
    assert loads(text.replace("processes", "threads"), REGISTRY).executor == "threads"


@pytest.mark.parametrize(
    ("octets", "where"),
    [
        (b"a = 1\nb = \n", "2"),
        (b"a = 'x\n", "2"),
        (b"[a]\n[a]\n", "2"),
        (b"a = 1\n\n\xff", "3"),
        (b'a = "\x00"', "1"),
        (b"a = " + b"[" * 5_000, ""),
        (b"a = " + b"1" * 5_000, ""),
        ("a = 1".encode("utf-16"), "1"),
    ],
)
def test_what_is_no_toml_says_where(tmp_path: Path, octets: bytes, where: str) -> None:
    """Syntax, encoding and sheer size are told with the line, never with the text that stands there."""
    path = tmp_path / "alimail.toml"
    path.write_bytes(octets)
    with pytest.raises(InputError) as caught:
        load(path, REGISTRY)
    (fault,) = caught.value.faults
    assert fault.where == f"{path}:{where}".removesuffix(":")


def test_who_takes_a_mark_away_and_gives_no_value_is_told_how_values_are_written() -> None:
    """`init` writes `# report_folder = ...`; a size or a text without its quotation marks is as common."""
    for text in ("report_folder = ...", "limit_octets = 1 TB"):
        with pytest.raises(InputError) as caught:
            loads(f"[migration]\n{text}\n", REGISTRY)
        (fault,) = caught.value.faults
        assert fault.where == "alimail.toml:2"
        assert 'text stands in quotes ("25MB")' in fault.remedy


def test_a_line_that_is_no_toml_is_not_repeated() -> None:
    """A password that was typed without quotation marks does not reach the message."""
    for text in (
        "secret = hunter2",
        "hunter2",
        "a = 1 hunter2",
        '"hunter2" = 1\n"hunter2" = 2',
        "[hunter2]\n[hunter2]",
    ):
        assert "hunter2" not in str(_faults(text))


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Windows' editors write one."""
    (tmp_path / "alimail.toml").write_text(SMALL, "utf-8-sig")
    assert load(tmp_path / "alimail.toml", REGISTRY).name == "x"


def test_a_missing_file_says_how_to_begin(tmp_path: Path) -> None:
    """The remedy is the command that writes one."""
    with pytest.raises(InputError) as caught:
        load(tmp_path / "alimail.toml", REGISTRY)
    assert "alimail init" in caught.value.remedy


_scalar = st.one_of(
    st.integers(-(10**20), 10**20),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(["env:A", "prompt", "old", "new", "keep", "a@b"]),
)
_key = st.sampled_from(
    [*TABLES, *(row.name for table in TABLES.values() for row in describe_options(table)), "host", "port"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_value = st.recursive(
    _scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_key, inner, max_size=4)
)
_document = st.dictionaries(_key, _value, max_size=6)


def _written(document: Mapping[str, object]) -> str:
    return "".join(f"{toml_text({key: value})[1:-1]}\n" for key, value in document.items())


def _outcome(text: str) -> tuple[MigrationSpec | None, list[str]]:
    """Return the migration, or where the faults are; let anything else through."""
    try:
        return loads(text, REGISTRY), []
    except InputError as error:
        return None, [fault.where for fault in error.faults]


@given(_document)
def test_values_survive_being_written(document: dict[str, object]) -> None:
    """What ``toml_text`` writes is what a TOML reader reads, whatever is in it."""
    assert tomllib.loads(_written(document)) == document


@given(
    _document | st.fixed_dictionaries({name: st.dictionaries(_key, _value, max_size=5) for name in TABLES})
)
def test_no_document_raises_anything_else(document: dict[str, object]) -> None:
    """Whatever values stand in whatever tables, the answer is a migration or faults with places."""
    spec, faults = _outcome(_written(document))
    assert spec.accounts if spec else faults
    assert all(faults)


@settings(max_examples=3 * settings().max_examples)
@given(
    st.text()
    | st.text("[]{}=,.\"'\\\n\r\t #abc1-")
    | st.tuples(st.integers(0, len(FULL)), st.text("[]{}=\"'\n#,"))
)
def test_no_text_raises_anything_else(text: str | tuple[int, str]) -> None:
    """No text at all, near or far from TOML, raises anything but ``InputError``."""
    if isinstance(text, tuple):
        text = FULL[: text[0]] + text[1] + FULL[text[0] :]
    spec, faults = _outcome(text)
    assert spec or faults


def _paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


@given(_document, st.integers(0, 3))
def test_every_key_and_item_has_a_line(document: dict[str, object], empty: int) -> None:
    """Each path of a document is found, on the line of its statement."""
    text = "\n" * empty + _written(document)
    lines = locate(text)
    assert set(_paths(tomllib.loads(text))) == set(lines)
    assert {key: lines[key,] for key in document} == {
        key: number + empty for number, key in enumerate(document, 1)
    }


def test_lines_are_found_in_every_way_of_writing_toml() -> None:
    """Tables of arrays, dotted and quoted keys, strings and arrays over several lines, comments and all."""
    text = """# comment = 1
a.'b.c' = [ # [
  1, \'\'\'
x = 1
]\'\'\', "]", { z = [2] },
]
t = \"\"\"
[no]
""quoted""\\\"\"\"\"
[[x]]
k = 1979-05-27 07:32:00
[[x]]
[x.y]
"k\\u0041" = -1.5e3
[[x.z]]
q = {}
"""
    assert set(_paths(tomllib.loads(text))) == set(locate(text))
    lines = locate(text)
    wanted = {
        ("a", "b.c"): 2,
        ("a", "b.c", 0): 3,
        ("a", "b.c", 1): 3,
        ("a", "b.c", 3, "z", 0): 5,
        ("t",): 7,
        ("x",): 10,
        ("x", 0, "k"): 11,
        ("x", 1): 12,
        ("x", 1, "y", "kA"): 14,
        ("x", 1, "z", 0, "q"): 16,
    }
    assert {path: lines[path] for path in wanted} == wanted
    assert nearest(lines, ("x", 1, "y", "nowhere", 3)) == 13
    assert nearest(lines, ("nowhere",)) == 1


ANSWERS: dict[str, dict[str, object]] = {
    "migration": {"name": '示例 "2026"', "workers": 2, "ledger": "C:\\mail\\alimail.db"},
    "source": {"kind": "old", "host": "mail.old.example", "secret": Secret("env", "A")},
    "target": {"kind": "new", "host": "mail.new.example", "secret": "env:B", "port": 1143},
    "folders": {"rules": [{"source": "Spam", "skip": True}]},
    "account": {"source_address": "a@old", "target_address": "a@new"},
}


def test_the_example_is_a_configuration() -> None:
    """What ``init`` writes is read back with the answers that were given, and defaults for the rest."""
    spec = loads(example(REGISTRY, ANSWERS), REGISTRY)
    assert (spec.name, spec.workers) == ('示例 "2026"', 2)
    assert spec.accounts[0].target == Endpoint("new", _Server("mail.new.example", 1143))
    assert spec.policy == FolderPolicy(rules=(FolderRule(("Spam",), None),))
    assert spec.options == TransferOptions()


def test_the_example_shows_every_option_with_its_default() -> None:
    """Taking the comment sign off any option changes nothing: the defaults in the comments are the real ones."""
    text = example(REGISTRY, ANSWERS)
    spec = loads(text, REGISTRY)
    commented = [
        line
        for line in text.splitlines()
        if line.startswith("# ") and " = " in line and line[2:].split()[1] == "="
    ]
    options = [line for line in commented if not line.endswith("= ...") and tomllib_accepts(line[2:])]
    assert len(options) > 15
    for line in options:
        assert evolve(loads(text.replace(f"\n{line}\n", f"\n{line[2:]}\n"), REGISTRY), remarks=()) == spec


def tomllib_accepts(line: str) -> bool:
    """Tell whether a comment is an option, and not prose with an equals sign in it."""
    try:
        return bool(tomllib.loads(line))
    except tomllib.TOMLDecodeError:
        return False


def test_the_example_without_answers_asks_for_what_is_needed() -> None:
    """What must be given is there, empty; a kind that is not installed is left for ``check`` to tell."""
    text = example(REGISTRY, {"source": {"kind": "pop3", "host": "h"}})
    assert '\nname = ""\n' in text
    assert 'host = "h"' in text
    assert ("there is no source called pop3") in [message for _, message in _faults(text)]


def test_the_reference_names_every_option() -> None:
    """Each option of each table and plug-in has a row, with type, default and help."""
    text = reference(REGISTRY)
    tables: list[type] = [*TABLES.values(), _Server]
    for row in (row for table in tables for row in describe_options(table)):
        assert f"| `{row.name}` | " in text
    assert '| `tls` | "implicit" or "none" | `"implicit"` | Encryption. |' in text
    assert '## `kind = "new"` in `[target]`' in text


def test_the_reference_in_the_handbook_is_current() -> None:
    """``python -m alimail_core.config.text docs/reference/configuration.md`` was run after the last change."""
    assert DOCUMENT.read_text("utf-8") == reference(
        Registry.load(["imap", "pop3", "ews", "alimail", "directory"])
    )


def test_urls_and_files_share_their_rules() -> None:
    """Text from a URL is turned into the option's type; the same text in a file is refused."""
    assert structure({"host": "h", "port": "1"}, _Server, from_text=True).port == 1
    with pytest.raises(Misfits, match="must be a whole number"):
        structure({"host": "h", "port": "1"}, _Server)

"""Where folders go: special uses, names, rules, policies, and what holds of every mapping."""

from __future__ import annotations

import random
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from imapclient import imap_utf7

from alimail_core.folders.mapping import Mapped, map_folders
from alimail_core.folders.policy import FolderPolicy, FolderRule, matches, split_path
from alimail_core.folders.special_uses import special_use_of, special_uses
from alimail_core.folders.spelling import (
    ESCAPE,
    encode_modified_utf7,
    encode_name,
    encoded_length,
    fit,
    restore_name,
)
from alimail_core.model import INBOX, Folder, FolderPath, PathRules, SpecialUse

properly = settings(deadline=None, derandomize=True)

ALIBABA = PathRules(forbidden="+*\\", max_octets=200, keep_spaces=False)

NAMES = [
    "INBOX", "Inbox", "inbox", "Sent", "sent", "Sent Items", "已发送", "Drafts", "Trash", "A", "a", "A (2)", "b",
    "A/b", "A‛／b", "a.b", "a+b", "", " ", "a ", "a", ".", "..", "‛", "‛∅", "‛2F‛", "\t", "\x7f", "\x85", "\u202e",
    "\ud800",
    "[Gmail]", "&", "é", "e\u0301", "ß", "SS", "长" * 90, "长" * 90 + "尾", "A" * 300, "A" * 300 + "b",
]  # fmt: skip
# Names that meet one another in some sink.
TWINS = [
    "inbox",
    "Inbox",
    "A",
    "a",
    "A (2)",
    "A/b",
    "A‛／b",
    "Sent",
    "sent",
    "已发送",
    "Sent Items",
    "",
    " a",
    "x",
]
names = st.sampled_from(TWINS) | st.sampled_from(NAMES) | st.text(max_size=4)
twins = st.sampled_from(TWINS).map(lambda name: (name,))
paths = twins | st.lists(st.sampled_from(TWINS) | names, min_size=1, max_size=3).map(tuple) | st.just(INBOX)
uses = st.none() | st.sampled_from(SpecialUse)
folders = st.builds(
    Folder,
    path=paths,
    special_use=st.none() | st.none() | uses,
    selectable=st.sampled_from([True, True, True, False]),
)
sides = st.lists(folders, min_size=1, max_size=14, unique_by=lambda folder: folder.path)
sinks = st.builds(
    PathRules,
    delimiter=st.sampled_from(["/", "/", ".", None]),
    forbidden=st.sampled_from(["", "+*\\", "%()&~", "／é "]),
    max_depth=st.sampled_from([None, None, 1, 2]),
    max_octets=st.sampled_from([None, 64, 200]),
    encoding=st.sampled_from(["imap-utf-7", "utf-8"]),
    case_sensitive=st.booleans(),
    keep_spaces=st.booleans(),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Folder], PathRules, list[Folder]]:
    """A source, a sink's rules, and what stands in the sink: some of it marked, some of it childless."""
    rules = draw(sinks)
    targets = [
        Folder(("已发送",), SpecialUse.SENT, inferiors=draw(st.booleans())),
        Folder(("草稿",), SpecialUse.DRAFTS),
        Folder(("Trash",)),
        Folder(("A",), inferiors=draw(st.booleans())),
        Folder(INBOX, inferiors=draw(st.booleans())),
    ]
    return draw(sides), rules, draw(st.lists(st.sampled_from(targets), unique_by=lambda each: each.path))


def fold(path: FolderPath, rules: PathRules) -> FolderPath:
    """Make equal what the sink takes for equal."""
    folded = path if rules.case_sensitive else tuple(name.casefold() for name in path)
    return (*INBOX, *folded[1:]) if path[0].lower() == "inbox" else folded


def assert_valid(path: FolderPath, rules: PathRules) -> None:
    """Hold a target path to every rule of its sink."""
    assert path
    if rules.delimiter is None:
        assert len(path) == 1
    assert rules.max_depth is None or len(path) <= rules.max_depth
    assert path[0] == "INBOX" or path[0].lower() != "inbox"
    for name in path:
        assert name
        assert not set(name) & {*rules.forbidden, rules.delimiter}
        assert not set(name) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
        assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in name)
        assert rules.max_octets is None or encoded_length(name, rules) <= rules.max_octets
        if not rules.keep_spaces:
            assert name.strip() == name
            assert name.strip(".") == name


def by_source(rows: list[Mapped]) -> dict[FolderPath, FolderPath]:
    """Index a mapping."""
    return {row.source: row.target for row in rows}


# -- what holds of every mapping


@properly
@given(worlds(), st.sampled_from(["original", "inbox", "folder"]))
def test_every_folder_has_a_valid_place_or_is_named_as_skipped(
    world: tuple[list[Folder], PathRules, list[Folder]], history: str
) -> None:
    """No folder is passed over in silence, and every target is one that the sink can make."""
    sources, rules, targets = world
    policy = FolderPolicy(history, ("Old mail", "a/b"))  # type: ignore[arg-type]
    mapped, skipped = map_folders(sources, policy, rules, target_folders=targets)
    told = [row.source for row in mapped] + [row.source for row in skipped]
    assert Counter(told) == Counter(folder.path for folder in sources)
    for row in mapped:
        assert_valid(row.target, rules)
        assert row.rule
        childless = {each.path for each in targets if not each.inferiors}
        assert not any(row.target[:end] in childless for end in range(1, len(row.target)))
    for left_out in skipped:
        [folder] = [each for each in sources if each.path == left_out.source]
        assert left_out.reason
        assert not folder.selectable or folder.special_use in (SpecialUse.FLAGGED, SpecialUse.IMPORTANT)


@properly
@given(worlds(), st.randoms(use_true_random=False))
def test_the_mapping_does_not_hang_on_the_order_of_the_listing(
    world: tuple[list[Folder], PathRules, list[Folder]], chance: random.Random
) -> None:
    """The same folders in another order, on either side, get the same places."""
    sources, rules, targets = world
    first = map_folders(sources, FolderPolicy(), rules, target_folders=targets)
    mixed = chance.sample(sources, len(sources)), chance.sample(targets, len(targets))
    assert map_folders(mixed[0], FolderPolicy(), rules, target_folders=mixed[1]) == first


@properly
@given(worlds(), st.sampled_from(["original", "folder"]))
@example(
    ([Folder(("a",)), Folder(("A",)), Folder(("A (2)",))], PathRules(case_sensitive=False), []), "original"
)
@example(
    ([Folder(("Sent",)), Folder(("已发送",))], PathRules(), [Folder(("已发送",), SpecialUse.SENT)]),
    "original",
)
def test_no_two_folders_share_a_target(
    world: tuple[list[Folder], PathRules, list[Folder]], history: str
) -> None:
    """Whatever names collide in case, after spelling or by shortening, each folder stands by itself."""
    sources, rules, targets = world
    policy = FolderPolicy(history, ("Old mail",))  # type: ignore[arg-type]
    mapped, _ = map_folders(sources, policy, rules, target_folders=targets)
    places = Counter(fold(row.target, rules) for row in mapped)
    assert not places or max(places.values()) == 1


@properly
@given(worlds(), sides, st.sampled_from(["original", "folder"]))
def test_later_passes_change_no_place(
    world: tuple[list[Folder], PathRules, list[Folder]], added: list[Folder], history: str
) -> None:
    """Folders that are added, gone, or marked anew move none that has its place, and take no place of another."""
    sources, rules, targets = world
    policy = FolderPolicy(history, ("Old mail",))  # type: ignore[arg-type]
    before = by_source(map_folders(sources, policy, rules, target_folders=targets)[0])
    kept = [evolve(each, special_use=None) for each in sources[1:]]
    later = {each.path: each for each in [*added, *kept]}
    made = [
        *targets,
        *(Folder(path) for path in before.values() if path not in {each.path for each in targets}),
    ]
    mapped, _ = map_folders(later.values(), policy, rules, target_folders=made, previous=before)
    after = by_source(mapped)
    assert {path: after[path] for path in before if path in later} == {
        path: target for path, target in before.items() if path in later
    }
    places = Counter(fold(target, rules) for target in after.values())
    assert not places or max(places.values()) == 1
    if sources[0].path in before and sources[0].path not in later:
        gone = fold(before[sources[0].path], rules)
        special = {row.source for row in mapped if row.rule.startswith(("special use", "inbox"))}
        assert gone not in {
            fold(after[path], rules) for path in after if path not in special and path not in before
        }


@properly
@given(worlds())
def test_the_inbox_meets_the_inbox(world: tuple[list[Folder], PathRules, list[Folder]]) -> None:
    """INBOX goes to INBOX, and under ``original`` nothing else does."""
    sources, rules, targets = world
    with_inbox = [*(each for each in sources if each.path != INBOX), Folder(INBOX)]
    mapped, _ = map_folders(with_inbox, FolderPolicy(), rules, target_folders=targets)
    assert [row.source for row in mapped if row.target[0].lower() == "inbox" and len(row.target) == 1] == [
        INBOX
    ]


@properly
@given(worlds())
def test_the_hierarchy_is_kept(world: tuple[list[Folder], PathRules, list[Folder]]) -> None:
    """A child stands under its parent's target, or beside it where the sink allows no other place."""
    sources, rules, targets = world
    mapped, _ = map_folders(sources, FolderPolicy(), rules, target_folders=targets)
    places = by_source(mapped)
    childless = {each.path for each in targets if not each.inferiors}
    depth = 1 if rules.delimiter is None else rules.max_depth
    for row in mapped:
        parent = places.get(row.source[:-1])
        if parent is None or row.rule.startswith("special use"):
            continue
        if parent in childless or (depth is not None and len(parent) >= depth):
            assert row.target[:-1] == parent[:-1]
        else:
            assert row.target[:-1] == parent


@properly
@given(sides, sinks)
def test_a_tree_that_the_sink_can_hold_is_left_as_it_is(tree: list[Folder], rules: PathRules) -> None:
    """What one mapping has made, a second mapping onto the same sink maps to itself."""
    mapped, _ = map_folders(
        [evolve(each, selectable=True) for each in tree], FolderPolicy(skip=frozenset()), rules
    )
    made = [Folder(row.target, row.special_use) for row in mapped]
    whole = {path[:end] for path in (each.path for each in made) for end in range(1, len(path))}
    made += [Folder(path) for path in sorted(whole - {each.path for each in made})]
    for targets in (made, []):
        again, skipped = map_folders(made, FolderPolicy(skip=frozenset()), rules, target_folders=targets)
        assert not skipped
        assert [row.target for row in again] == [row.source for row in again]


# -- names


@properly
@given(st.text(max_size=12) | names, sinks)
@example("‛", PathRules(forbidden="/"))
@example("‛／/", PathRules())
@example("", PathRules())
@example("\u202e", PathRules())
@example("\x00\x1f\x7f", PathRules())
def test_a_spelling_can_be_read_back(name: str, rules: PathRules) -> None:
    """Every name that had to be changed comes back, and none that had not to be is changed."""
    rules = evolve(rules, delimiter=rules.delimiter or "/", max_depth=None, max_octets=None)
    spelt = encode_name(name, rules)
    assert encode_name(spelt, rules) == spelt
    assert spelt != name or name
    if spelt != name or ESCAPE not in name:
        assert restore_name(spelt) == name
    assert_valid(("x", spelt), rules)


@properly
@given(names, names, sinks)
@example("A" * 300, "A" * 300 + "b", PathRules(max_octets=64))
@example("‛／", "/", PathRules())
def test_two_names_keep_two_spellings(one: str, other: str, rules: PathRules) -> None:
    """Names that had to be changed never meet, and neither do shortened ones."""
    spelt = [encode_name(name, rules) for name in (one, other)]
    if one != other and one != spelt[0] and other != spelt[1]:
        assert spelt[0] != spelt[1]
    if one != other and one == spelt[0] and other == spelt[1]:
        assert fit(one, rules) != fit(other, rules)


@properly
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@example("~peter/mail/台北/日本語 & co")
@example("\U0001f600&-")
def test_modified_utf_7_is_that_of_imap(name: str) -> None:
    """The encoder agrees with the IMAP library's."""
    assert encode_modified_utf7(name) == imap_utf7.encode(name)


def test_a_spelling_looks_like_its_name() -> None:
    """A reader recognises the name, and the reason says what was changed."""
    mapped, _ = map_folders([Folder(("GPR/GPA",)), Folder(("50% + x ",))], FolderPolicy(), ALIBABA)
    assert [(row.target, row.rule) for row in mapped] == [
        (("50% ‛＋ x‛␠",), "history original; renamed: ' ' '+' cannot stand in a name there"),
        (("GPR‛／GPA",), "history original; renamed: '/' cannot stand in a name there"),
    ]


# -- special uses


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("Sent Items", SpecialUse.SENT), ("已发送", SpecialUse.SENT), ("已发送邮件", SpecialUse.SENT),
        ("寄件備份", SpecialUse.SENT), ("送信済みアイテム", SpecialUse.SENT), ("보낸 편지함", SpecialUse.SENT),
        ("Gesendete Elemente", SpecialUse.SENT), ("Éléments envoyés", SpecialUse.SENT),
        ("ELEMENTOS ENVIADOS", SpecialUse.SENT), ("Posta inviata", SpecialUse.SENT),
        ("Отправленные", SpecialUse.SENT), ("Verzonden items", SpecialUse.SENT),
        ("Elementy wysłane", SpecialUse.SENT),
        ("Gönderilmiş Öğeler", SpecialUse.SENT), ("Thư đã gửi", SpecialUse.SENT),
        ("草稿", SpecialUse.DRAFTS), ("草稿箱", SpecialUse.DRAFTS), ("草稿夹", SpecialUse.DRAFTS),
        ("Rascunhos", SpecialUse.DRAFTS), ("下書き", SpecialUse.DRAFTS), ("แบบร่าง", SpecialUse.DRAFTS),
        ("垃圾邮件", SpecialUse.JUNK), ("垃圾郵件", SpecialUse.JUNK), ("Junk  E-Mail", SpecialUse.JUNK),
        ("已删除邮件", SpecialUse.TRASH), ("已删除", SpecialUse.TRASH), ("Deleted Items", SpecialUse.TRASH),
        ("刪除的郵件", SpecialUse.TRASH), ("ゴミ箱", SpecialUse.TRASH), ("Corbeille", SpecialUse.TRASH),
        ("归档", SpecialUse.ARCHIVE), ("Important", None), ("Starred", None), ("All Mail", None), ("Outbox", None),
    ],
)  # fmt: skip
def test_well_known_names_tell_a_use(name: str, use: SpecialUse | None) -> None:
    """A name counts at the top, under INBOX and in a container; deeper down it is only a name."""
    for parent in ((), INBOX, ("[Gmail]",)):
        assert special_use_of(Folder((*parent, name))) == use
    assert special_use_of(Folder(("Projects", name))) is None
    assert special_use_of(Folder((name,), selectable=False)) is None
    assert special_use_of(Folder((name,), SpecialUse.ARCHIVE)) == SpecialUse.ARCHIVE


def test_the_attribute_goes_before_the_name() -> None:
    """Of an attribute and a name the attribute counts; of two names the outer, then the more usual."""
    marked = [Folder(("已发送邮件",)), Folder(("X",), SpecialUse.SENT), Folder(("Sent",))]
    assert special_uses(marked) == {SpecialUse.SENT: ("X",)}
    named = [Folder(("INBOX", "Sent")), Folder(("已发送邮件",)), Folder(("Sent Items",))]
    assert special_uses(named) == {SpecialUse.SENT: ("Sent Items",)}


IN_ALIBABA = [
    Folder(INBOX),
    Folder(("已发送",), SpecialUse.SENT),
    Folder(("草稿",), SpecialUse.DRAFTS),
    Folder(("垃圾邮件",), SpecialUse.JUNK),
    Folder(("已删除邮件",), SpecialUse.TRASH),
]


def into_alibaba(
    *listed: Folder,
    policy: FolderPolicy | None = None,
    override: Callable[[Folder], FolderPath | None] | None = None,
    previous: Mapping[FolderPath, FolderPath] | None = None,
) -> dict[FolderPath, FolderPath]:
    """Map folders into a new mailbox of Alibaba Mail."""
    mapped, _ = map_folders(
        listed,
        policy or FolderPolicy(),
        ALIBABA,
        target_folders=IN_ALIBABA,
        override=override,
        previous=previous,
    )
    return by_source(mapped)


def test_special_folders_meet_their_counterparts_and_children_follow() -> None:
    """Sent goes to 已发送 wherever it stood, and Sent/2019 to 已发送/2019."""
    assert into_alibaba(
        Folder(INBOX),
        Folder(("INBOX", "Sent")),
        Folder(("INBOX", "Sent", "2019")),
        Folder(("INBOX", "Clients")),
        Folder(("Entwürfe",)),
        Folder(("[Gmail]",), selectable=False),
        Folder(("[Gmail]", "Papierkorb"), SpecialUse.TRASH),
    ) == {
        INBOX: INBOX,
        ("INBOX", "Sent"): ("已发送",),
        ("INBOX", "Sent", "2019"): ("已发送", "2019"),
        ("INBOX", "Clients"): ("INBOX", "Clients"),
        ("Entwürfe",): ("草稿",),
        ("[Gmail]", "Papierkorb"): ("已删除邮件",),
    }


def test_a_second_folder_of_one_use_keeps_its_own_name() -> None:
    """The marked folder gets the counterpart; a namesake of the counterpart gets a number."""
    assert into_alibaba(Folder(("Sent",), SpecialUse.SENT), Folder(("已发送",)), Folder(("Sent Items",))) == {
        ("Sent",): ("已发送",),
        ("已发送",): ("已发送 (2)",),
        ("Sent Items",): ("Sent Items",),
    }


def test_the_target_is_told_what_a_new_folder_is_for() -> None:
    """The use is told where the target is its one counterpart or will be made as such."""
    mapped, _ = map_folders(
        [Folder(("Archiv",)), Folder(("Sent",)), Folder(("Gesendet",))],
        FolderPolicy(),
        ALIBABA,
        target_folders=IN_ALIBABA,
    )
    assert {row.source[0]: row.special_use for row in mapped} == {
        "Archiv": SpecialUse.ARCHIVE,
        "Gesendet": None,
        "Sent": SpecialUse.SENT,
    }


def test_views_are_skipped_and_told_and_all_is_not() -> None:
    """What is marked as a view of other folders is left out with a reason; a rule brings it back."""
    listed = [
        Folder(("Starred",), SpecialUse.FLAGGED),
        Folder(("Important",), SpecialUse.IMPORTANT),
        Folder(("All",), SpecialUse.ALL),
        Folder(("Flagged",)),
    ]
    mapped, skipped = map_folders(listed, FolderPolicy(), ALIBABA)
    assert [row.source for row in mapped] == [("All",), ("Flagged",)]
    assert [(row.source, row.reason) for row in skipped] == [
        (("Important",), "\\Important shows messages of other folders"),
        (("Starred",), "\\Flagged shows messages of other folders"),
    ]
    policy = FolderPolicy(rules=(FolderRule(("Starred",), ("Stars",)),))
    assert ("Starred",) in into_alibaba(*listed, policy=policy)


def test_a_container_is_made_only_where_something_stands_beneath_it() -> None:
    """Containers keep the hierarchy and are not made for their own sake."""
    mapped, skipped = map_folders(
        [
            Folder(("P",), selectable=False),
            Folder(("P", "Q"), selectable=False),
            Folder(("P", "Q", "x")),
            Folder(("Empty",), selectable=False),
        ],
        FolderPolicy(),
        ALIBABA,
    )
    assert [row.target for row in mapped] == [("P",), ("P", "Q"), ("P", "Q", "x")]
    assert [row.source for row in skipped] == [("Empty",)]


# -- rules, overrides, policies, the previous mapping


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("A/B", "A/B", True), ("A", "a", False), ("A/*", "A/B", True), ("A/*", "A", False), ("A/*", "A/B/C", False),
        ("A/?", "A/B", True), ("A/[bB]", "A/B", True), ("**", "A/B", True), ("A/**", "A", True),
        ("A/**", "A/B/C", True),
        ("**/B", "B", True), ("**/B", "A/x/B", True), ("**/B", "A/B/C", False), ("A/**/C", "A/C", True),
        ("A/**/C", "A/x/y/C", True), ("A/**/C", "A/C/x", False), ("**/x/**/y", "x/x/a/y", True),
        ("A**", "ABC", True),
        ("A**", "A/B", False), (r"A\/B", r"A\/B", True), (r"A\/B", "A/B", False),
    ],
)  # fmt: skip
def test_patterns_match_a_whole_path(pattern: str, path: str, expected: bool) -> None:
    """One glob a component, and ``**`` for any number of them."""
    assert matches(split_path(pattern), split_path(path)) == expected


@properly
@given(st.lists(st.text(st.sampled_from("\\/ab")), min_size=1, max_size=4).map(tuple))
def test_any_path_can_be_written(path: FolderPath) -> None:
    r"""With ``\/`` and ``\\`` every path has a text."""
    assert split_path("/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in path)) == path


def test_the_first_rule_decides_for_a_folder_and_what_is_beneath_it() -> None:
    """Exceptions come first; what is beneath a ruled folder keeps its place under the target; rules merge."""
    policy = FolderPolicy(
        rules=(
            FolderRule(("P", "keep"), ("Kept",)),
            FolderRule(("P", "secret"), None),
            FolderRule(("P", "*"), ("All", "of+it")),
            FolderRule(("**", "Spam"), None),
            FolderRule(("**", "n"), ("N",)),
        )
    )
    mapped, skipped = map_folders(
        [
            Folder(path)
            for path in [
                ("P",), ("P", "keep"), ("P", "keep", "x"), ("P", "secret"), ("P", "secret", "x"), ("P", "a"),
                ("P", "b"), ("P", "b", "x/y"), ("Q", "Spam"), ("Spam",), ("Kept",), ("n", "b"), ("n", "b", "n"),
            ]
        ],
        policy,
        ALIBABA,
        target_folders=IN_ALIBABA,
    )  # fmt: skip
    assert by_source(mapped) == {
        ("P",): ("P",),
        ("Kept",): ("Kept",),
        ("n", "b"): ("N", "b"),
        ("n", "b", "n"): ("N",),
        ("P", "keep"): ("Kept",),
        ("P", "keep", "x"): ("Kept", "x"),
        ("P", "a"): ("All", "of‛＋it"),
        ("P", "b"): ("All", "of‛＋it"),
        ("P", "b", "x/y"): ("All", "of‛＋it", "x‛／y"),
    }
    assert {row.source: row.reason for row in skipped} == {
        ("P", "secret"): "rule 2 leaves it out",
        ("P", "secret", "x"): "rule 2 leaves it out",
        ("Q", "Spam"): "rule 4 leaves it out",
        ("Spam",): "rule 4 leaves it out",
    }


@properly
@given(sides, sinks)
def test_beneath_a_rule_two_folders_stay_two(tree: list[Folder], rules: PathRules) -> None:
    """A rule merges what it names; beneath one folder that it names, nothing is merged."""
    sources = [Folder(("Old",)), *(Folder(("Old", *each.path)) for each in tree)]
    policy = FolderPolicy(rules=(FolderRule(("Old",), ("New",)),))
    mapped, skipped = map_folders(sources, policy, rules)
    places = Counter(fold(row.target, rules) for row in mapped)
    assert len(mapped) == len(sources)
    assert not skipped
    assert max(places.values()) == 1


def test_a_plug_in_may_place_a_folder_and_its_children_follow() -> None:
    """The wish is made valid and free of collisions; rules and earlier passes go before it."""
    asked: list[FolderPath] = []

    def override(folder: Folder) -> FolderPath | None:
        asked.append(folder.path)
        return (
            {"A": ("X/Y",), "B": ("inbox",), "Sent": ("Mine",)}.get(folder.path[0])
            if len(folder.path) == 1
            else None
        )

    policy = FolderPolicy(rules=(FolderRule(("R",), ("Ruled",)),))
    top = [("A",), ("B",), ("R",), ("K",), INBOX, ("Sent",), ("Mine",), ("已发送",)]
    listed = [*map(Folder, top), Folder(("A", "z"))]
    found = into_alibaba(*listed, policy=policy, override=override, previous={("K",): ("Kept",)})
    assert found == {
        ("A",): ("X‛／Y",),
        ("A", "z"): ("X‛／Y", "z"),
        ("B",): ("INBOX (2)",),
        ("R",): ("Ruled",),
        ("K",): ("Kept",),
        INBOX: INBOX,
        ("Sent",): ("Mine",),
        ("Mine",): ("Mine (2)",),
        ("已发送",): ("已发送",),
    }
    assert sorted(asked) == [("A",), ("A", "z"), ("B",), INBOX, ("Mine",), ("Sent",), ("已发送",)]


def test_a_plug_in_may_leave_the_inbox_where_it_is() -> None:
    """An override that says what the policy says changes nothing."""
    assert into_alibaba(Folder(INBOX), override=lambda folder: folder.path) == {INBOX: INBOX}


def test_history_into_the_inbox() -> None:
    """Under ``inbox`` every folder that holds messages goes into INBOX."""
    listed = [Folder(INBOX), Folder(("Sent",)), Folder(("A",), selectable=False), Folder(("A", "b"))]
    assert into_alibaba(*listed, policy=FolderPolicy("inbox")) == {
        INBOX: INBOX,
        ("Sent",): INBOX,
        ("A", "b"): INBOX,
    }


def test_history_into_a_folder_that_is_named() -> None:
    """Under ``folder`` the whole tree stands beneath it under its own names, INBOX too."""
    policy = FolderPolicy("folder", ("Old", "li@example.com"))
    listed = [Folder(INBOX), Folder(("Sent",), SpecialUse.SENT), Folder(("A", "b"))]
    assert into_alibaba(*listed, policy=policy) == {
        INBOX: ("Old", "li@example.com", "INBOX"),
        ("Sent",): ("Old", "li@example.com", "Sent"),
        ("A", "b"): ("Old", "li@example.com", "A", "b"),
    }


def test_what_a_pass_has_decided_stays() -> None:
    """The previous mapping goes before rules, special uses and policies, and its children follow it."""
    previous: dict[FolderPath, FolderPath] = {
        ("Sent",): ("Elsewhere",),
        ("A",): ("Old A",),
        ("Gone",): ("Taken",),
    }
    policy = FolderPolicy(rules=(FolderRule(("A",), None),))
    listed = [
        Folder(("Sent",)),
        Folder(("Sent", "x")),
        Folder(("A",)),
        Folder(("Elsewhere",)),
        Folder(("Taken",)),
    ]
    assert into_alibaba(*listed, policy=policy, previous=previous) == {
        ("Sent",): ("Elsewhere",),
        ("Sent", "x"): ("Elsewhere", "x"),
        ("A",): ("Old A",),
        ("Elsewhere",): ("Elsewhere (2)",),
        ("Taken",): ("Taken (2)",),
    }


def test_a_special_folder_that_was_renamed_keeps_its_counterpart() -> None:
    """Where the folder that had the counterpart is gone from the source, its successor gets it."""
    assert into_alibaba(Folder(("Sent Items",)), previous={("Sent",): ("已发送",)}) == {
        ("Sent Items",): ("已发送",)
    }


def test_a_counterpart_that_is_taken_is_not_shared() -> None:
    """A folder that is marked later does not join the one that has the counterpart, and makes no second one."""
    mapped, _ = map_folders(
        [Folder(("Sent Items",)), Folder(("Sent",), SpecialUse.SENT)],
        FolderPolicy(),
        ALIBABA,
        target_folders=IN_ALIBABA,
        previous={("Sent Items",): ("已发送",)},
    )
    assert [(row.target, row.special_use) for row in mapped] == [(("Sent",), None), (("已发送",), None)]


def test_a_name_that_fits_goes_before_one_that_is_spelt_so() -> None:
    """Where a spelling meets a real name, the real name stays."""
    assert into_alibaba(Folder(("A/b",)), Folder(("A‛／b",))) == {
        ("A/b",): ("A‛／b (2)",),
        ("A‛／b",): ("A‛／b",),
    }


def test_where_no_folder_can_stand_beneath_another_it_stands_beside() -> None:
    """Childless targets, flat sinks and depth limits make "parent - child"."""
    targets = [Folder(INBOX, inferiors=False)]
    deep = [Folder(("INBOX", "a", "b")), Folder(("x", "y", "z"))]
    childless = map_folders(deep, FolderPolicy(), PathRules(), target_folders=targets)[0]
    assert [row.target for row in childless] == [("INBOX - a", "b"), ("x", "y", "z")]
    flat = map_folders(deep, FolderPolicy(), PathRules(delimiter=None))[0]
    assert [row.target for row in flat] == [("INBOX - a - b",), ("x - y - z",)]


@pytest.mark.parametrize(
    "wrong", [lambda: FolderPolicy("folder"), lambda: FolderRule((), ("A",)), lambda: FolderRule(("A",), ())]
)
def test_a_policy_names_the_folders_that_it_speaks_of(wrong: Callable[[], object]) -> None:
    """A rule without a pattern, or a target without a name, is an error at once."""
    with pytest.raises(ValueError, match="must be named"):
        wrong()


def test_ten_thousand_folders_that_collide_get_ten_thousand_names() -> None:
    """Names that differ only in case cost no more than others."""
    cases = [
        "".join(
            char.upper() if bits >> at & 1 else char for at, char in enumerate(string.ascii_lowercase[:13])
        )
        for bits in range(8192)
    ]
    mapped, _ = map_folders(
        [Folder((name,)) for name in cases], FolderPolicy(), PathRules(case_sensitive=False)
    )
    assert len({row.target[0].casefold() for row in mapped}) == len(cases)


RULES = (
    FolderRule(("Projects",), ("Of Anna",), accounts=("ANNA@old.example",)),
    FolderRule(("Projects",), ("Of sales",), accounts=("*@sales.example", "bert@new.example")),
    FolderRule(("Projects",), None),
)


@pytest.mark.parametrize(
    ("addresses", "place"),
    [
        (("anna@old.example", "a@new.example"), ("Of Anna", "rule 1")),
        (("b@old.example", "Bert@new.example"), ("Of sales", "rule 2")),
        (("c@sales.example", "c@new.example"), ("Of sales", "rule 2")),
        (("anna@old.example.org", "d@new.example"), None),
    ],
)
def test_rules_for_some_accounts_leave_the_others_alone(
    addresses: tuple[str, str], place: tuple[str, str] | None
) -> None:
    """An account is decided for by the first rule that is for it, and each rule keeps its number from the file."""
    policy = FolderPolicy(rules=RULES).of(*addresses)
    mapped, skipped = map_folders([Folder(("Projects",)), Folder(INBOX)], policy, PathRules())
    found = {row.source: (row.target[0], row.rule) for row in mapped}
    assert found.get(("Projects",)) == place
    assert [row.reason for row in skipped] == ([] if place else ["rule 3 leaves it out"])


def test_rules_for_others_do_not_change_what_a_policy_says() -> None:
    """Else every account would be told that its folders keep their places when one account's rule is changed."""
    assert str(FolderPolicy(rules=RULES).of("x@y.example")) == str(FolderPolicy(rules=RULES[2:]))
    assert FolderPolicy(rules=RULES[2:]).of("x@y.example") == FolderPolicy(rules=RULES[2:])

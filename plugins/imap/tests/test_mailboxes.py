"""LIST in the words of real servers, and names to and fro."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient import imap_utf7

from alimail_core.errors import Denied, Refused, Transient
from alimail_core.model import INBOX, Folder, FolderPath, SpecialUse
from alimail_core.seam import Clock
from alimail_imap import mailboxes
from alimail_imap.mailboxes import MAX_LEVELS, Names
from alimail_imap.source import ImapSource, open_source
from alimail_imap.testing import CannedServer, Reply
from alimail_imap.utf7 import decode, encode

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


def folders(replies: dict[bytes, Reply], capabilities: bytes = b"IMAP4rev1") -> list[Folder]:
    """List the folders of a server that answers so."""
    with (
        CannedServer(replies, capabilities=capabilities) as server,
        open_source(server.options, server.credentials, Clock()) as source,
    ):
        return list(source.folders())


def paths(found: list[Folder]) -> list[FolderPath]:
    """Return the paths alone."""
    return [folder.path for folder in found]


def test_courier_has_everything_beneath_the_inbox() -> None:
    """The prefix INBOX. is no part of a path, and shared folders are left out."""
    found = folders(
        {
            b"NAMESPACE": b'* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))\r\n',
            b'LIST "" "*"': b'* LIST (\\Unmarked \\HasChildren) "." "INBOX"\r\n'
            b'* LIST (\\HasNoChildren) "." "INBOX.Sent"\r\n'
            b'* LIST (\\HasNoChildren) "." "INBOX.Kunden.Nord"\r\n'
            b'* LIST (\\Noselect \\HasChildren) "." "INBOX.Kunden"\r\n'
            b'* LIST (\\HasNoChildren) "." "shared.all"\r\n',
        },
        b"IMAP4rev1 NAMESPACE",
    )
    assert paths(found) == [INBOX, ("Sent",), ("Kunden", "Nord"), ("Kunden",)]
    assert [folder.selectable for folder in found] == [True, True, True, False]


def test_cyrus_with_other_users() -> None:
    """Other users' mailboxes are not ours, nor is the node above them."""
    found = folders(
        {
            b"NAMESPACE": b'* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared Folders/" "/"))\r\n',
            b'LIST "" "*"': b'* LIST (\\Noinferiors) "/" inbox\r\n* LIST () "/" "Archive/2020"\r\n'
            b'* LIST (\\Noselect) "/" "Other Users"\r\n* LIST () "/" "Other Users/bert/INBOX"\r\n',
        },
        b"IMAP4rev1 NAMESPACE",
    )
    assert paths(found) == [INBOX, ("Archive", "2020")]
    assert not found[0].inferiors


def test_alibaba_tells_special_uses_unasked_in_chinese() -> None:
    """The attributes of RFC 6154 are read from a plain LIST, the names from modified UTF-7."""
    found = folders(
        {
            b'LIST "" "*"': b'* LIST () "/" "INBOX"\r\n* LIST (\\Sent) "/" "&XfJT0ZAB-"\r\n'
            b'* LIST (\\Drafts) "/" "&g0l6P3ux-"\r\n* LIST (\\Junk) "/" "&V4NXPpCuTvY-"\r\n'
            b'* LIST (\\Trash) "/" "&XfJSIJZkkK5O9g-"\r\n'
        },
        b"IMAP4rev1 IDLE XLIST UIDPLUS ID SASL-IR",
    )
    uses = {folder.path: folder.special_use for folder in found}
    assert uses[("已发送",)] is SpecialUse.SENT
    assert uses[("已删除邮件",)] is SpecialUse.TRASH
    assert uses[INBOX] is None


def test_coremail_tells_special_uses_by_xlist() -> None:
    """Where LIST tells none, XLIST is asked, and its older words are understood."""
    found = folders(
        {
            b'LIST "" "*"': b'* LIST () "/" "INBOX"\r\n* LIST () "/" "&V4NXPpCuTvY-"\r\n* LIST () "/" "All"\r\n',
            b'XLIST "" "*"': b'* XLIST (\\Inbox) "/" "INBOX"\r\n* XLIST (\\Spam) "/" "&V4NXPpCuTvY-"\r\n'
            b'* XLIST (\\AllMail) "/" "All"\r\n',
        },
        b"IMAP4rev1 XLIST",
    )
    assert [folder.special_use for folder in found] == [None, SpecialUse.JUNK, SpecialUse.ALL]


def test_dovecot_is_asked_for_special_uses() -> None:
    """With SPECIAL-USE and LIST-EXTENDED they are asked for in the same command."""
    found = folders(
        {b'LIST "" "*" RETURN (SPECIAL-USE)': b'* LIST (\\HasNoChildren \\Sent) "." Sent\r\n'},
        b"IMAP4rev1 LIST-EXTENDED SPECIAL-USE",
    )
    assert found[0].special_use is SpecialUse.SENT


@pytest.mark.parametrize("offered", [b"IMAP4rev1 NAMESPACE", b"IMAP4rev1"])
def test_a_naming_that_is_refused_in_passing_is_asked_for_again(offered: bytes) -> None:
    """Else each folder would have another name this time, and be another folder."""
    naming = {
        b"NAMESPACE": b'* NAMESPACE (("INBOX." ".")) NIL NIL\r\n{tag} OK\r\n',
        b'LIST "" ""': b'* LIST (\\Noselect) "." ""\r\n{tag} OK\r\n',
    }
    for words in (b"NO Not now", b"BAD What?"):
        replies: dict[bytes, Reply] = {b'LIST "" "*"': b'* LIST () "." INBOX\r\n* LIST () "." INBOX.A.B\r\n'}
        for command, sound in naming.items():
            told = iter([b"{tag} " + words + b"\r\n"])
            replies[command] = lambda _, told=told, sound=sound: next(told, sound)  # type: ignore[misc]
        assert paths(folders(replies, offered))[1][-2:] == ("A", "B")
    no: dict[bytes, Reply] = dict.fromkeys(naming, b"{tag} NO [UNAVAILABLE] Backend down\r\n")
    with pytest.raises(Transient, match="Backend down"):
        folders(no, offered)


def test_a_list_that_cannot_be_had_now_is_had_later() -> None:
    """Only a server that never lists is given up."""
    with pytest.raises(Transient, match="in use"):
        folders({b'LIST "" "*"': b"{tag} NO [INUSE] mailbox is in use\r\n"})
    with pytest.raises(Denied, match="does not list"):
        folders({b'LIST "" "*"': b"{tag} NO never\r\n"})


def test_the_delimiter_is_that_of_the_root() -> None:
    """A LIST of something else that comes with the answer says nothing of it."""
    stray = b'* LIST (\\Noselect) NIL x\r\n* LIST (\\Noselect) "." ""\r\n'
    with (
        CannedServer({b'LIST "" ""': stray}) as server,
        ImapSource.open(server.options, server.credentials) as it,
    ):
        assert it.session.names.delimiter == b"."


def test_a_server_without_hierarchy_has_a_nil_delimiter() -> None:
    """NIL says that names are flat: nothing is divided, nothing can be beneath."""
    found = folders({b'LIST "" "*"': b"* LIST () NIL INBOX\r\n* LIST (\\Noinferiors) NIL {5}\r\na/b.c\r\n"})
    assert paths(found) == [INBOX, ("a/b.c",)]
    assert not any(folder.inferiors for folder in found)


def test_numbers_nil_literals_and_quotes_are_names() -> None:
    """Each of these broke the parser of some other tool."""
    found = folders(
        {
            b'LIST "" "*"': b'* LIST () "/" 2019\r\n* LIST () "/" "NIL"\r\n* LIST () "/" {7}\r\nlit"era\r\n'
            b'* LIST () "/" "a \\"quoted\\" \\\\ one"\r\n* LIST () "/" [Gmail]/All\r\n* LIST () "\\\\" a\\b\r\n'
            b'* LIST () "/" "007"\r\n'
        }
    )
    assert paths(found) == [
        ("2019",),
        ("NIL",),
        ('lit"era',),
        ('a "quoted" \\ one',),
        ("[Gmail]", "All"),
        ("a", "b"),
        ("007",),
    ]


def test_names_that_are_no_modified_utf_7_keep_their_octets() -> None:
    """A name in UTF-8, in GB18030 or with a lone & is shown as well as can be and written back as it came."""
    raw = ["größe".encode(), "北京".encode("gb18030"), b"R&D", b"&AGE-bc"]
    listed = b"".join(b'* LIST () "/" "%s"\r\n' % name for name in raw)
    found = folders({b'LIST "" "*"': listed})
    assert paths(found) == [("größe",), ("北京",), ("R&D",), ("&AGE-bc",)]

    assert [Names().wire(folder) for folder in found] == raw


def test_each_path_is_listed_once() -> None:
    """Of two names that read alike the well-spelt one has the path; the same name twice is one folder."""
    found = folders(
        {b'LIST "" "*"': b'* LIST () "/" "R&D"\r\n* LIST () "/" "R&-D"\r\n* LIST () "/" "R&-D"\r\n'}
    )
    assert {folder.path: folder.handle for folder in found} == {("R&D",): "R&-D", ("R&D (2)",): "R&D"}


def test_the_inbox_has_one_spelling_and_may_have_children() -> None:
    """Inbox and Inbox/a are INBOX and what is beneath it."""
    found = folders({b'LIST "" "*"': b'* LIST () "/" Inbox\r\n* LIST () "/" Inbox/a\r\n'})
    assert paths(found) == [INBOX, ("INBOX", "a")]


def test_nonexistent_folders_are_containers() -> None:
    """RFC 5258's NonExistent is as unselectable as Noselect."""
    (found,) = folders({b'LIST "" "*"': b'* LIST (\\NonExistent \\HasChildren) "/" a\r\n'})
    assert not found.selectable


def test_odd_lines_are_passed_over() -> None:
    """A LIST response that breaks the grammar costs no other."""
    found = folders(
        {b'LIST "" "*"': b"* LIST\r\n* LIST ( x\r\n* LIST () NIL\r\n* 3 EXISTS\r\n* LIST () NIL ok\r\n"}
    )
    assert paths(found) == [("ok",)]


def test_a_line_that_was_spoiled_is_asked_for_again() -> None:
    """Passed over, its folder would count as gone from the source, and its messages with it."""
    told = iter([b'* LIST () "/" a\r\n* LIST ( "/" b\r\n', b'* LIST () "/" a\r\n* LIST () "/" b\r\n'])
    assert paths(folders({b'LIST "" "*"': lambda _: next(told)})) == [("a",), ("b",)]


def test_a_folder_prefix_overrides_the_server() -> None:
    """What the administrator says of the prefix counts more than what NAMESPACE says."""
    from attrs import evolve

    replies: dict[bytes, Reply] = {b'LIST "" "*"': b'* LIST () "." INBOX\r\n* LIST () "." INBOX.a\r\n'}
    with CannedServer(replies) as server:
        options = evolve(server.options, folder_prefix="INBOX.")
        with ImapSource.open(options, server.credentials) as source:
            assert paths(list(source.folders())) == [INBOX, ("a",)]


@given(NAMES)
def test_names_survive_the_wire(name: str) -> None:
    """Modified UTF-7 brings every name back, and is that of another library."""
    assert decode(encode(name)) == name
    assert encode(name) == imap_utf7.encode(name)


@given(st.binary(max_size=30) | st.text("&-+,/AbQ0=~", max_size=9).map(str.encode))
def test_what_is_decoded_has_one_spelling(raw: bytes) -> None:
    """Octets decode to a name only if that name is written as these octets."""
    name = decode(raw)
    assert name is None or encode(name) == raw


@given(st.lists(NAMES.filter(lambda name: "." not in name), min_size=1, max_size=4).map(tuple))
def test_paths_survive_the_wire_with_a_prefix(path: FolderPath) -> None:
    """A path is what is read of the name that is written for it."""
    names = Names(b".", b"INBOX.")
    if path[0].upper() != "INBOX":
        assert names.to_path(names.from_path(path), b".") == path


@pytest.mark.parametrize(
    ("delimiter", "path"), [(b"/", ("a/b",)), (None, ("a", "b")), (b"/", ("a", "")), (b"/", ())]
)
def test_a_path_that_the_server_cannot_have_is_refused(delimiter: bytes | None, path: FolderPath) -> None:
    """A delimiter within a name would make two folders of one."""
    with pytest.raises(Refused):
        Names(delimiter).from_path(path)


@pytest.mark.parametrize("more", [0, 1, 10_000])
def test_a_name_is_divided_into_so_many_levels_and_no_more(more: int) -> None:
    """What lies deeper than any mailbox goes is one name; each name has a path of its own all the same."""
    above = b"d/" * (MAX_LEVELS - 1)
    path = Names().to_path(above + b"d/" * more + b"d", b"/")
    assert path == ("d",) * (MAX_LEVELS - 1) + ("d/" * more + "d",)
    assert path != Names().to_path(above + b"d/" * more + b"e", b"/")


def test_more_folders_than_any_mailbox_has_end_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The levels of all folders together are bounded, because each of them takes memory."""
    monkeypatch.setattr(mailboxes, "MAX_TREE", 600)
    lines = [b'* LIST () "/" f%d/g/h\r\n' % number for number in range(201)]
    assert len(folders({b'LIST "" "*"': b"".join(lines[:200])})) == 200
    with pytest.raises(Denied, match="lists 201 folders, more than we take"):
        folders({b'LIST "" "*"': b"".join(lines)})

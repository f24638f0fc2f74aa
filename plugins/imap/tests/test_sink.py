"""The sink's other verbs against canned servers: folders, flags, moves, removals, quota."""

from __future__ import annotations

from functools import partial

import pytest

from alimail_core.errors import Denied, InDoubt, Refused
from alimail_core.model import INBOX, FlagChange, Folder, FolderPath, Moved, Quota, SpecialUse, Unusable
from alimail_imap.mailboxes import Names
from alimail_imap.sink import ImapSink
from alimail_imap.testing import CLOSE, CannedServer, Reply

BOX = Folder(("Box",))
TO = Folder(("To",))
CLOCK = 1_700_000_000
SELECT = (
    b"* 3 EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n* OK [PERMANENTFLAGS (\\Seen \\Flagged \\Answered)] five\r\n"
    % CLOCK
)
RICH = b"IMAP4rev1 LITERAL+ UIDPLUS MOVE"


def key(uid: int) -> str:
    """Name a message of BOX."""
    return f"{CLOCK}/{uid}"


def there(*uids: int) -> bytes:
    """Answer a UID FETCH of flags."""
    return b"".join(b"* %d FETCH (UID %d FLAGS ())\r\n" % (uid, uid) for uid in uids)


class Tree:
    """The folders of a canned server; CREATE adds to them, LIST lists them."""

    def __init__(self, *names: bytes, attributes: dict[bytes, bytes] | None = None) -> None:
        self.names = [b"INBOX", *names]
        self.attributes = attributes or {}

    def create(self, command: bytes) -> bytes:
        name = command.split(b'"')[1]
        if name in self.names:
            return b"{tag} NO [ALREADYEXISTS] Mailbox exists\r\n"
        self.names.append(name)
        if b"USE (" in command:
            self.attributes[name] = command.partition(b"USE (")[2].rstrip(b")")
        return b""

    def list(self, command: bytes) -> bytes:
        wanted = command.split(b'"')[3]
        names = [name for name in self.names if wanted in (name, b"*")]
        return b"".join(
            b'* LIST (%s) "/" "%s"\r\n' % (self.attributes.get(name, b""), name) for name in names
        )

    def replies(self) -> dict[bytes, Reply]:
        return {
            b"CREATE": self.create,
            b'LIST "" "': self.list,
            b'LIST "" ""': b'* LIST (\\Noselect) "/" ""\r\n',
        }


def create(
    replies: dict[bytes, Reply], *wanted: tuple[FolderPath, SpecialUse | None], capabilities: bytes = RICH
) -> tuple[list[Folder | Unusable], CannedServer]:
    """Create folders; return the answers and the server."""
    with (
        CannedServer(replies, capabilities=capabilities) as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        return list(sink.create(wanted)), server


def test_parents_are_made_first_and_everything_is_subscribed() -> None:
    """A folder's parents exist and are seen by mail programs before it does."""
    found, server = create(Tree().replies(), (("甲", "乙"), None))
    assert [folder.path for folder in found] == [("甲", "乙")]
    assert server.commands(b"CREATE") == [
        b'CREATE "%s"' % Names().from_path(path) for path in (("甲",), ("甲", "乙"))
    ]
    assert len(server.commands(b"SUBSCRIBE")) == 2


def test_creating_twice_is_creating_once() -> None:
    """What exists is answered as it is, the inbox too, and only subscribed to: it may have been made a moment ago."""
    found, server = create(
        Tree(b"a", b"a/b").replies(), (INBOX, None), (("a", "b"), None), (("a", "b"), None)
    )
    assert [folder.path for folder in found] == [INBOX, ("a", "b"), ("a", "b")]
    assert not server.commands(b"CREATE")
    assert b'SUBSCRIBE "a/b"' in server.commands(b"SUBSCRIBE")


def _appear(tree: Tree, answer: bytes, command: bytes) -> bytes:
    tree.create(command)
    return answer


@pytest.mark.parametrize("verb", [b"CREATE", b"SUBSCRIBE"])
def test_many_folders_share_their_round_trips(verb: bytes) -> None:
    """Further commands are with the server before it answers the first, parents before what is beneath them."""
    with (
        CannedServer(Tree().replies(), late=2, late_to=verb) as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        found = list(sink.create([(("a",), None), (("b", "c"), None)]))
    assert [folder.path for folder in found] == [("a",), ("b", "c")]
    assert server.commands(b"CREATE") == [b'CREATE "a"', b'CREATE "b"', b'CREATE "b/c"']
    assert len(server.commands(b'LIST "" "*"')) == 2


def test_a_parent_is_made_once() -> None:
    """Folders of one parent share it, and a parent that is wanted itself has its special use."""
    found, server = create(
        Tree().replies(),
        (("a", "b"), None),
        (("a", "c"), None),
        (("a",), SpecialUse.ARCHIVE),
        capabilities=RICH + b" CREATE-SPECIAL-USE",
    )
    assert [folder.path for folder in found] == [("a", "b"), ("a", "c"), ("a",)]
    assert server.commands(b"CREATE") == [
        b'CREATE "a" (USE (\\Archive))',
        b'CREATE "a/b"',
        b'CREATE "a/c"',
    ]


def test_a_folder_that_appears_meanwhile_is_no_fault() -> None:
    """ALREADYEXISTS, or a NO in other words while it does exist, is what was wanted."""
    for answer in (b"{tag} NO [ALREADYEXISTS] x\r\n", b"{tag} NO Mailbox exists.\r\n"):
        tree = Tree()
        replies = tree.replies() | {b"CREATE": partial(_appear, tree, answer)}
        (folder,), _ = create(replies, (("a",), None))
        assert isinstance(folder, Folder)


def test_special_use_is_asked_for_where_offered() -> None:
    """CREATE-SPECIAL-USE makes the folder known to every mail program."""
    (folder,), _ = create(
        Tree().replies(), (("Gesendet",), SpecialUse.SENT), capabilities=RICH + b" CREATE-SPECIAL-USE"
    )
    assert isinstance(folder, Folder)
    assert folder.special_use is SpecialUse.SENT


def test_a_refused_special_use_still_makes_the_folder() -> None:
    """The folder counts more than its attribute."""
    tree = Tree()

    def answer(command: bytes) -> bytes:
        return b"{tag} NO [USEATTR] not supported\r\n" if b"USE" in command else tree.create(command)

    replies: dict[bytes, Reply] = tree.replies() | {b"CREATE": answer}
    (folder,), _ = create(replies, (("Sent",), SpecialUse.SENT), capabilities=RICH + b" CREATE-SPECIAL-USE")
    assert folder == Folder(("Sent",), handle="Sent", messages=0)


def test_a_folder_that_cannot_be_made_is_unusable_in_its_place() -> None:
    """With the server's words, and the others are made."""
    tree = Tree()
    bad: Reply = b"{tag} NO [CANNOT] Invalid mailbox name\r\n"
    replies = tree.replies() | {b'CREATE "bad"': bad}
    found, _ = create(replies, (("bad",), None), (("x/y",), None), (("good",), None))
    assert [type(one) for one in found] == [Unusable, Unusable, Folder]
    assert isinstance(found[0], Unusable)
    assert "Invalid mailbox name" in found[0].reason


def test_a_container_is_made_selectable() -> None:
    """A Noselect node of that name becomes a folder by CREATE."""
    tree = Tree(b"a", attributes={b"a": b"\\Noselect"})

    def answer(command: bytes) -> bytes:
        tree.attributes.clear()
        return b""

    (folder,), _ = create(tree.replies() | {b"CREATE": answer}, (("a",), None))
    assert isinstance(folder, Folder)
    assert folder.selectable


def test_flags_are_added_and_removed_and_never_replaced() -> None:
    """Messages with the same wish share a command; what the folder cannot store is left out."""
    replies: dict[bytes, Reply] = {b"SELECT": SELECT}
    seen, starred = frozenset({"\\Seen"}), frozenset({"\\Flagged"})
    changes = [FlagChange(key(uid), add=seen) for uid in (1, 2, 3)]
    changes += [FlagChange(key(5), add=starred, remove=seen), FlagChange(key(6), add=frozenset({"$Junk"}))]
    changes += [FlagChange("1/9", add=seen), FlagChange("nonsense", add=seen), FlagChange(key(7))]
    with CannedServer(replies) as server, ImapSink.open(server.options, server.credentials) as sink:
        sink.change_flags(BOX, changes)
    assert server.commands(b"UID STORE") == [
        b"UID STORE 1:3 +FLAGS.SILENT (\\Seen)",
        b"UID STORE 5 +FLAGS.SILENT (\\Flagged)",
        b"UID STORE 5 -FLAGS.SILENT (\\Seen)",
    ]


def test_a_move_tells_the_new_keys() -> None:
    """COPYUID comes untagged with MOVE; a key that is gone is left out."""
    replies: dict[bytes, Reply] = {
        b"SELECT": SELECT,
        b"UID FETCH": there(1, 2),
        b"UID MOVE 1:2 ": b"* OK [COPYUID %d 1:2 8:9] moved\r\n* 1 EXPUNGE\r\n" % (CLOCK + 1),
    }
    with (
        CannedServer(replies, capabilities=RICH) as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        moved = list(sink.move(BOX, [key(1), key(2), key(3)], TO))
    assert moved == [Moved(key(1), f"{CLOCK + 1}/8"), Moved(key(2), f"{CLOCK + 1}/9")]


def test_without_move_a_copy_is_removed_exactly() -> None:
    """COPY, then UID EXPUNGE of these UIDs and no others."""
    replies: dict[bytes, Reply] = {
        b"SELECT": SELECT,
        b"UID FETCH": there(2),
        b"UID COPY": b"{tag} OK [COPYUID %d 2 8] copied\r\n" % (CLOCK + 1),
    }
    with CannedServer(replies) as server, ImapSink.open(server.options, server.credentials) as sink:
        assert list(sink.move(BOX, [key(2)], TO)) == [Moved(key(2), f"{CLOCK + 1}/8")]
    assert server.commands(b"UID EXPUNGE") == [b"UID EXPUNGE 2"]
    assert not server.commands(b"EXPUNGE")


def test_a_move_whose_answer_is_lost_is_in_doubt() -> None:
    """Whether the message stands here or there has to be looked up."""
    replies: dict[bytes, Reply] = {b"SELECT": SELECT, b"UID FETCH": there(2), b"UID MOVE": CLOSE}
    with (
        CannedServer(replies, capabilities=RICH) as server,
        ImapSink.open(server.options, server.credentials) as sink,
        pytest.raises(InDoubt),
    ):
        list(sink.move(BOX, [key(2)], TO))


@pytest.mark.parametrize(
    ("told", "kind"), [(b"* 1 EXPUNGE\r\n", InDoubt), (b"* VANISHED 1\r\n", InDoubt), (b"", Refused)]
)
def test_a_move_that_stopped_half_way_is_in_doubt(told: bytes, kind: type[Exception]) -> None:
    """A NO after some messages have moved leaves open which; a NO before leaves all where they were."""
    no = told + b"{tag} NO [CANNOT] target is odd\r\n"
    replies: dict[bytes, Reply] = {b"SELECT": SELECT, b"UID FETCH": there(1, 2), b"UID MOVE": no}
    with (
        CannedServer(replies, capabilities=RICH) as server,
        ImapSink.open(server.options, server.credentials) as sink,
        pytest.raises(kind),
    ):
        list(sink.move(BOX, [key(1), key(2)], TO))


def test_a_copy_whose_original_stays_is_in_doubt() -> None:
    """Then the message stands in both folders, which only a look can tell."""
    replies: dict[bytes, Reply] = {
        b"SELECT": SELECT,
        b"UID FETCH": there(2),
        b"UID STORE": b"{tag} NO read-only\r\n",
    }
    with (
        CannedServer(replies) as server,
        ImapSink.open(server.options, server.credentials) as sink,
        pytest.raises(InDoubt) as caught,
    ):
        list(sink.move(BOX, [key(2)], TO))
    assert caught.value.over


def test_removal_touches_the_keys_and_nothing_else() -> None:
    """What is gone already is left out."""
    replies: dict[bytes, Reply] = {b"SELECT": SELECT, b"UID FETCH": there(1, 3)}
    with CannedServer(replies) as server, ImapSink.open(server.options, server.credentials) as sink:
        assert list(sink.remove(BOX, [key(1), key(2), key(3)])) == [key(1), key(3)]
    assert server.commands(b"UID EXPUNGE") == [b"UID EXPUNGE 1,3"]


def test_what_the_server_does_not_let_go_is_marked_no_more() -> None:
    """Else the next EXPUNGE of any client would remove it."""
    replies: dict[bytes, Reply] = {
        b"SELECT": SELECT,
        b"UID FETCH": there(1),
        b"UID EXPUNGE": b"{tag} NO [NOPERM] not yours\r\n",
    }
    with (
        CannedServer(replies) as server,
        ImapSink.open(server.options, server.credentials) as sink,
        pytest.raises(Refused),
    ):
        list(sink.remove(BOX, [key(1)]))
    assert server.commands(b"UID STORE") == [
        b"UID STORE 1 +FLAGS.SILENT (\\Deleted)",
        b"UID STORE 1 -FLAGS.SILENT (\\Deleted)",
    ]


def test_without_uidplus_nothing_is_removed() -> None:
    """A plain EXPUNGE would take what the user marked; so there is no removal at all."""
    replies: dict[bytes, Reply] = {b"SELECT": SELECT}
    with (
        CannedServer(replies, capabilities=b"IMAP4rev1") as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        assert not sink.traits.moves
        with pytest.raises(Denied, match="UIDPLUS"):
            list(sink.remove(BOX, [key(1)]))
    assert not server.commands(b"UID STORE")


@pytest.mark.parametrize(
    ("words", "quota"),
    [
        (b'* QUOTAROOT INBOX ""\r\n* QUOTA "" (STORAGE 10 512)\r\n', Quota(10_240, 524_288)),
        (b'* QUOTAROOT INBOX ""\r\n* QUOTA "" (MESSAGE 1 2)\r\n', None),
        (b'* QUOTA "" (MESSAGE 1 2 STORAGE 3 4)\r\n', Quota(3072, 4096)),
        (b"* QUOTAROOT INBOX\r\n", None),
        (b'* QUOTA "" (STORAGE x y)\r\n', None),
        (b"{tag} NO no quota\r\n", None),
    ],
)
def test_quota_is_told_in_octets(words: bytes, quota: Quota | None) -> None:
    """RFC 9208 counts in units of 1,024 octets."""
    replies: dict[bytes, Reply] = {b"GETQUOTAROOT": words}
    with (
        CannedServer(replies, capabilities=b"IMAP4rev1 QUOTA") as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        assert sink.quota() == quota


def test_traits_come_from_the_server() -> None:
    """Delimiter, APPENDLIMIT and what is safe are known from the moment of opening."""
    replies: dict[bytes, Reply] = {b'LIST "" ""': b'* LIST (\\Noselect) "." ""\r\n'}
    with (
        CannedServer(replies, capabilities=RICH + b" APPENDLIMIT=35651584") as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        assert sink.traits.rules.delimiter == "."
        assert sink.traits.max_message_octets == 35_651_584
        assert sink.traits.moves
        assert sink.traits.host == "127.0.0.1"


def test_only_a_sink_opens_a_folder_to_write() -> None:
    """A sink tells what a folder can store, which EXAMINE does not."""
    replies: dict[bytes, Reply] = {b"SELECT": SELECT.replace(b"3 EXISTS", b"0 EXISTS")}
    with CannedServer(replies) as server, ImapSink.open(server.options, server.credentials) as sink:
        (page,) = sink.changes([(BOX, None)])
    assert not isinstance(page, Unusable)
    assert page.storable_flags == frozenset({"\\Seen", "\\Flagged", "\\Answered"})


def test_flag_changes_share_their_round_trips() -> None:
    """Each wish is with the server before the one before it is answered; a NO to any of them is told."""
    changes = [
        FlagChange(key(uid), frozenset({flag}), frozenset())
        for uid, flag in ((1, "\\Seen"), (2, "\\Flagged"))
    ]
    replies: dict[bytes, Reply] = {b"SELECT": SELECT}
    with (
        CannedServer(replies, late=1, late_to=b"UID STORE") as server,
        ImapSink.open(server.options, server.credentials) as sink,
    ):
        sink.change_flags(BOX, changes)
        server.replies[b"UID STORE 1 "] = b"{tag} NO read-only\r\n"
        with pytest.raises(Refused, match="read-only"):
            sink.change_flags(BOX, changes)
        assert sink.connection.run(b"NOOP")[1].ok

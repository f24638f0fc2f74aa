"""What the test server keeps: that a client who follows its answers has what it has, whatever happens meanwhile."""

from __future__ import annotations

import email
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alimail_core.identity import content_digest
from alimail_core.testing.mail import message, sound_messages
from tests.exchange import EXCHANGE_2016, ExchangeServer, Folder, Habits, Mailbox, Organisation, schema
from tests.exchange.asking import Asker, envelope, paths
from tests.exchange.calls import Call
from tests.exchange.fixtures import StartExchange
from tests.exchange.operations import perform
from tests.exchange.rendering import render_anew
from tests.exchange.soap import NAMESPACES, Element, Request, children, local_name
from tests.exchange.soap import envelope as answer_envelope

IDS = "<t:BaseShape>IdOnly</t:BaseShape>"


class Client:
    """A replica of one folder that is kept by SyncFolderItems alone, without a wire."""

    def __init__(self, organisation: Organisation, folder: Folder) -> None:
        """Begin with nothing."""
        self.organisation, self.folder = organisation, folder
        self.state, self.last = "", True
        self.items: dict[str, tuple[str, str, bool]] = {}

    def page(self, most: int) -> None:
        """Ask for one page and follow it."""
        kept = f"<m:SyncState>{self.state}</m:SyncState>" if self.state else ""
        body = (
            f"<m:SyncFolderItems><m:ItemShape>{IDS}{paths('item:Categories', 'message:IsRead')}</m:ItemShape>"
            f'<m:SyncFolderId><t:FolderId Id="{self.folder.id}"/></m:SyncFolderId>{kept}'
            f"<m:MaxChangesReturned>{most}</m:MaxChangesReturned></m:SyncFolderItems>"
        )
        asked = children(schema.parse(envelope(body).encode()).find("s:Body", NAMESPACES))[0]
        mailbox = self.folder.mailbox
        request = Request("SyncFolderItems", asked, "Exchange2013", None, mailbox)  # type: ignore[arg-type]
        octets = answer_envelope(EXCHANGE_2016, perform(Call(self.organisation, Habits(), request)))
        assert schema.answer_fault(octets) is None
        tree = schema.parse(octets)
        assert tree.findtext(".//m:ResponseCode", None, NAMESPACES) == "NoError"
        self.state = tree.findtext(".//m:SyncState", "", NAMESPACES)
        self.last = tree.findtext(".//m:IncludesLastItemInRange", "", NAMESPACES) == "true"
        changes = children(tree.find(".//m:Changes", NAMESPACES))
        assert len(changes) <= most
        for change in changes:
            self._follow(change)

    def _follow(self, change: Element) -> None:
        """Do as a change says; what contradicts what it said before fails."""
        kind = local_name(change)
        (identifier,) = (node.get("Id", "") for node in change.iterfind(".//t:ItemId", NAMESPACES))
        known = identifier in self.items
        assert known == (kind != "Create"), f"{kind} of {'what is known' if known else 'what is not'}"
        if kind == "Delete":
            del self.items[identifier]
            return
        read = change.findtext(".//t:IsRead", "", NAMESPACES) == "true"
        if kind == "ReadFlagChange":
            key, words, _ = self.items[identifier]
            self.items[identifier] = (key, words, read)
            return
        words = ",".join(node.text or "" for node in change.iterfind(".//t:String", NAMESPACES))
        self.items[identifier] = (identifier, words, read)


def _step(mailbox: Mailbox, folder: Folder, other: Folder, step: tuple[str, int]) -> None:
    kind, number = step
    items = list(folder.items.values())
    if kind == "deliver" or not items:
        mailbox.deliver(folder.path, message())
        return
    item = items[number % len(items)]
    if kind == "read":
        mailbox.change(item, is_read=not item.is_read)
    elif kind == "categories":
        mailbox.change(item, categories=(f"c{number}",))
    elif kind == "away":
        mailbox.move(item, other)
    elif kind == "back" and other.items:
        mailbox.move(next(iter(other.items.values())), folder)
    else:
        mailbox.remove(item)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["deliver", "deliver", "deliver", "read", "categories", "away", "back", "remove", "sync"]
        ),
        st.integers(0, 3),
    ),
    max_size=40,
)


CHANGED_THEN_READ = [("deliver", 0), ("sync", 1), ("categories", 0), ("deliver", 0), ("read", 0)]
"""The mark that it was read comes last, and must not hide what changed before."""


@given(steps=STEPS)
@example(steps=CHANGED_THEN_READ)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_client_that_follows_has_what_the_folder_has(steps: Sequence[tuple[str, int]]) -> None:
    """Pages of any size, changes between any two pages: nothing is missed, told twice as new, or told unknown."""
    organisation = Organisation()
    amy = organisation.add_mailbox("amy")
    folder, other = amy.folder(["One"]), amy.folder(["Other"])
    client = Client(organisation, folder)
    for step in steps:
        if step[0] == "sync":
            client.page(step[1] % 3 + 1)
        else:
            _step(amy, folder, other, step)
    client.page(512)
    while not client.last:
        client.page(512)
    assert client.items == {
        item.id: (item.id, ",".join(item.categories), item.is_read) for item in folder.items.values()
    }


@given(number=st.integers(1, 9_999), name=st.sampled_from(sorted(sound_messages())))
def test_what_is_rendered_anew_says_the_same(number: int, name: str) -> None:
    """Other octets, the same decoded content and header fields; twice with the same number is twice the same."""
    octets = sound_messages()[name]
    anew = render_anew(octets, number)
    assert content_digest(anew) == content_digest(octets)
    assert sorted(email.message_from_bytes(anew).keys()) == sorted(email.message_from_bytes(octets).keys())
    assert render_anew(octets, number) == anew


def test_most_messages_come_with_other_octets_each_time() -> None:
    """As from a real server: the habit is worth something."""
    mail = sound_messages().values()
    changed = [octets for octets in mail if render_anew(octets, 1) != render_anew(octets, 2)]
    assert len(changed) > len(mail) / 2
    signed = message().replace(b"Content-Type: text/plain", b"Content-Type: multipart/signed")
    assert render_anew(signed, 1) == signed


@pytest.fixture
def server(exchange: StartExchange) -> ExchangeServer:
    """One with Amy."""
    server = exchange(tls=False)
    server.organisation.add_mailbox("amy", password="amys")
    return server


@pytest.fixture
def amy(server: ExchangeServer) -> Mailbox:
    """Amy's mailbox."""
    return server.organisation.mailboxes["amy@old.example"]


@pytest.fixture
def asker(server: ExchangeServer) -> Asker:
    """Amy herself."""
    return Asker(server, login="OLD\\amy", password="amys")


@pytest.mark.server
def test_an_item_that_is_moved_has_another_id(asker: Asker, amy: Mailbox) -> None:
    """The old one finds nothing; the others of the batch are given."""
    stays, goes = amy.deliver("inbox", message("stays")), amy.deliver("inbox", message("goes"))
    before = goes.id
    amy.move(goes, amy.folder(["Projects"]))
    assert asker.get_items(stays.id, before, goes.id).codes == ["NoError", "ErrorItemNotFound", "NoError"]


@pytest.mark.server
def test_another_database_makes_every_id_and_state_useless(asker: Asker, amy: Mailbox) -> None:
    """Items, folders and sync states alike, each with its own refusal."""
    item = amy.deliver("inbox", message())
    folder = item.folder.id
    (state,) = asker.sync(folder).texts("m:SyncState")
    old = item.id
    amy.relocate()
    assert asker.get_items(old).codes == ["ErrorItemNotFound"]
    assert asker.sync(folder, state).codes == ["ErrorSyncFolderNotFound"]
    assert asker.sync(item.folder.id, state).codes == ["ErrorInvalidSyncStateData"]
    assert asker.sync(item.folder.id, "bm8gc3RhdGU=").codes == ["ErrorInvalidSyncStateData"]
    assert asker.get_items(item.id).codes == ["NoError"]


@pytest.mark.server
def test_a_malformed_id_fails_the_batch_or_itself(asker: Asker, amy: Mailbox) -> None:
    """As the habit has it."""
    item = amy.deliver("inbox", message())
    assert asker.get_items(item.id, "no id").fault == "ErrorInvalidId"
    asker.server.habits.malformed_id_fails_all = False
    assert asker.get_items(item.id, "no id", "").codes == [
        "NoError",
        "ErrorInvalidIdMalformed",
        "ErrorInvalidIdEmpty",
    ]
    assert asker.get_items(item.folder.id).codes == ["ErrorCannotUseFolderIdForItemId"]


@pytest.mark.server
def test_an_item_that_cannot_be_rendered_fails_alone(asker: Asker, amy: Mailbox) -> None:
    """Its properties come all the same, only its content does not."""
    broken, sound = amy.deliver("inbox", message("broken")), amy.deliver("inbox", message("sound"))
    broken.failure = "ErrorContentConversionFailed"
    assert asker.get_items(broken.id, sound.id).codes == ["ErrorContentConversionFailed", "NoError"]
    assert asker.get_items(broken.id, sound.id, mime=False).codes == ["NoError", "NoError"]
    assert asker.find_items().codes == ["NoError"]


@pytest.mark.server
@pytest.mark.parametrize(
    "shape",
    [
        f"{IDS}<t:IncludeMimeContent>true</t:IncludeMimeContent>",
        IDS + paths("item:Body"),
        IDS + '<t:AdditionalProperties><t:ExtendedFieldURI PropertyTag="0x1080" PropertyName="x" '
        'PropertyType="Integer"/></t:AdditionalProperties>',
    ],
)
def test_a_listing_gives_no_content_and_no_nonsense(asker: Asker, amy: Mailbox, shape: str) -> None:
    """What only GetItem tells is refused in FindItem, and so is a property that cannot be."""
    amy.deliver("inbox", message())
    assert asker.find_items(shape=shape).codes[0] in (
        "ErrorInvalidPropertyRequest",
        "ErrorInvalidExtendedProperty",
    )


@pytest.mark.server
def test_pages_of_a_folder(asker: Asker, amy: Mailbox) -> None:
    """From the beginning, from the end, and no more than the server likes, with the numbers that tell the rest."""
    ids = [amy.deliver("inbox", message(f"{n}")).id for n in range(5)][::-1]

    def page(offset: int, most: int | None, base: str = "Beginning") -> tuple[list[str], dict[str, str]]:
        limit = "" if most is None else f'MaxEntriesReturned="{most}"'
        view = f'<m:IndexedPageItemView {limit} Offset="{offset}" BasePoint="{base}"/>'
        said = asker.find_items(view=view)
        attributes = {str(name): str(value) for name, value in said.all("m:RootFolder")[0].attrib.items()}
        return [node.get("Id", "") for node in said.all("t:ItemId")], attributes

    found, paging = page(0, 2)
    assert found == ids[:2]
    assert paging == {"IndexedPagingOffset": "2", "TotalItemsInView": "5", "IncludesLastItemInRange": "false"}
    assert page(4, 2)[0] == ids[4:]
    assert page(4, 2)[1]["IncludesLastItemInRange"] == "true"
    assert page(1, 2, "End")[0] == ids[2:4]
    asker.server.habits.find_limit = 3
    assert page(0, None)[0] == ids[:3]
    assert page(0, None)[1]["IncludesLastItemInRange"] == "false"


@pytest.mark.server
def test_folders_are_found_deep_and_shallow(asker: Asker, amy: Mailbox) -> None:
    """With their parents, their classes, and what only an extended property tells."""
    amy.folder(["Projects", "2024"])
    fields = paths("folder:DisplayName", "folder:ParentFolderId", "folder:FolderClass").replace(
        "</t:AdditionalProperties>",
        '<t:ExtendedFieldURI PropertyTag="0x10F4" PropertyType="Boolean"/></t:AdditionalProperties>',
    )
    inside = f"<m:FolderShape>{IDS}{fields}</m:FolderShape><m:ParentFolderIds>"
    inside += '<t:DistinguishedFolderId Id="msgfolderroot"/></m:ParentFolderIds>'
    deep = asker.ask("FindFolder", inside, attributes='Traversal="Deep"')
    shallow = asker.ask("FindFolder", inside, attributes='Traversal="Shallow"')
    assert set(deep.texts("t:DisplayName")) - set(shallow.texts("t:DisplayName")) == {
        "2024", "Conflicts", "Local Failures", "Server Failures",
    }  # fmt: skip
    hidden = [
        folder.findtext("t:DisplayName", None, NAMESPACES)
        for folder in shallow.all("t:Folder")
        if folder.findtext("t:ExtendedProperty/t:Value", None, NAMESPACES) == "true"
    ]
    assert hidden == ["Conversation Action Settings", "Quick Step Settings"]
    assert {local_name(folder) for folder in children(shallow.all("t:Folders")[0])} == {
        "Folder", "CalendarFolder", "ContactsFolder", "TasksFolder",
    }  # fmt: skip


@pytest.mark.server
def test_the_hierarchy_is_synchronised(asker: Asker, amy: Mailbox) -> None:
    """Folders that come, are renamed and go are told once each."""

    def sync(state: str) -> tuple[str, list[str]]:
        kept = f"<m:SyncState>{state}</m:SyncState>" if state else ""
        said = asker.ask("SyncFolderHierarchy", f"<m:FolderShape>{IDS}</m:FolderShape>{kept}")
        return said.texts("m:SyncState")[0], [local_name(node) for node in children(said.all("m:Changes")[0])]

    state, changes = sync("")
    assert set(changes) == {"Create"}
    assert len(changes) == len(list(amy.top.below()))
    folder = amy.folder(["Projects"])
    state, changes = sync(state)
    assert changes == ["Create"]
    amy.rename(folder, "Old projects")
    state, changes = sync(state)
    assert changes == ["Update"]
    amy.remove_folder(folder)
    state, changes = sync(state)
    assert changes == ["Delete"]
    assert sync(state)[1] == []


@pytest.mark.server
def test_a_folder_that_is_gone_and_one_that_never_was(asker: Asker, amy: Mailbox) -> None:
    """An old id finds no object; a distinguished name without a folder finds no folder."""
    folder = amy.folder(["Projects"])
    named = f'<m:FolderIds><t:FolderId Id="{folder.id}"/></m:FolderIds>'
    amy.remove_folder(folder)
    assert asker.get_folder(named).codes == ["ErrorItemNotFound"]
    missing = '<m:FolderIds><t:DistinguishedFolderId Id="voicemail"/></m:FolderIds>'
    assert asker.get_folder(missing).codes == ["ErrorFolderNotFound"]


@pytest.mark.server
def test_restrictions_and_orders_are_kept_or_refused(asker: Asker, amy: Mailbox) -> None:
    """A filter that is not understood is never ignored."""
    for number, flags in enumerate([["\\Seen"], [], ["\\Seen"]]):
        amy.deliver("inbox", message(f"{number}"), flags=flags)

    def find(test: str) -> Any:
        parents = '<m:ParentFolderIds><t:DistinguishedFolderId Id="inbox"/></m:ParentFolderIds>'
        inside = f"<m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape>{test}{parents}"
        return asker.ask("FindItem", inside, attributes='Traversal="Shallow"')

    read = (
        '<m:Restriction><t:IsEqualTo><t:FieldURI FieldURI="message:IsRead"/><t:FieldURIOrConstant>'
        '<t:Constant Value="true"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction>'
    )
    field = '<t:FieldURI FieldURI="item:Subject"/>'
    order = f'<m:SortOrder><t:FieldOrder Order="Ascending">{field}</t:FieldOrder></m:SortOrder>'
    assert find(read + order).texts("t:Subject") == ["0", "2"]
    assert find(read.replace("message:IsRead", "item:Body")).codes == ["ErrorUnsupportedPathForQuery"]
    assert find(order.replace("item:Subject", "item:Body")).codes == ["ErrorUnsupportedPathForSortGroup"]

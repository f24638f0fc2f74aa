"""The test server itself: independent clients read it, and what it must refuse it refuses."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alimail_core.testing.mail import message, sound_messages
from tests.exchange import EXCHANGE_2007, EXCHANGE_2010, EXCHANGE_2016, ExchangeServer, Habits, operations
from tests.exchange.asking import ROOT, Asker, envelope, paths
from tests.exchange.fixtures import StartExchange
from tests.exchange.soap import MESSAGES, SOAP, TYPES

pytestmark = pytest.mark.server


@pytest.fixture
def server(exchange: StartExchange) -> ExchangeServer:
    """One with Amy, Bob and the migration's account, over plain HTTP."""
    server = exchange(tls=False)
    server.organisation.add_mailbox("amy", password="amys", aliases=["a.b@old.example"], language="zh")
    server.organisation.add_mailbox("bob", password="bobs")
    server.organisation.add_account("svc", "secret", impersonates=["*"])
    return server


@pytest.fixture
def asker(server: ExchangeServer) -> Asker:
    """The migration's account in Amy's name."""
    return Asker(server, impersonate="amy@old.example")


# -- independent clients


@pytest.mark.slow
def test_exchangelib_walks_syncs_and_fetches(
    exchange: StartExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that knows nothing of this server finds every folder and every octet by NTLM over TLS."""
    exchangelib: Any = pytest.importorskip("exchangelib", reason="the plug-in brings it")
    from exchangelib.protocol import BaseProtocol

    server = exchange(habits=Habits(renders_anew=False))
    server.door.extended_protection = True
    amy = server.organisation.add_mailbox("amy", language="zh")
    mail = sound_messages()
    for octets in mail.values():
        amy.deliver("inbox", octets, flags=["\\Seen"])
    server.organisation.add_account("svc", "secret", impersonates=["*"])

    class Trusting(exchangelib.protocol.requests.adapters.HTTPAdapter):  # type: ignore[misc]
        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, str(server.ca_file), cert)

    monkeypatch.setattr(BaseProtocol, "HTTP_ADAPTER_CLS", Trusting)
    configuration = exchangelib.Configuration(
        service_endpoint=server.url,
        credentials=exchangelib.Credentials("OLD\\svc", "secret"),
        auth_type=exchangelib.NTLM,
    )
    account = exchangelib.Account(
        "amy@old.example", config=configuration, autodiscover=False, access_type=exchangelib.IMPERSONATION
    )
    try:
        assert account.inbox.name == "收件箱"
        assert account.inbox.total_count == len(mail)
        walked = {folder.name for folder in account.root.walk()}
        assert walked == {folder.name for folder in amy.distinguished("root").below()}
        fetched = [item.mime_content for item in account.inbox.all().only("mime_content")]
        assert sorted(fetched) == sorted(mail.values())
        changes = list(account.inbox.sync_items(only_fields=["size", "is_read"], max_changes_returned=7))
        assert [kind for kind, _ in changes] == ["create"] * len(mail)
        amy.change(next(iter(amy.distinguished("inbox").items.values())), is_read=False)
        assert [kind for kind, _ in account.inbox.sync_items(only_fields=["size"])] == ["read_flag_change"]
    finally:
        account.protocol.close()
    assert server.door.handshakes >= 1
    assert server.requests["FindFolder"] >= 1


def _curl(server: ExchangeServer, password: str, *options: str) -> str:
    body = envelope(
        f"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>{ROOT}</m:GetFolder>"
    )
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-", *options]
    command += ["-H", "Content-Type: text/xml", "-u", f"OLD\\amy:{password}", server.url]
    done = subprocess.run(command, input=body, text=True, capture_output=True, timeout=30, check=True)
    return done.stdout


@pytest.mark.parametrize("way", ["--ntlm", "--basic"])
def test_curl_comes_in_with_the_right_password_alone(server: ExchangeServer, way: str) -> None:
    """A second client's NTLM: not only the one whose library we might have misread."""
    assert _curl(server, "amys", way) == "200"
    assert _curl(server, "wrong", way) == "401"
    assert server.requests["GetFolder"] == 1


def test_extended_protection_refuses_a_proof_that_is_bound_to_no_certificate(exchange: StartExchange) -> None:
    """curl knows nothing of it and stays outside; exchangelib, in another test, comes in."""
    server = exchange()
    server.organisation.add_mailbox("amy", password="amys")
    trust = ("--cacert", str(server.ca_file), "--ntlm")
    assert _curl(server, "amys", *trust) == "200"
    server.door.extended_protection = True
    assert _curl(server, "amys", *trust) == "401"


def test_ntlm_proves_a_connection_and_no_other(server: ExchangeServer, tmp_path: Path) -> None:
    """Two requests on one connection need one handshake; a new connection needs its own."""
    (tmp_path / "body").write_text(
        envelope(
            f"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>{ROOT}</m:GetFolder>"
        )
    )
    one = ["-s", "-o", "/dev/null", "-w", "%{http_code} ", "--ntlm", "-u", "OLD\\amy:amys"]
    one += ["-H", "Content-Type: text/xml", "--data-binary", f"@{tmp_path / 'body'}", server.url]
    done = subprocess.run(
        ["curl", *one, "--next", *one], text=True, capture_output=True, timeout=30, check=True
    )
    assert done.stdout.split() == ["200", "200"]
    assert server.door.handshakes == 1


def test_a_401_offers_the_ways_in(server: ExchangeServer) -> None:
    """Both ways stand in it, each in a field of its own; a token opens where tokens are known."""
    said = Asker(server, password="wrong").get_folder()
    assert said.status == 401
    assert said.headers.get_all("WWW-Authenticate") == ["NTLM", 'Basic realm="exch.old.example"']
    server.door.schemes = ("Bearer",)
    server.door.tokens = {"t0ken": "OLD\\amy"}
    body = envelope(
        f"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>{ROOT}</m:GetFolder>"
    )
    assert Asker(server).post(body, headers={"Authorization": "Bearer t0ken"}).codes == ["NoError"]
    assert Asker(server).post(body, headers={"Authorization": "Bearer other"}).status == 401


# -- the schemas


def test_a_made_up_element_is_refused_and_remembered(server: ExchangeServer, asker: Asker) -> None:
    """As Exchange refuses it: the client gets a fault, the test fails unless it looks."""
    said = asker.ask(
        "GetFolder", f"<m:Invented/><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>{ROOT}"
    )
    assert (said.status, said.fault) == (500, "ErrorSchemaValidation")
    assert "Invented" in said.values()["Violation"]
    assert len(server.violations) == 1
    server.violations.clear()


@pytest.mark.parametrize(
    ("header", "body"),
    [("<t:Invented/>", "<m:GetServerTimeZones/>"), ("", "<m:Invented/>"), ("", "")],
    ids=["header", "operation", "nothing"],
)
def test_what_the_envelope_leaves_open_is_held_to_the_wsdl(
    server: ExchangeServer, asker: Asker, header: str, body: str
) -> None:
    """A header field or an operation that no operation has does not pass either."""
    said = asker.post(envelope(body, header=header))
    assert said.fault == "ErrorSchemaValidation"
    assert server.violations
    server.violations.clear()


@pytest.mark.parametrize(
    "body",
    [
        b"<m:GetFolderResponse><m:Invented/></m:GetFolderResponse>",
        b"<m:InventedResponse/>",
        b"<m:GetFolderResponse>",
    ],
)
def test_an_answer_that_breaks_the_schemas_fails_the_test(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """Our own mistakes are caught like the client's."""
    monkeypatch.setitem(operations.OPERATIONS, "GetFolder", lambda _: body)
    server = ExchangeServer(tls=False).start()
    server.organisation.add_mailbox("amy", password="amys")
    Asker(server, login="OLD\\amy", password="amys").get_folder()
    with pytest.raises(AssertionError, match="against Microsoft's schemas"):
        server.__exit__(None, None, None)


# -- versions


def test_an_older_server_takes_no_newer_schema(exchange: StartExchange) -> None:
    """It says so, and with its own version, so that a client can come down to it."""
    server = exchange(version=EXCHANGE_2010, tls=False)
    server.organisation.add_mailbox("amy", password="amys")
    asker = Asker(server, login="amy@old.example", password="amys")
    said = asker.get_folder()
    assert (said.status, said.fault) == (500, "ErrorInvalidServerVersion")
    (info,) = said.all("t:ServerVersionInfo")
    assert (info.get("MajorVersion"), info.get("MinorVersion"), info.get("Version")) == (
        "14",
        "3",
        "Exchange2010_SP2",
    )
    asker.version = "Exchange2010_SP2"
    assert asker.get_folder().codes == ["NoError"]
    asker.version = None
    assert asker.get_folder().codes == ["NoError"]


@pytest.mark.parametrize("version", ["Exchange2010_SP2", "Exchange2007_SP1"])
def test_what_an_older_schema_does_not_have_is_refused(asker: Asker, version: str) -> None:
    """A new server that is asked by an old schema knows no more than that schema."""
    asker.version = version
    assert (
        asker.find_items(shape=f"<t:BaseShape>IdOnly</t:BaseShape>{paths('item:Flag')}").fault
        == "ErrorSchemaValidation"
    )
    asker.version = "Exchange2013"
    assert asker.find_items(shape=f"<t:BaseShape>IdOnly</t:BaseShape>{paths('item:Flag')}").codes == [
        "NoError"
    ]


def test_2007_says_no_schema_in_its_version(exchange: StartExchange) -> None:
    """Where the attribute is missing, a client has only numbers to go by."""
    server = exchange(version=EXCHANGE_2007, tls=False)
    server.organisation.add_mailbox("amy", password="amys")
    said = Asker(server, login="amy@old.example", password="amys", version="Exchange2007_SP1").get_folder()
    (info,) = said.all("t:ServerVersionInfo")
    assert info.get("Version") is None
    assert EXCHANGE_2007.name == "Exchange2007_SP1"
    assert EXCHANGE_2016.numbers[:2] == (15, 1)


# -- who may what


def _nobody(asker: Asker) -> None:
    asker.impersonate = "nobody@old.example"


def _alias(asker: Asker) -> None:
    asker.impersonate, asker.kind = "a.b@old.example", "PrimarySmtpAddress"


def _empty(asker: Asker) -> None:
    asker.impersonate, asker.kind = " ", "PrincipalName"


def _no_right(asker: Asker) -> None:
    account = asker.server.organisation.account("svc")
    assert account is not None
    account.impersonates = {"bob@old.example"}


def _disabled(asker: Asker) -> None:
    asker.server.organisation.mailboxes["amy@old.example"].disabled = True


def _unknown_sid(asker: Asker) -> None:
    asker.impersonate, asker.kind = "S-1-5-21-1-2-3-4", "SID"


def _unknown_upn(asker: Asker) -> None:
    asker.impersonate, asker.kind = "nobody@old.example", "PrincipalName"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_nobody, "ErrorNonExistentMailbox"),
        (_alias, "ErrorNonPrimarySmtpAddress"),
        (_empty, "ErrorInvalidExchangeImpersonationHeaderData"),
        (_no_right, "ErrorImpersonateUserDenied"),
        (_disabled, "ErrorImpersonationFailed"),
        (_unknown_sid, "ErrorInvalidUserSid"),
        (_unknown_upn, "ErrorInvalidUserPrincipalName"),
    ],
)
def test_each_refusal_of_impersonation_has_its_code(
    asker: Asker, spoil: Callable[[Asker], None], code: str
) -> None:
    """A fault with status 500, before anything is looked at; an alias's tells the primary address."""
    assert asker.get_folder().codes == ["NoError"]
    spoil(asker)
    said = asker.get_folder()
    assert (said.status, said.fault) == (500, code)
    if code == "ErrorNonPrimarySmtpAddress":
        assert said.values() == {"Primary": "amy@old.example"}


@pytest.mark.parametrize("kind", ["SmtpAddress", "PrimarySmtpAddress", "PrincipalName", "SID"])
def test_a_mailbox_is_impersonated_by_each_of_its_names(asker: Asker, kind: str) -> None:
    """By address, by its account's name and by its number; an alias serves as an ``SmtpAddress``."""
    amy = asker.server.organisation.mailboxes["amy@old.example"]
    asker.kind, asker.impersonate = kind, amy.sid if kind == "SID" else amy.address
    assert asker.get_folder().texts("t:DisplayName") == ["信息存储顶部"]
    asker.kind, asker.impersonate = "SmtpAddress", "A.B@old.example"
    assert asker.get_folder().codes == ["NoError"]


def _of(address: str, name: str = "inbox") -> str:
    mailbox = f"<t:Mailbox><t:EmailAddress>{address}</t:EmailAddress></t:Mailbox>"
    return (
        f'<m:FolderIds><t:DistinguishedFolderId Id="{name}">{mailbox}</t:DistinguishedFolderId></m:FolderIds>'
    )


def test_a_delegate_names_the_mailbox_and_needs_the_right(asker: Asker) -> None:
    """An account without a mailbox must say whose folder it means; with FullAccess it gets in."""
    asker.impersonate = None
    assert asker.get_folder().codes == ["ErrorMissingEmailAddress"]
    assert asker.get_folder(_of("amy@old.example")).codes == ["ErrorAccessDenied"]
    assert asker.get_folder(_of("nobody@old.example")).codes == ["ErrorNonExistentMailbox"]
    assert asker.get_folder(_of("a.b@old.example")).codes == ["ErrorNonPrimarySmtpAddress"]
    asker.server.organisation.mailboxes["amy@old.example"].delegates.add("OLD\\svc")
    assert asker.get_folder(_of("amy@old.example")).texts("t:DisplayName") == ["收件箱"]


def test_identifiers_open_no_other_mailbox(asker: Asker) -> None:
    """Who has heard an id of Bob's gets nothing with it in Amy's name."""
    bob = asker.server.organisation.mailboxes["bob@old.example"]
    item = bob.deliver("inbox", message())
    assert asker.get_items(item.id).codes == ["ErrorAccessDenied"]
    folder = f'<m:FolderIds><t:FolderId Id="{item.folder.id}"/></m:FolderIds>'
    assert asker.get_folder(folder).codes == ["ErrorAccessDenied"]


def test_the_archive_and_the_public_folders_are_trees_of_their_own(asker: Asker) -> None:
    """Each has its root, where there is one; of public folders there is neither a deep search nor a sync state."""
    archive = '<m:FolderIds><t:DistinguishedFolderId Id="archivemsgfolderroot"/></m:FolderIds>'
    public = '<m:FolderIds><t:DistinguishedFolderId Id="publicfoldersroot"/></m:FolderIds>'
    assert asker.get_folder(archive).codes == ["ErrorArchiveMailboxNotEnabled"]
    assert asker.get_folder(public).codes == ["ErrorNoPublicFolderReplicaAvailable"]
    organisation = asker.server.organisation
    item = organisation.add_archive(organisation.mailboxes["amy@old.example"]).deliver(["Old"], message())
    notice = organisation.add_public_folders().deliver(["Notices"], message())
    assert asker.get_folder(archive).codes == ["NoError"]
    assert asker.get_items(item.id).codes == ["NoError"]
    shape = "<m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape>"
    parents = public.replace("FolderIds", "ParentFolderIds")
    assert asker.ask("FindFolder", shape + parents, attributes='Traversal="Deep"').codes == [
        "ErrorOperationNotAllowedWithPublicFolderRoot"
    ]
    shallow = asker.ask("FindFolder", shape + parents, attributes='Traversal="Shallow"')
    assert shallow.texts("t:DisplayName") == ["Notices"]
    own = f'<m:SyncFolderId><t:FolderId Id="{notice.folder.id}"/></m:SyncFolderId>'
    items = "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>"
    most = "<m:MaxChangesReturned>10</m:MaxChangesReturned>"
    assert asker.ask("SyncFolderItems", items + own + most).codes == ["ErrorInvalidOperation"]
    assert asker.get_folder(_of("amy@old.example", "publicfoldersroot")).codes == ["ErrorInvalidOperation"]


def test_a_public_folder_may_be_seen_and_not_read(asker: Asker) -> None:
    """Who has no right to what is in it hears that it is there, and no more."""
    public = asker.server.organisation.add_public_folders()
    item = public.deliver(["Board"], message())
    item.folder.readers = {"bob@old.example"}
    folder = f'<m:FolderIds><t:FolderId Id="{item.folder.id}"/></m:FolderIds>'
    assert asker.get_folder(folder).codes == ["NoError"]
    assert asker.get_items(item.id).codes == ["ErrorAccessDenied"]
    item.folder.readers.add("amy@old.example")
    assert asker.get_items(item.id).codes == ["NoError"]


# -- other ways in


def test_autodiscover_tells_where_ews_is(asker: Asker) -> None:
    """By both of its protocols, for addresses that exist."""
    pox = (
        '<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request>'
        "<EMailAddress>{}</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/"
        "outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"
    )
    said = asker.post(pox.format("amy@old.example"), path="/Autodiscover/Autodiscover.xml")
    assert {node.text for node in said.tree.iter() if str(node.tag).endswith("EwsUrl")} == {asker.server.url}
    said = asker.post(pox.format("nobody@old.example"), path="/Autodiscover/Autodiscover.xml")
    assert b"<ErrorCode>500</ErrorCode>" in said.octets
    assert asker.post("", path="/elsewhere").status == 404


def test_autodiscover_by_soap_tells_the_settings_asked_for(asker: Asker) -> None:
    """For each user by himself: one who is not known spoils nothing for the others."""
    space = "http://schemas.microsoft.com/exchange/2010/Autodiscover"
    users = "".join(f"<User><Mailbox>{name}@old.example</Mailbox></User>" for name in ("amy", "nobody"))
    said = asker.post(
        f'<s:Envelope xmlns:s="{SOAP}"><s:Body><GetUserSettingsRequestMessage xmlns="{space}"><Request>'
        f"<Users>{users}</Users><RequestedSettings><Setting>ExternalEwsUrl</Setting></RequestedSettings>"
        "</Request></GetUserSettingsRequestMessage></s:Body></s:Envelope>",
        path="/autodiscover/autodiscover.svc",
    )
    assert [node.text for node in said.tree.iter(f"{{{space}}}Value")] == [asker.server.url]
    assert [node.text for node in said.tree.iter(f"{{{space}}}ErrorCode")] == [
        "NoError",
        "NoError",
        "InvalidUser",
    ]


@pytest.mark.slow
def test_it_runs_by_itself_and_ends_with_whoever_started_it() -> None:
    """For demonstrations and benchmarks: it says where it is, serves, and ends when its standard input does."""
    command = [sys.executable, "-m", "tests.exchange", "--plain", "--while-stdin", "--mailbox", "amy"]
    with subprocess.Popen(
        [*command, "--messages", "7", "--folders", "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        asked = ExchangeServer(tls=False)
        asked.port = told["port"]
        found = [
            Asker(asked, impersonate="amy@old.example").find_items(name) for name in ("inbox", "sentitems")
        ]
        assert [len(said.all("t:Message")) for said in found] == [3, 2]
        process.stdin.close()
        assert process.wait(20) == 0


def test_what_is_not_served_is_refused_as_invalid(asker: Asker) -> None:
    """An operation that the schemas have and this server has not."""
    said = asker.ask("GetUserConfiguration", '<m:UserConfigurationName Name="x">'
                     '<t:DistinguishedFolderId Id="inbox"/></m:UserConfigurationName>'
                     "<m:UserConfigurationProperties>All</m:UserConfigurationProperties>")  # fmt: skip
    assert said.fault == "ErrorInvalidRequest"


def test_names_are_resolved_and_zones_told(asker: Asker) -> None:
    """Two operations that clients ask before anything else."""
    resolved = asker.ask("ResolveNames", "<m:UnresolvedEntry>bob</m:UnresolvedEntry>",
                         attributes='ReturnFullContactData="false"')  # fmt: skip
    assert resolved.texts("t:EmailAddress") == ["bob@old.example"]
    zones = asker.ask("GetServerTimeZones", "<m:Ids><t:Id>UTC</t:Id></m:Ids>")
    assert [node.get("Id") for node in zones.all("t:TimeZoneDefinition")] == ["UTC"]
    assert zones.tree.tag.startswith("{")
    assert {MESSAGES, TYPES} <= set(zones.all("m:GetServerTimeZonesResponseMessage")[0].nsmap.values())


def test_mime_comes_as_base64(exchange: StartExchange) -> None:
    """And decodes to what was delivered, where the server renders nothing anew."""
    server = exchange(tls=False, habits=Habits(renders_anew=False))
    item = server.organisation.add_mailbox("amy", password="amys").deliver("inbox", message("你好"))
    said = Asker(server, login="amy@old.example", password="amys").get_items(item.id)
    assert [base64.b64decode(text) for text in said.texts("t:MimeContent")] == [item.mime]

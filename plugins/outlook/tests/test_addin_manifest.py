"""The add-in's files: the manifest keeps the documented rules, and everything that it names is there."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from lxml import etree

from alimail_core import InputError
from alimail_core.cli import main
from alimail_outlook.addin.building import Site, site_files
from alimail_outlook.addin.icons import icon
from alimail_outlook.addin.manifest import ICON_SIZES, manifest

LEARN: Final = "https://learn.microsoft.com"
REFERENCE: Final = f"{LEARN}/javascript/api/manifest"
SCHEMA: Final = f"{LEARN}/openspecs/office_file_formats/ms-owemxml"

BASE: Final = "https://addin.example.com/outlook"
NAMES: Final = {
    "": "http://schemas.microsoft.com/office/appforoffice/1.1",
    "o": "http://schemas.microsoft.com/office/mailappversionoverrides",
    "bt": "http://schemas.microsoft.com/office/officeappbasictypes/1.0",
    "xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
PREFIX: Final = {uri: f"{prefix}:" if prefix else "" for prefix, uri in NAMES.items()}


def read(octets: bytes) -> etree._Element:
    """Parse a manifest."""
    return etree.fromstring(octets)


def name(element: etree._Element) -> str:
    """Return an element's name with our prefix."""
    qualified = etree.QName(element)
    return f"{PREFIX[qualified.namespace or '']}{qualified.localname}"


def all_named(tree: etree._Element, wanted: str) -> list[etree._Element]:
    """Return every element of a name, in the order of the document."""
    return [each for each in tree.iter(etree.Element) if name(each) == wanted]


def urls(tree: etree._Element) -> list[str]:
    """Return every address that Outlook would load."""
    loaded = ("IconUrl", "HighResolutionIconUrl", "SupportUrl", "SourceLocation", "bt:Image", "bt:Url")
    found = [each.get("DefaultValue") for each in tree.iter(etree.Element) if name(each) in loaded]
    return [each for each in found if each]


ORDER: Final = {
    "OfficeApp": "Id AlternateId Version ProviderName DefaultLocale DisplayName Description IconUrl "
    "HighResolutionIconUrl SupportUrl AppDomains Hosts Requirements FormSettings Permissions Rule "
    "DisableEntityHighlighting o:VersionOverrides",
    "o:VersionOverrides": "o:Description o:Requirements o:Hosts o:Resources",
    "o:Group": "o:Label o:Control",
    "o:Control": "o:Label o:Supertip o:Icon o:Action",
    "o:Supertip": "o:Title o:Description",
    "o:Resources": "bt:Images bt:Urls bt:ShortStrings bt:LongStrings",
    "DesktopSettings": "SourceLocation RequestedHeight",
}


def in_order(tree: etree._Element) -> bool:
    """What stands in an element stands in the order of the schema."""
    for each in tree.iter(etree.Element):
        if name(each) in ORDER:
            places = [ORDER[name(each)].split().index(name(child)) for child in each]
            if places != sorted(places):
                return False
    return True


def needed(tree: etree._Element) -> bool:
    """What a mail add-in must have."""
    wanted = (
        "Id Version ProviderName DefaultLocale DisplayName Description Hosts FormSettings Permissions Rule"
    )
    return set(wanted.split()) <= {name(child) for child in tree}


def resources(tree: etree._Element) -> bool:
    """Every resource that is named is there once, and its name is no longer than 32 characters."""
    named = {each.get("resid") for each in tree.iter(etree.Element)} - {None}
    there = [each.get("id") or "" for parent in all_named(tree, "o:Resources")[0] for each in parent]
    return named == set(there) and len(there) == len(named) and all(0 < len(each) <= 32 for each in there)


def lengths(tree: etree._Element) -> bool:
    """No text is longer than it may be, in any language."""
    most = {"bt:ShortStrings": 125, "bt:LongStrings": 250, "DisplayName": 125, "Description": 250}
    return all(
        len(each.get("DefaultValue") or each.get("Value") or "") <= limit
        for parent, limit in most.items()
        for top in all_named(tree, parent)
        for each in top.iter(etree.Element)
    )


RULES: Final[dict[str, tuple[str, Callable[[etree._Element], bool]]]] = {
    "it is a mail add-in": (
        f"{REFERENCE}/officeapp",
        lambda tree: name(tree) == "OfficeApp" and tree.get(f"{{{NAMES['xsi']}}}type") == "MailApp",
    ),
    "it has what it must": (f"{REFERENCE}/officeapp", needed),
    "its elements are in order": (f"{LEARN}/office/dev/add-ins/develop/manifest-element-ordering", in_order),
    "its identity is a UUID": (
        f"{REFERENCE}/id",
        lambda tree: str(UUID(tree.findtext("Id", "", NAMES))) == tree.findtext("Id", "", NAMES),
    ),
    "its version has up to four numbers": (
        f"{REFERENCE}/version",
        lambda tree: re.fullmatch(r"[1-9]\d*(\.\d+){0,3}", tree.findtext("Version", "", NAMES)) is not None,
    ),
    "all that it loads is https": (
        f"{LEARN}/office/dev/add-ins/develop/xml-manifest-overview",
        lambda tree: all(url.startswith("https://") for url in urls(tree)),
    ),
    "its texts are short enough": (f"{REFERENCE}/string", lengths),
    "its resources are there": (f"{REFERENCE}/resources", resources),
    "a button has icons of 16, 32 and 80 pixels": (
        f"{REFERENCE}/icon",
        lambda tree: all(
            [each.get("size") for each in parent] == ["16", "32", "80"]
            for parent in all_named(tree, "o:Icon")
        ),
    ),
    "it may add recipients, and no more": (
        f"{LEARN}/javascript/api/outlook/office.recipients",
        lambda tree: tree.findtext("Permissions", "", NAMES) == "ReadWriteItem",
    ),
    "it is offered where messages are read and written": (
        f"{REFERENCE}/extensionpoint",
        lambda tree: (
            [each.get(f"{{{NAMES['xsi']}}}type") for each in all_named(tree, "o:ExtensionPoint")]
            == ["MessageReadCommandSurface", "MessageComposeCommandSurface"]
        ),
    ),
    "its ids are unique": (
        f"{SCHEMA}/1ceb2dec-cef9-4e7c-9044-fd7f6a3b1502",
        lambda tree: (
            (ids := [each.get("id") for each in tree.iter(etree.Element) if each.get("id") != "TabDefault"])
            and len([each for each in ids if each]) == len({each for each in ids if each})
        ),
    ),
}
"""What Microsoft's pages ask for, each with its page."""


@pytest.mark.parametrize("rule", RULES)
def test_the_manifest_keeps_the_rules(rule: str) -> None:
    """It keeps each."""
    page, holds = RULES[rule]
    assert holds(read(manifest(BASE, "例子 & <Co>"))), page


BREAKS: Final = {
    "it has what it must": (b"<Permissions>ReadWriteItem</Permissions>", b""),
    "its elements are in order": (b"<Version>1.0.0.0</Version>", b""),
    "its identity is a UUID": (b"<Id>", b"<Id>0"),
    "its version has up to four numbers": (b"1.0.0.0", b"0.1"),
    "all that it loads is https": (b'<SupportUrl DefaultValue="https', b'<SupportUrl DefaultValue="http'),
    "its texts are short enough": (b'Value="\xe5', b'Value="' + b"x" * 250 + b"\xe5"),
    "its resources are there": (b' id="icon80"', b' id="icon8"'),
    "a button has icons of 16, 32 and 80 pixels": (b'size="80"', b'size="64"'),
    "its ids are unique": (b"alimailReadGroup", b"alimailComposeGroup"),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_a_rule_sees_what_breaks_it(rule: str) -> None:
    """A manifest with one fault does not pass."""
    old, new = BREAKS[rule]
    octets = manifest(BASE, "Example")
    broken = octets.replace(old, new)
    if rule == "its elements are in order":
        broken = broken.replace(b"</ProviderName>", b"</ProviderName><Version>1.0.0.0</Version>")
    assert broken != octets
    try:
        holds = RULES[rule][1](read(broken))
    except ValueError:
        holds = False
    assert not holds


def test_all_that_it_names_is_built() -> None:
    """Each address is that of a file which is written; each picture has the size that it is asked for."""
    made = site_files(Site.of(BASE, "", "Example"))
    for url in urls(read(made["manifest.xml"])):
        assert url.removeprefix(f"{BASE}/") in made


@pytest.mark.parametrize("size", ICON_SIZES)
def test_an_icon_is_a_picture_of_its_size(size: int) -> None:
    """Its head tells its size, its octets are as many, and its corner is clear."""
    png = icon(size)
    assert struct.unpack(">II", png[16:24]) == (size, size)
    (length,) = struct.unpack(">I", png[33:37])
    rows = zlib.decompress(png[41 : 41 + length])
    assert len(rows) == size * (4 * size + 1)
    assert rows[1:5] == bytes(4)


def test_the_identity_hangs_on_the_address_alone() -> None:
    """A manifest made anew replaces the one before; another host's stands beside it."""

    def identity(base: str, provider: str) -> str:
        return read(manifest(Site.of(base, "", provider).base, provider)).findtext("Id", "", NAMES)

    same = identity(BASE, "Example")
    assert identity("https://ADDIN.example.com/outlook/", "Another Ltd") == same
    assert identity("https://addin.example.com/other", "Example") != same


@pytest.mark.parametrize(
    "base",
    [
        "http://addin.example.com",
        "addin.example.com",
        "https://",
        "https://[::1",
        "https://a.example/x?y=1",
        "https://anna:secret@a.example",
        "https://a.example/'; script-src *",
        "https://a.example:99999",
        "https://a b.example",
    ],
)
def test_an_address_that_cannot_be_used_is_refused(base: str) -> None:
    """No address leads to a policy or manifest that says something else."""
    with pytest.raises(InputError) as caught:
        Site.of(base, "", "Example")
    assert "secret" not in str(caught.value)


def test_the_page_holds_no_more_than_it_was_given() -> None:
    """Marks are filled in, and a name stays a name."""
    made = site_files(Site.of(BASE, "https://book.example.com/api", "<b>Us & Co</b>"))
    for file in ("pane.html", "help.html"):
        assert not re.search(rb"@[A-Z_]+@", made[file])
    assert b"&lt;b&gt;Us &amp; Co&lt;/b&gt;" in made["help.html"]
    assert b'content="https://book.example.com/api"' in made["pane.html"]
    assert b"connect-src &#x27;self&#x27; https://book.example.com;" in made["pane.html"]


def test_build_writes_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verb writes them and names each; a wrong address, or none, ends it with 2, and nothing is written."""
    words = ["outlook", "addin", "build", "--provider", "Example", "-o", str(tmp_path / "site")]
    assert main(words) == 2
    assert "--base-url: none is given" in capsys.readouterr().err
    assert main([*words, "--base-url", "http://addin.example.com"]) == 2
    assert not (tmp_path / "site").exists()
    (tmp_path / "file").touch()
    assert main([*words[:-1], str(tmp_path / "file" / "site"), "--base-url", BASE]) == 2
    assert "cannot be written: Not a directory" in capsys.readouterr().err
    assert main([*words, "--base-url", BASE, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["api"] == f"{BASE}/api"
    assert sorted(told["written"]) == sorted(str(path) for path in (tmp_path / "site").iterdir())

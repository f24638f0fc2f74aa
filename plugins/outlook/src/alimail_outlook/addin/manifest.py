"""The manifest: what Outlook reads to know the add-in.

The XML form ("add-in only manifest"), because on-premises Exchange and Outlook for Mac take no other. Rules and order
of elements: https://learn.microsoft.com/office/dev/add-ins/develop/manifest-element-ordering and the schemas of
MS-OWEMXML; ``tests/test_addin_manifest.py`` holds each, with its page.
"""

from __future__ import annotations

from typing import Final
from uuid import NAMESPACE_URL, uuid5
from xml.etree.ElementTree import Element, SubElement, indent, tostring

VERSION: Final = "1.0.0.0"
"""Of what the manifest says: raise it with any change here, or Outlook keeps what it has."""

ICON_SIZES: Final = (16, 32, 64, 80, 128)
"""In pixels. 64 and 128 stand for the add-in in lists, the others on its button."""

NAME: Final = {"en-US": "Address book", "zh-CN": "企业通讯录"}
GROUP: Final = {"en-US": "Colleagues", "zh-CN": "同事"}
DESCRIPTION: Final = {
    "en-US": "Search your organisation's address book and add people to a message.",
    "zh-CN": "搜索企业通讯录，把同事添加到邮件的收件人中。",
}

_APP: Final = "http://schemas.microsoft.com/office/appforoffice/1.1"
_OVERRIDES: Final = "http://schemas.microsoft.com/office/mailappversionoverrides"
_BASIC: Final = "http://schemas.microsoft.com/office/officeappbasictypes/1.0"
_TYPE: Final = "xsi:type"


def manifest(base: str, provider: str) -> bytes:
    """Return the manifest of an add-in whose files are below ``base`` (https, without a slash at its end).

    The same ``base`` has the same identity every time, so that a manifest made anew replaces the one before.
    ``provider`` is the organisation's name, at most 125 characters.
    """
    app = Element(
        "OfficeApp",
        {
            "xmlns": _APP,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xmlns:bt": _BASIC,
            "xmlns:mailappor": _OVERRIDES,
            _TYPE: "MailApp",
        },
    )
    _text(app, "Id", str(uuid5(NAMESPACE_URL, base)))
    _text(app, "Version", VERSION)
    _text(app, "ProviderName", provider)
    _text(app, "DefaultLocale", "en-US")
    _translated(app, "DisplayName", NAME)
    _translated(app, "Description", DESCRIPTION)
    SubElement(app, "IconUrl", DefaultValue=_icon(base, 64))
    SubElement(app, "HighResolutionIconUrl", DefaultValue=_icon(base, 128))
    SubElement(app, "SupportUrl", DefaultValue=f"{base}/help.html")
    SubElement(SubElement(app, "Hosts"), "Host", Name="Mailbox")
    sets = SubElement(SubElement(app, "Requirements"), "Sets")
    SubElement(sets, "Set", Name="Mailbox", MinVersion="1.1")
    _forms(app, base)
    _text(app, "Permissions", "ReadWriteItem")  # the least that may add a recipient
    rule = SubElement(app, "Rule", {_TYPE: "RuleCollection", "Mode": "Or"})
    for form in ("Read", "Edit"):
        SubElement(rule, "Rule", {_TYPE: "ItemIs", "ItemType": "Message", "FormType": form})
    SubElement(app, "DisableEntityHighlighting").text = "true"
    _overrides(app, base)
    indent(app)
    octets: bytes = tostring(app, "utf-8", xml_declaration=True)
    return octets + b"\n"


def _forms(app: Element, base: str) -> None:
    """For Outlooks without add-in commands: the same page within the message."""
    forms = SubElement(app, "FormSettings")
    for kind in ("ItemRead", "ItemEdit"):
        desktop = SubElement(SubElement(forms, "Form", {_TYPE: kind}), "DesktopSettings")
        SubElement(desktop, "SourceLocation", DefaultValue=f"{base}/pane.html")
        if kind == "ItemRead":
            _text(desktop, "RequestedHeight", "350")


def _overrides(app: Element, base: str) -> None:
    """Add buttons on the ribbon, which open the pane beside a message that is read or written."""
    overrides = SubElement(app, "VersionOverrides", {"xmlns": _OVERRIDES, _TYPE: "VersionOverridesV1_0"})
    sets = SubElement(SubElement(overrides, "Requirements"), "bt:Sets", DefaultMinVersion="1.3")
    SubElement(sets, "bt:Set", Name="Mailbox")
    host = SubElement(SubElement(overrides, "Hosts"), "Host", {_TYPE: "MailHost"})
    desktop = SubElement(host, "DesktopFormFactor")
    for form in ("Read", "Compose"):
        surface = SubElement(desktop, "ExtensionPoint", {_TYPE: f"Message{form}CommandSurface"})
        group = SubElement(
            SubElement(surface, "OfficeTab", id="TabDefault"), "Group", id=f"alimail{form}Group"
        )
        SubElement(group, "Label", resid="group")
        _button(group, f"alimail{form}Button")
    _resources(overrides, base)


def _button(group: Element, name: str) -> None:
    button = SubElement(group, "Control", {_TYPE: "Button", "id": name})
    SubElement(button, "Label", resid="name")
    tip = SubElement(button, "Supertip")
    SubElement(tip, "Title", resid="name")
    SubElement(tip, "Description", resid="description")
    icon = SubElement(button, "Icon")
    for size in (16, 32, 80):
        SubElement(icon, "bt:Image", size=str(size), resid=f"icon{size}")
    action = SubElement(button, "Action", {_TYPE: "ShowTaskpane"})
    SubElement(action, "SourceLocation", resid="pane")


def _resources(overrides: Element, base: str) -> None:
    resources = SubElement(overrides, "Resources")
    images = SubElement(resources, "bt:Images")
    for size in (16, 32, 80):
        SubElement(images, "bt:Image", id=f"icon{size}", DefaultValue=_icon(base, size))
    urls = SubElement(resources, "bt:Urls")
    SubElement(urls, "bt:Url", id="pane", DefaultValue=f"{base}/pane.html")
    short = SubElement(resources, "bt:ShortStrings")
    _translated(short, "bt:String", GROUP, "bt:", id="group")
    _translated(short, "bt:String", NAME, "bt:", id="name")
    long = SubElement(resources, "bt:LongStrings")
    _translated(long, "bt:String", DESCRIPTION, "bt:", id="description")


def _icon(base: str, size: int) -> str:
    return f"{base}/icon-{size}.png"


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text


def _translated(parent: Element, name: str, words: dict[str, str], prefix: str = "", **more: str) -> None:
    """Add an element with a default and what replaces it in other languages."""
    element = SubElement(parent, name, more, DefaultValue=words["en-US"])
    for locale, text in words.items():
        if locale != "en-US":
            SubElement(element, f"{prefix}Override", Locale=locale, Value=text)

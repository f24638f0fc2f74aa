"""The policy that keeps the add-in on: as ADMX for the Group Policy editor, and as a file for ``reg import``.

"List of managed add-ins" with the value 1: Outlook always loads it and never disables it for being slow, and its user
cannot switch it off. Microsoft's own templates have that policy too, as a list that is written by hand; where they
are in use already, the ProgID belongs into that list, since two policies would write the same key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from alimail_outlook.rules import DO_NOT_DISABLE, POLICY_ADDINS

VERSIONS: Final = ("16.0", "15.0")
"""Of Office: the policy is there since 2013."""

NAME: Final = "alimail-outlook"

_TEXTS: Final = {
    "en-US": {
        "category": "Alibaba Mail",
        "supported": "Outlook 2013 and later (classic)",
        "policy": "Keep Alibaba Mail's plug-in for Outlook on",
        "explain": "Outlook always loads the plug-in, never disables it for being slow, and people cannot switch it "
        "off. If you use Microsoft's policy “List of managed add-ins”, add the plug-in there instead.",
    },
    "zh-CN": {
        "category": "阿里邮箱",
        "supported": "Outlook 2013 及更高版本（经典版）",
        "policy": "始终启用阿里邮箱 Outlook 插件",
        "explain": "Outlook 始终加载该插件，不会因启动缓慢而禁用它，用户也无法将其关闭。"
        "如果已在使用微软的“托管加载项列表”策略，请改为在该列表中添加此插件。",
    },
}


def _managed(version: str) -> str:
    """Return the user's own key of managed add-ins, without its hive."""
    return POLICY_ADDINS[0].replace("{version}", version).partition("\\")[2]


def admx(progid: str) -> str:
    """Return the policy's definition: one switch, which writes the ProgID for each version of Office."""
    items = "".join(
        f"        <item key={quoteattr(_managed(version))} valueName={quoteattr(progid)}>\n"
        "          <value><string>1</string></value>\n        </item>\n"
        for version in VERSIONS
    )
    off = items.replace("<string>1</string>", "<delete/>")
    return f"""<?xml version="1.0" encoding="utf-8"?>
<policyDefinitions xmlns="http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions"
    revision="1.0" schemaVersion="1.0">
  <policyNamespaces>
    <target prefix="alimail" namespace="alimail.Policies.Outlook"/>
  </policyNamespaces>
  <resources minRequiredRevision="1.0"/>
  <supportedOn>
    <definitions>
      <definition name="supported" displayName="$(string.supported)"/>
    </definitions>
  </supportedOn>
  <categories>
    <category name="category" displayName="$(string.category)"/>
  </categories>
  <policies>
    <policy name="keep_on" class="User" displayName="$(string.policy)" explainText="$(string.explain)"
        key={quoteattr(_managed(VERSIONS[0]))}>
      <parentCategory ref="category"/>
      <supportedOn ref="supported"/>
      <enabledList>
{items}      </enabledList>
      <disabledList>
{off}      </disabledList>
    </policy>
  </policies>
</policyDefinitions>
"""


def adml(language: str) -> str:
    """Return the policy's texts in one language."""
    strings = "".join(
        f"      <string id={quoteattr(name)}>{escape(text)}</string>\n"
        for name, text in _TEXTS[language].items()
    )
    return f"""<?xml version="1.0" encoding="utf-8"?>
<policyDefinitionResources xmlns="http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions"
    revision="1.0" schemaVersion="1.0">
  <displayName>alimail</displayName>
  <description>{escape(_TEXTS[language]["category"])}</description>
  <resources>
    <stringTable>
{strings}    </stringTable>
  </resources>
</policyDefinitionResources>
"""


def files(progid: str) -> dict[str, bytes]:
    """Return the policy's files by their paths, as they stand in a store of policy definitions."""
    return {
        f"{NAME}.admx": _crlf(admx(progid)),
        **{f"{language}/{NAME}.adml": _crlf(adml(language)) for language in _TEXTS},
    }


def registry_file(progid: str) -> bytes:
    """Return what ``reg import`` takes: the policy for the user who imports it, and Outlook's own list beside it."""
    return "".join(f"{line}\r\n" for line in _registry_lines(progid)).encode("utf-16")


def _registry_lines(progid: str) -> Iterator[str]:
    yield "Windows Registry Editor Version 5.00"
    for version in VERSIONS:
        yield ""
        yield rf"[HKEY_CURRENT_USER\{_managed(version)}]"
        yield f'{_quoted(progid)}="1"'
        yield ""
        own = DO_NOT_DISABLE.replace("{version}", version).partition("\\")[2]
        yield rf"[HKEY_CURRENT_USER\{own}]"
        yield f"{_quoted(progid)}=dword:00000001"


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def _crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()

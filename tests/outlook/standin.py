"""Installers that stand in for the plug-in's: built by NSIS, signed with throw-away certificates, run under Wine.

What they install is a file that is a Windows program by its headers, registered as an add-in of Outlook the way a COM
add-in is. What an installer does besides (hang, fail, ask for a restart) is told by ``ending``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PROGID: Final = "AlimailStandIn.Addin"
VERSION: Final = "0.9.1.20"
SIGNER: Final = "Stand-in, Ltd. (Alimail)"
CLSID: Final = "{8C7A3C0E-53A5-4E0B-9F6A-0D2B6E4A7D11}"

ENDINGS: Final = {
    "well": "",
    "hangs": "Sleep 600000",
    "fails": "SetErrorLevel 5\n  Quit",
    "restart": "SetErrorLevel 3010",
}


@frozen
class Certificate:
    """A certificate of its own for signing programs, with its key, as PEM files."""

    certificate: Path
    key: Path


def certificate(
    folder: Path, name: str = SIGNER, *, expired: bool = False, tls: bool = False, serial: int = 0
) -> Certificate:
    """Make one. ``tls``: it is for a server, and not for programs; ``serial``: its number, where that matters."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=-1 if expired else 30)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if tls else ExtendedKeyUsageOID.CODE_SIGNING
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(end - timedelta(days=365))
        .not_valid_after(end)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    pair = Certificate(folder / "certificate.pem", folder / "key.pem")
    pair.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pair


def sign(program: Path, by: Certificate, *more: str) -> Path:
    """Sign a program in its place; ``more`` is for osslsigncode."""
    signed = program.with_suffix(".signed")
    _run(
        "osslsigncode",
        "sign",
        *("-certs", by.certificate, "-key", by.key),
        *more,
        *("-in", program, "-out", signed),
    )
    return signed.replace(program)


def build(
    folder: Path,
    *,
    ending: str = "well",
    hive: str = "HKCU",
    view: int = 64,
    progid: str = PROGID,
    dll: Path | None = None,
) -> Path:
    """Build an installer that is not signed. ``hive`` and ``view``: where it registers; ``dll``: what it brings."""
    folder.mkdir(parents=True, exist_ok=True)
    script, program = folder / "standin.nsi", folder / f"standin-{ending}-{hive}{view}.exe"
    content = dll or _dll(folder)
    server = rf"Software\Classes\CLSID\{CLSID}\InprocServer32"
    addin = rf"Software\Microsoft\Office\Outlook\Addins\{progid}"
    uninstall = r"Software\Microsoft\Windows\CurrentVersion\Uninstall\AlimailStandIn"
    script.write_text(
        rf"""Target amd64-unicode
Name "Alimail stand-in"
OutFile "{program}"
RequestExecutionLevel user
InstallDir "C:\Program Files\Alimail stand-in"
VIProductVersion "{VERSION}"
VIAddVersionKey "ProductName" "Alimail stand-in"
VIAddVersionKey "FileVersion" "{VERSION}"
VIAddVersionKey "FileDescription" "Installs an add-in that is none"
VIAddVersionKey "LegalCopyright" "none"
Section
  SetRegView {view}
  SetOutPath "$INSTDIR"
  File "/oname=standin.dll" "{content}"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr {hive} "Software\Classes\{progid}\CLSID" "" "{CLSID}"
  WriteRegStr {hive} "{server}" "" "$INSTDIR\standin.dll"
  WriteRegStr {hive} "{addin}" "FriendlyName" "Alimail stand-in"
  WriteRegStr {hive} "{addin}" "Description" "Stands in for the plug-in"
  WriteRegDWORD {hive} "{addin}" "LoadBehavior" 3
  WriteRegStr {hive} "{uninstall}" "DisplayName" "Alimail stand-in"
  WriteRegStr {hive} "{uninstall}" "DisplayVersion" "{VERSION}"
  WriteRegStr {hive} "{uninstall}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  {ENDINGS[ending]}
SectionEnd
Section "Uninstall"
  SetRegView {view}
  DeleteRegKey {hive} "{addin}"
  DeleteRegKey {hive} "{uninstall}"
  DeleteRegKey {hive} "Software\Classes\{progid}"
  DeleteRegKey {hive} "Software\Classes\CLSID\{CLSID}"
  Delete "$INSTDIR\standin.dll"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
SectionEnd
""",
        "utf-8-sig",
    )
    _run("makensis", "-V1", script)
    return program


def package(folder: Path) -> Path:
    """Build a package of Windows Installer that is not signed, for the user himself."""
    folder.mkdir(parents=True, exist_ok=True)
    source, made = folder / "standin.wxs", folder / "standin.msi"
    values = {
        rf"Software\Classes\{PROGID}\CLSID": {"": CLSID},
        rf"Software\Classes\CLSID\{CLSID}\InprocServer32": {"": "[INSTALLDIR]standin.dll"},
        rf"Software\Microsoft\Office\Outlook\Addins\{PROGID}": {"LoadBehavior": "3"},
    }
    keys = "".join(
        f'<RegistryValue Root="HKCU" Key="{key}" Name="{name}" Type="{"integer" if text == "3" else "string"}" '
        f'Value="{text}"/>'.replace('Name="" ', "")
        for key, named in values.items()
        for name, text in named.items()
    )
    source.write_text(
        f"""<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
<Product Id="*" UpgradeCode="{CLSID[1:-1]}" Name="Alimail stand-in" Version="{VERSION.rpartition(".")[0]}"
    Manufacturer="Alimail" Language="1033">
  <Package InstallerVersion="200" Compressed="yes" InstallScope="perUser"/>
  <Media Id="1" Cabinet="standin.cab" EmbedCab="yes"/>
  <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder">
    <Directory Id="INSTALLDIR" Name="Alimail stand-in">
      <Component Id="Addin" Guid="{CLSID[1:-1].replace("8C7A", "8C7B")}">
        <File Id="standin.dll" Name="standin.dll" Source="{_dll(folder).name}" KeyPath="yes"/>{keys}
      </Component>
    </Directory>
  </Directory></Directory>
  <Feature Id="All" Level="1"><ComponentRef Id="Addin"/></Feature>
</Product></Wix>""",
        "utf-8",
    )
    _run("wixl", "-a", "x64", "-o", made, source)
    return made


def _dll(folder: Path) -> Path:
    """Build a file with a program's headers; nobody loads it."""
    script, dll = folder / "dll.nsi", folder / "standin.dll"
    script.write_text(f'Target amd64-unicode\nOutFile "{dll}"\nSection\nSectionEnd\n', "utf-8-sig")
    _run("makensis", "-V1", script)
    return dll


def _run(*command: str | Path) -> None:
    words: Sequence[str] = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

"""What is in a program file, told without running it: its kind, version, and whose signature it bears.

Its signature is verified on any system (``authenticode.py``). What is not verified here is that the certificate leads
to an authority that Windows trusts: so the signer's name is compared, and Windows is asked too where it is there
(``trust.py``).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import frozen

from alimail_core import InputError
from alimail_outlook.machine import authenticode, package

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_OCTETS: Final = 512 * 1024 * 1024
"""No larger file is read."""

Kind = Literal["nsis", "inno", "burn", "msi in exe", "msi", "exe"]

_MARKS: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"\xef\xbe\xad\xdeNullsoftInst", "nsis"),
    (b"Inno Setup Setup Data (", "inno"),
    (b"JR.Inno.Setup", "inno"),
    (b".wixburn", "burn"),
    (package.MAGIC, "msi in exe"),
)
_BITS: Final = {0x8664: 64, 0xAA64: 64, 0x014C: 32}
"""By what a program's header says that it is for: x64, ARM64, x86."""


@frozen
class Signature:
    """Whose signature a file bears, and what is wrong with it (empty: nothing was found)."""

    names: tuple[str, ...] = ()
    """The signer's common name and organisation, as the certificate has them."""
    thumbprint: str = ""
    """SHA-256 of the certificate, hexadecimal."""
    expires: datetime | None = None
    stamped: bool = False
    """It bears a time stamp: Windows may take it beyond its certificate's end."""
    problem: str = ""
    """Why it does not hold, or is none for programs."""
    outdated: str = ""
    """That its certificate has expired: a fault, unless Windows vouches for the time stamp."""

    @property
    def signer(self) -> str:
        """The name to show."""
        return self.names[0] if self.names else "nobody"

    def is_by(self, wanted: str) -> bool:
        """Tell whether the signer has that name, whole, or that thumbprint."""
        known = [name.casefold() for name in (*self.names, self.thumbprint) if name]
        return wanted.strip().casefold() in known


@frozen
class Program:
    """A file that can be run."""

    path: Path
    octets: int
    digest: str
    """SHA-256 of the whole file, hexadecimal."""
    kind: Kind
    signature: Signature
    bits: int | None = None
    version: str = ""
    product: str = ""
    built: datetime | None = None
    """When its linker says that it was made."""
    name: str = ""
    """What to call it."""


def read_program(path: Path, now: datetime, name: str = "") -> Program:
    """Look at a file. Raises ``InputError`` where it is none that Windows runs, or too large.

    ``name``: what to call it, where that is another name than it lies under.
    """
    name = name or str(path)
    try:
        octets = path.stat().st_size
        if octets > MAX_OCTETS:
            raise InputError(f"{name} has {octets:,} octets: no installer of a plug-in has so many")
        with path.open("rb") as file:
            digest = sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            start = _start(file)
    except OSError as error:
        remedy = "Give the file that `alimail outlook download` brought."
        raise InputError(f"{name} cannot be read: {error.strerror}", remedy=remedy) from None
    if start.startswith(package.MAGIC):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            signature = _signature(package.verified, content, now)
        return Program(path, octets, digest.hexdigest(), "msi", signature, name=name)
    if not start.startswith(b"MZ"):
        raise InputError(
            f"{name} is no Windows program: {_likely(start)}",
            remedy="Download it again: `alimail outlook download`. A page, script or archive is never run.",
        )
    return _read_pe(path, name, octets, digest.hexdigest(), now)


def _start(file: Any) -> bytes:
    file.seek(0)
    start: bytes = file.read(512)
    return start


def _likely(start: bytes) -> str:
    if not start:
        return "it is empty"
    if start.lstrip()[:1] == b"<":
        return "it looks like a web page"
    if start.startswith(b"PK"):
        return "it is an archive"
    text = all(octet >= 32 or octet in b"\t\r\n" for octet in start)
    return "it looks like a text or a script" if text else "it does not begin as one"


def _read_pe(path: Path, name: str, octets: int, digest: str, now: datetime) -> Program:
    import lief

    lief.logging.disable()
    binary = lief.PE.parse(path)
    if binary is None:
        raise InputError(
            f"{name} is damaged: its headers do not fit together",
            remedy="Download it again: `alimail outlook download`.",
        )
    version, product = _version(binary)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        kind: Kind = next((kind for mark, kind in _MARKS if content.find(mark) >= 0), "exe")
        signature = _signature(authenticode.verified, content, now)
        # Not by lief, which breaks on a machine that it does not know.
        (header,) = struct.unpack_from("<I", content, 0x3C)
        machine, _, stamp = struct.unpack_from("<HHI", content, header + 4)
    return Program(
        path,
        octets,
        digest,
        kind,
        signature,
        bits=_BITS.get(machine),
        version=version,
        product=product,
        name=name,
        built=datetime.fromtimestamp(stamp, UTC) if 0 < stamp < now.timestamp() else None,
    )


def _version(binary: Any) -> tuple[str, str]:
    """Return version and product's name from the resources; empty where there are none."""
    try:
        found = binary.resources_manager.version if binary.has_resources else []
    except RuntimeError:
        return "", ""
    if not found:
        return "", ""
    fixed = found[0].file_info
    high, low = fixed.file_version_ms, fixed.file_version_ls
    texts = _texts(found[0])
    return f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}", texts.get("ProductName", "")


def _texts(resource: Any) -> dict[str, str]:
    info = resource.string_file_info
    children = list(info.children) if info is not None else []
    return {entry.key: entry.value for table in children for entry in table.entries}


def _signature(
    verified: Callable[[mmap.mmap], authenticode.Signed], octets: mmap.mmap, now: datetime
) -> Signature:
    from cryptography.hazmat.primitives import hashes

    try:
        signed = verified(octets)
    except authenticode.Broken as why:
        return Signature(problem=str(why))
    certificate = signed.certificate
    expires = certificate.not_valid_after_utc
    return Signature(
        _names(certificate),
        certificate.fingerprint(hashes.SHA256()).hex(),
        expires,
        signed.stamped,
        signed.problem or _broken_chain([certificate, *signed.others]) or _unfit(certificate, now),
        _expired(expires, now, stamped=signed.stamped),
    )


def _expired(expires: datetime, now: datetime, *, stamped: bool) -> str:
    if now <= expires:
        return ""
    stamp = "; whether its time stamp makes that good, Windows alone can tell" if stamped else ""
    return f"its certificate expired on {expires:%Y-%m-%d}{stamp}"


def _broken_chain(certificates: list[Certificate]) -> str:
    """Say whether a certificate in the signature is not signed by the issuer that is in it too."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    for certificate in certificates:
        issuers = [each for each in certificates if each.subject == certificate.issuer]
        for issuer in issuers:
            try:
                certificate.verify_directly_issued_by(issuer)
                break
            except UnsupportedAlgorithm:  # an old root's own, which proves nothing about itself
                if issuer == certificate:
                    break
            except (InvalidSignature, ValueError, TypeError):
                continue
        else:
            if issuers:
                return "a certificate in its signature is not what its issuer signed"
    return ""


def _unfit(certificate: Certificate, now: datetime) -> str:
    from cryptography.x509 import ExtendedKeyUsage, ExtensionNotFound
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        usages = list(certificate.extensions.get_extension_for_class(ExtendedKeyUsage).value)
    except ExtensionNotFound:
        usages = [ExtendedKeyUsageOID.CODE_SIGNING]
    except ValueError:
        return "its certificate is damaged"
    begins = certificate.not_valid_before_utc
    if ExtendedKeyUsageOID.CODE_SIGNING not in usages:
        return "its certificate is not one for signing programs"
    return f"its certificate is valid from {begins:%Y-%m-%d} only" if now < begins else ""


def _names(certificate: Certificate) -> tuple[str, ...]:
    """Return the subject's common name and organisation."""
    from cryptography.x509.oid import NameOID

    found = [
        each.value
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        for each in certificate.subject.get_attributes_for_oid(kind)
    ]
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else name for name in found)

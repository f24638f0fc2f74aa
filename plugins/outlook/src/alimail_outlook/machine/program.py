"""What is in a program file, told without running it: its kind, version, and whose signature it bears.

The Authenticode digest and signature are verified by lief on any system. What is not verified here is that the
certificate leads to an authority that Windows trusts: so the signer's name is compared, and Windows is asked too
where it is there (``windows.py``).
"""

from __future__ import annotations

import mmap
import struct
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import evolve, frozen

from alimail_core import InputError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_OCTETS: Final = 512 * 1024 * 1024
"""No larger file is read."""

Kind = Literal["nsis", "inno", "burn", "msi in exe", "msi", "exe"]

_MSI: Final = bytes.fromhex("d0cf11e0a1b11ae1")
_MARKS: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"\xef\xbe\xad\xdeNullsoftInst", "nsis"),
    (b"Inno Setup Setup Data (", "inno"),
    (b"JR.Inno.Setup", "inno"),
    (b".wixburn", "burn"),
    (_MSI, "msi in exe"),
)
_BITS: Final = {"AMD64": 64, "ARM64": 64, "I386": 32}


@frozen
class Signature:
    """Whose signature a file bears, and what is wrong with it (empty: nothing was found)."""

    names: tuple[str, ...] = ()
    """The signer's common name and organisation, as the certificate has them."""
    thumbprint: str = ""
    """SHA-256 of the certificate, hexadecimal."""
    expires: datetime | None = None
    problem: str = ""

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


def read_program(path: Path, now: datetime) -> Program:
    """Look at a file. Raises ``InputError`` where it is none that Windows runs, or too large."""
    try:
        octets = path.stat().st_size
        if octets > MAX_OCTETS:
            raise InputError(f"{path} has {octets:,} octets: no installer of a plug-in has so many")
        with path.open("rb") as file:
            digest = sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            start = _start(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if start.startswith(_MSI):
        unread = Signature(problem="the signature of a Windows Installer package can be read by Windows only")
        return Program(path, octets, digest.hexdigest(), "msi", unread)
    if not start.startswith(b"MZ"):
        raise InputError(
            f"{path} is no Windows program: {_likely(start)}",
            remedy="Download it again: `alimail outlook download`. A page, script or archive is never run.",
        )
    return _read_pe(path, octets, digest.hexdigest(), now)


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


def _read_pe(path: Path, octets: int, digest: str, now: datetime) -> Program:
    import lief

    lief.logging.disable()
    binary = lief.PE.parse(path)
    if binary is None:
        raise InputError(
            f"{path} is damaged: its headers do not fit together",
            remedy="Download it again: `alimail outlook download`.",
        )
    version, product = _version(binary)
    stamp = binary.header.time_date_stamps
    return Program(
        path,
        octets,
        digest,
        _kind(path),
        _signature(binary, path, octets, now),
        bits=_BITS.get(binary.header.machine.name),
        version=version,
        product=product,
        built=datetime.fromtimestamp(stamp, UTC) if 0 < stamp < now.timestamp() else None,
    )


def _kind(path: Path) -> Kind:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        return next((kind for mark, kind in _MARKS if octets.find(mark) >= 0), "exe")


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


def _signature(binary: Any, path: Path, octets: int, now: datetime) -> Signature:
    """Verify the first signature. lief compares the digest of the file, and the signer's signature of that."""
    import lief
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509 import load_der_x509_certificate

    if not binary.has_signatures:
        table = binary.data_directory(lief.PE.DataDirectory.TYPES.CERTIFICATE_TABLE)
        damaged = table.rva and table.rva + table.size > octets
        return Signature(problem="it is cut off before its signature ends" if damaged else "it is not signed")
    signature = binary.signatures[0]
    signer = next(iter(signature.signers), None)
    try:
        certificates = [load_der_x509_certificate(bytes(each.raw)) for each in signature.certificates]
        number = int.from_bytes(bytes(signer.serial_number), "big") if signer else -1
        certificate = next(each for each in certificates if each.serial_number == number)
        names, unfit = _names(certificate), _unfit(certificate, now)
    except (ValueError, StopIteration):
        return Signature(problem="its signature does not hold the signer's certificate, or a damaged one")
    found = Signature(names, certificate.fingerprint(hashes.SHA256()).hex(), certificate.not_valid_after_utc)
    if signer is None or signer.cert is None:  # lief does not find one whose issuer's name is not ASCII
        unread = (
            "its signer's name has letters that can be compared on Windows only; give the file's --sha256"
        )
        return evolve(found, problem=unread)
    return evolve(found, problem=_invalid(binary, path, octets) or _broken_chain(certificates) or unfit)


def _invalid(binary: Any, path: Path, octets: int) -> str:
    import lief

    verdict = binary.verify_signature(lief.PE.Signature.VERIFICATION_CHECKS.SKIP_CERT_TIME)
    flags = lief.PE.Signature.VERIFICATION_FLAGS
    if verdict & flags.BAD_DIGEST:
        return "its content is not what was signed: it was changed after that, or damaged"
    if verdict != flags.OK:
        return f"its signature is not valid ({str(verdict).rpartition('.')[2]})"
    return _uncovered(binary, path, octets)


def _uncovered(binary: Any, path: Path, octets: int) -> str:
    """Say whether anything stands where no signature covers it: in the table's frame, its padding, or behind it."""
    import lief

    table = binary.data_directory(lief.PE.DataDirectory.TYPES.CERTIFICATE_TABLE)
    with path.open("rb") as file:
        file.seek(table.rva)
        entries = file.read(table.size)
    if table.rva + table.size != octets:
        return "octets were added behind its signature"
    expected = bytearray()
    for each in binary.signatures:
        raw = bytes(each.raw_der)
        raw = raw[: _der_length(raw)]
        padded = (8 + len(raw) + 7) // 8 * 8
        stated = {8 + len(raw), padded}  # signers differ in whether the padding counts
        length, revision, kind = struct.unpack_from("<IHH", entries, len(expected))
        if length not in stated or revision != 0x200 or kind != 2:
            return "the frame of its signature is damaged"
        expected += entries[len(expected) : len(expected) + 8] + raw + bytes(padded - 8 - len(raw))
    return "" if entries == expected else "octets were added to its signature's padding"


def _der_length(raw: bytes) -> int:
    """Return how many octets a DER value has with its header; lief gives a signature with its padding."""
    if raw[1] < 0x80:
        return 2 + raw[1]
    count = raw[1] & 0x7F
    return 2 + count + int.from_bytes(raw[2 : 2 + count], "big")


def _broken_chain(certificates: list[Certificate]) -> str:
    """Say whether a certificate in the signature is not signed by the issuer that is in it too."""
    from cryptography.exceptions import InvalidSignature

    for certificate in certificates:
        issuers = [each for each in certificates if each.subject == certificate.issuer]
        for issuer in issuers:
            try:
                certificate.verify_directly_issued_by(issuer)
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
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ExtendedKeyUsageOID.CODE_SIGNING not in usages:
        return "its certificate is not one for signing programs"
    if now < begins:
        return f"its certificate is valid from {begins:%Y-%m-%d} only"
    # A time stamp would carry a signature past its certificate's end, but only Windows can tell whether the stamp's
    # own signer is to be trusted; where it is not asked, the digest of the file is the way.
    return f"its certificate expired on {expires:%Y-%m-%d}" if now > expires else ""


def _names(certificate: Certificate) -> tuple[str, ...]:
    """Return the subject's common name and organisation."""
    from cryptography.x509.oid import NameOID

    found = [
        each.value
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        for each in certificate.subject.get_attributes_for_oid(kind)
    ]
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else name for name in found)

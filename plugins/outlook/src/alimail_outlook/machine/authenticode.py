"""Authenticode: is a program what was signed, and by whose certificate.

The form is Microsoft's "Windows Authenticode Portable Executable Signature Format" (2008): behind the program a table
of entries, each a PKCS #7 SignedData (RFC 2315) of the program's digest. The first is verified, as Windows takes it,
and no octet of the file may stand where it is covered neither by the digest nor by an entry.

lief verifies signatures too, and is not asked: it finds no signer whose issuer's name is not ASCII, takes MD5, and
does not tell which of two certificates with one serial number it has verified by.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from mmap import mmap
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_PIECE: Final = 1 << 20

_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")
_INDIRECT_DATA: Final = bytes.fromhex("2b060104018237020104")
_CONTENT_TYPE: Final = bytes.fromhex("2a864886f70d010903")
_MESSAGE_DIGEST: Final = bytes.fromhex("2a864886f70d010904")
_STAMPS: Final = {bytes.fromhex("2a864886f70d010906"), bytes.fromhex("2b060104018237030301")}
"""A time stamp of Authenticode's own (a counter-signature), and one of RFC 3161."""
_DIGESTS: Final = {
    bytes.fromhex("2b0e03021a"): "sha1",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
_MD5: Final = bytes.fromhex("2a864886f70d0205")

# Tags of DER.
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET, _FIRST, _SECOND = 0x02, 0x04, 0x06, 0x30, 0x31, 0xA0, 0xA1


class Broken(Exception):
    """There is no signature that says whose it is; the text says why."""


@frozen
class Signed:
    """Whose signature a program bears."""

    certificate: Certificate
    others: tuple[Certificate, ...]
    """Certificates that came with it."""
    stamped: bool
    """It bears a time stamp, which was not looked at."""
    problem: str
    """Why it does not hold; empty: this certificate's key has signed what the program is now."""


def verified(program: mmap) -> Signed:
    """Verify a program's signature. Raises ``Broken`` where there is none, or it is not even known whose it is."""
    frame = _Frame.of(program)
    if frame is None or not frame.table:
        raise Broken("it is not signed")
    if frame.end > len(program):
        raise Broken("it is cut off before its signature ends")
    if frame.end < len(program):
        raise Broken("octets were added behind its signature")
    return held(_entries(program[frame.table :])[0], partial(frame.digest, program))


def held(raw: bytes, digest_of: Callable[[str], bytes]) -> Signed:
    """Hold a SignedData against the digest of what it is to have signed, which is asked for by ``hashlib``'s name.

    Raises ``Broken`` where it is not even known whose it is.
    """
    try:
        return _Signature.read(raw).held_to(digest_of)
    except (ValueError, IndexError, StopIteration):
        raise Broken("its signature does not hold the signer's certificate, or a damaged one") from None


@frozen
class _Frame:
    """Where in a program the fields are that its digest leaves out: in its headers, and the table at its end."""

    checksum: int
    entry: int
    """Where the headers say where the table is."""
    table: int
    """0: there is none."""
    end: int

    @classmethod
    def of(cls, program: mmap) -> _Frame | None:
        """Read it; None where the headers have no room for a table."""
        try:
            (header,) = struct.unpack_from("<I", program, 0x3C)
            optional = header + 24
            (magic,) = struct.unpack_from("<H", program, optional)
            directories = optional + (112 if magic == 0x20B else 96)
            (count,) = struct.unpack_from("<I", program, directories - 4)
            if count < 5:
                return None
            table, size = struct.unpack_from("<II", program, directories + 32)
        except struct.error:
            return None
        return cls(optional + 64, directories + 32, table if size else 0, table + size)

    def digest(self, program: mmap, algorithm: str) -> bytes:
        """Return the digest of all but the checksum, the table's place and the table."""
        digest = hashlib.new(algorithm)
        for begin, end in (
            (0, self.checksum),
            (self.checksum + 4, self.entry),
            (self.entry + 8, self.table),
        ):
            for at in range(begin, end, _PIECE):
                digest.update(program[at : min(at + _PIECE, end)])
        return digest.digest()


def _entries(table: bytes) -> list[bytes]:
    """Return the signatures of a table. Raises ``Broken`` where it has anything else in it."""
    found, at = [], 0
    while at < len(table):
        try:
            length, revision, kind = struct.unpack_from("<IHH", table, at)
            raw = next(_nodes(table[at + 8 :])).whole
        except (ValueError, IndexError, StopIteration, struct.error):
            raise Broken("the frame of its signature is damaged") from None
        padded = (8 + len(raw) + 7) // 8 * 8
        # Signers differ in whether the padding counts.
        if length not in (8 + len(raw), padded) or revision != 0x200 or kind != 2:
            raise Broken("the frame of its signature is damaged")
        if any(table[at + 8 + len(raw) : at + padded]):
            raise Broken("octets were added to its signature's padding")
        found.append(raw)
        at += padded
    return found


@frozen
class _Signature:
    """A SignedData of one signer, taken apart."""

    kind: bytes
    content: _Node
    """SpcIndirectDataContent: with the digest of the program."""
    certificate: Certificate
    others: tuple[Certificate, ...]
    digested_by: bytes
    attributes: _Node
    signature: bytes
    stamped: bool

    @classmethod
    def read(cls, raw: bytes) -> _Signature:
        """Raises ``ValueError`` and its like where it has another form."""
        kind, holder = next(_nodes(raw)).of(_SEQUENCE)
        if kind.content != _SIGNED_DATA:
            raise ValueError
        (data,) = holder.of(_FIRST)
        _, _, content, *rest = data.of(_SEQUENCE)
        certificates = [each for node in rest if node.tag == _FIRST for each in node.of(_FIRST)]
        (signer,) = rest[-1].of(_SET)  # one alone, as Windows wants it
        _, name, algorithm, attributes, _, signature, *unsigned = signer.of(_SEQUENCE)
        mine = next(each for each in certificates if _name(each) == name.of(_SEQUENCE))
        stamps = {each.of(_SEQUENCE)[0].content for node in unsigned for each in node.of(_SECOND)}
        what, inner = content.of(_SEQUENCE)
        return cls(
            what.content,
            inner.of(_FIRST)[0],
            _certificate(mine),
            tuple(_readable(each for each in certificates if each is not mine)),
            algorithm.of(_SEQUENCE)[0].content,
            attributes,
            signature.content,
            bool(stamps & _STAMPS),
        )

    def held_to(self, digest_of: Callable[[str], bytes]) -> Signed:
        """Hold it against what it is to have signed."""
        return Signed(self.certificate, self.others, self.stamped, self._problem(digest_of))

    def _problem(self, digest_of: Callable[[str], bytes]) -> str:
        _, digested = self.content.of(_SEQUENCE)
        by, digest = digested.of(_SEQUENCE)
        if self.digested_by == _MD5:
            return "its signature is by MD5, which anybody can forge"
        algorithm = _DIGESTS.get(self.digested_by)
        if algorithm is None or by.of(_SEQUENCE)[0].content != self.digested_by:
            return "its signature is by a digest that is not known here"
        # Twice the same attribute would be the signer's own doing: they are signed.
        attributes = {
            kind.content: [value.content for value in values.of(_SET)]
            for kind, values in _pairs(self.attributes.of(_FIRST))
        }
        told = hashlib.new(algorithm, self.content.content).digest()
        if self.kind != _INDIRECT_DATA:
            return "what was signed is no program"
        if attributes.get(_CONTENT_TYPE) != [self.kind] or attributes.get(_MESSAGE_DIGEST) != [told]:
            return "its signature is not valid"
        if not self._is_signed(algorithm):
            return "its signature is not valid"
        if digest_of(algorithm) != digest.content:
            return "its content is not what was signed: it was changed after that, or damaged"
        return ""

    def _is_signed(self, algorithm: str) -> bool:
        """Tell whether the certificate's key has signed the attributes."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

        # They are signed as the SET that they are, and not as the [0] that they stand as.
        data = bytes([_SET]) + self.attributes.whole[1:]
        digest = getattr(hashes, algorithm.upper())()
        try:
            key = self.certificate.public_key()
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(self.signature, data, padding.PKCS1v15(), digest)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(self.signature, data, ec.ECDSA(digest))
            else:
                return False
        except (InvalidSignature, UnsupportedAlgorithm):
            return False
        return True


@frozen
class _Node:
    """A value of DER (X.690): its tag, all of its octets, and those of its content."""

    tag: int
    whole: bytes
    content: bytes

    def of(self, tag: int) -> list[_Node]:
        """Return what it consists of. Raises ``ValueError`` where its tag is another, or it is damaged."""
        if self.tag != tag:
            raise ValueError
        return list(_nodes(self.content))


def _nodes(octets: bytes) -> Iterator[_Node]:
    at = 0
    while at < len(octets):
        tag, length, begin = octets[at], octets[at + 1], at + 2
        if length > 0x84 or length == 0x80 or tag & 0x1F == 0x1F:
            raise ValueError  # of unknown length, or of a kind that no signature has
        if length > 0x80:
            begin += length - 0x80
            length = int.from_bytes(octets[at + 2 : begin], "big")
        end = begin + length
        if end > len(octets):
            raise ValueError
        yield _Node(tag, octets[at:end], octets[begin:end])
        at = end


def _pairs(nodes: Iterable[_Node]) -> Iterator[tuple[_Node, _Node]]:
    for node in nodes:
        first, second = node.of(_SEQUENCE)
        yield first, second


def _name(certificate: _Node) -> list[_Node]:
    """Return issuer and serial number, by which a signature names a certificate, as they are written."""
    first, *rest = certificate.of(_SEQUENCE)[0].of(_SEQUENCE)
    serial, _, issuer = rest[:3] if first.tag == _FIRST else (first, *rest[:2])  # without a version: 1
    return [issuer, serial]


def _certificate(node: _Node) -> Certificate:
    from cryptography.x509 import InvalidVersion, load_der_x509_certificate

    try:
        certificate = load_der_x509_certificate(node.whole)
    except InvalidVersion as error:
        raise ValueError from error
    if (
        not certificate.subject.rdns + certificate.issuer.rdns
    ):  # read now, so that one out of form is known as such
        raise ValueError
    return certificate


def _readable(certificates: Iterable[_Node]) -> Iterator[Certificate]:
    for each in certificates:
        try:
            yield _certificate(each)
        except ValueError:
            continue  # an old one, out of form; it proves nothing then

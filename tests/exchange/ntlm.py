"""The server's side of NTLM (MS-NLMP), version 2 only: a challenge, and whether its answer knows the password."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from attrs import define, field

_SIGNATURE: Final = b"NTLMSSP\0"
_NEGOTIATE, _CHALLENGE, _AUTHENTICATE = 1, 2, 3

_UNICODE: Final = 0x00000001
_REQUEST_TARGET: Final = 0x00000004
_NTLM: Final = 0x00000200
_ALWAYS_SIGN: Final = 0x00008000
_TARGET_IS_DOMAIN: Final = 0x00010000
_EXTENDED_SECURITY: Final = 0x00080000
_TARGET_INFO: Final = 0x00800000
_VERSION: Final = 0x02000000
_128, _56 = 0x20000000, 0x80000000
_FLAGS: Final = (
    _UNICODE | _REQUEST_TARGET | _NTLM | _ALWAYS_SIGN | _TARGET_IS_DOMAIN | _EXTENDED_SECURITY | _TARGET_INFO
    | _VERSION | _128 | _56
)  # fmt: skip

_COMPUTER, _DOMAIN, _DNS_COMPUTER, _DNS_DOMAIN, _TIME, _BINDINGS = 1, 2, 3, 4, 7, 10
"""AvId of the pairs that are sent, and of one that is received (MS-NLMP 2.2.2.1)."""


class NotProven(Exception):
    """The token is broken, or whoever sent it does not know the password."""


@define
class Handshake:
    """One client's way in, on one connection: ``challenge`` once, then ``prove`` once."""

    netbios: str
    domain: str
    password_of: Callable[[str, str], str | None]
    """Of a user name and a domain, as the client sent them."""
    bindings: bytes | None = None
    """What must have been proven with the password: that it was given to this very TLS server (2.2.2.1)."""
    _challenge: bytes = field(factory=lambda: secrets.token_bytes(8), init=False, repr=False)

    def challenge(self, token: bytes) -> bytes:
        """Answer a NEGOTIATE_MESSAGE with a CHALLENGE_MESSAGE (2.2.1.2)."""
        if _kind(token) != _NEGOTIATE:
            raise NotProven("no NEGOTIATE_MESSAGE")
        target = self.netbios.encode("utf-16-le")
        info = _pairs(self.netbios, self.domain)
        begin = 56
        head = _SIGNATURE + struct.pack("<I", _CHALLENGE) + _buffer(len(target), begin)
        head += (
            struct.pack("<I", _FLAGS) + self._challenge + b"\0" * 8 + _buffer(len(info), begin + len(target))
        )
        head += bytes((10, 0)) + struct.pack("<H", 14393) + b"\0\0\0\x0f"
        return head + target + info

    def prove(self, token: bytes) -> str:
        """Check an AUTHENTICATE_MESSAGE (3.3.2); return the login, ``DOMAIN\\name`` or ``name@domain``."""
        if _kind(token) != _AUTHENTICATE:
            raise NotProven("no AUTHENTICATE_MESSAGE")
        try:
            answer, domain, user = (_field(token, at) for at in (20, 28, 36))
            domain_name, user_name = domain.decode("utf-16-le"), user.decode("utf-16-le")
        except (struct.error, UnicodeDecodeError) as error:
            raise NotProven("a broken AUTHENTICATE_MESSAGE") from error
        password = self.password_of(user_name, domain_name)
        if not user_name or password is None or len(answer) < 44:
            raise NotProven("nobody of that name, or no NTLMv2")
        proof, blob = answer[:16], answer[16:]
        key = _hmac_md5(
            md4(password.encode("utf-16-le")), (user_name.upper() + domain_name).encode("utf-16-le")
        )
        if not hmac.compare_digest(proof, _hmac_md5(key, self._challenge + blob)):
            raise NotProven("a wrong password")
        if self.bindings is not None and _pairs_in(blob).get(_BINDINGS) != self.bindings:
            raise NotProven("a password for another TLS connection, or for none")
        return f"{domain_name}\\{user_name}" if domain_name else user_name


def end_point(certificate: bytes) -> bytes:
    """Return what names a TLS server (RFC 5929 §4) by its certificate, DER, which is signed by way of SHA-256."""
    return b"tls-server-end-point:" + hashlib.sha256(certificate).digest()


def channel_bindings(told: bytes) -> bytes:
    """Return what a client must bind its proof to: the digest of a structure that has the server's ``end_point``."""
    return hashlib.md5(b"\0" * 16 + struct.pack("<I", len(told)) + told).digest()


def _pairs_in(blob: bytes) -> dict[int, bytes]:
    """Read the pairs of an NTLMv2_CLIENT_CHALLENGE (2.2.2.7)."""
    pairs, at = {}, 28
    while at + 4 <= len(blob):
        kind, length = struct.unpack_from("<HH", blob, at)
        if kind == 0:
            break
        pairs[kind] = blob[at + 4 : at + 4 + length]
        at += 4 + length
    return pairs


def _kind(token: bytes) -> int | None:
    if not token.startswith(_SIGNATURE) or len(token) < 12:
        return None
    return int(struct.unpack_from("<I", token, 8)[0])


def _field(token: bytes, at: int) -> bytes:
    length, _, offset = struct.unpack_from("<HHI", token, at)
    if offset + length > len(token):
        raise struct.error("a field that ends beyond the message")
    return token[offset : offset + length]


def _buffer(length: int, offset: int) -> bytes:
    return struct.pack("<HHI", length, length, offset)


def _pairs(netbios: str, domain: str) -> bytes:
    since_1601 = datetime.now(UTC) - datetime(1601, 1, 1, tzinfo=UTC)
    values = {
        _DOMAIN: netbios.encode("utf-16-le"),
        _COMPUTER: b"E\0X\0C\0H\0",
        _DNS_DOMAIN: domain.encode("utf-16-le"),
        _DNS_COMPUTER: f"exch.{domain}".encode("utf-16-le"),
        _TIME: struct.pack("<Q", int(since_1601.total_seconds()) * 10**7),
    }
    return (
        b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in values.items()) + b"\0" * 4
    )


def _hmac_md5(key: bytes, octets: bytes) -> bytes:
    return hmac.digest(key, octets, "md5")


def md4(octets: bytes) -> bytes:
    """Return the MD4 digest (RFC 1320), which today's OpenSSL no longer lends to Python."""
    padded = octets + b"\x80" + b"\0" * (-(len(octets) + 9) % 64) + struct.pack("<Q", 8 * len(octets))
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for begin in range(0, len(padded), 64):
        state = _md4_block(state, struct.unpack_from("<16I", padded, begin))
    return struct.pack("<4I", *state)


_Mix = Callable[[int, int, int], int]
_ROUNDS: Final[tuple[tuple[int, Sequence[int], tuple[int, ...], _Mix], ...]] = (
    (0, range(16), (3, 7, 11, 19), lambda x, y, z: (x & y) | (~x & z)),
    (0x5A827999, [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15], (3, 5, 9, 13),
     lambda x, y, z: (x & y) | (x & z) | (y & z)),
    (0x6ED9EBA1, [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15], (3, 9, 11, 15), lambda x, y, z: x ^ y ^ z),
)  # fmt: skip


def _md4_block(state: list[int], words: tuple[int, ...]) -> list[int]:
    a, b, c, d = state
    for constant, order, shifts, mix in _ROUNDS:
        for step, index in enumerate(order):
            total = (a + mix(b, c, d) + words[index] + constant) & 0xFFFFFFFF
            shift = shifts[step % 4]
            a, b, c, d = d, (total << shift | total >> (32 - shift)) & 0xFFFFFFFF, b, c
    return [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d), strict=True)]

"""An installer is looked at without being run: whose it is, and each way in which it can be another than it was."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given, settings
from hypothesis import strategies as st

from alimail_core import InputError
from alimail_outlook.machine import authenticode, trust
from alimail_outlook.machine.program import Program, read_program
from alimail_outlook.machine.trust import Untrusted, hold
from tests.outlook import standin

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def unsigned(home: Path) -> Path:
    """An installer as NSIS makes it."""
    return standin.build(home / "unsigned")


@pytest.fixture(scope="module")
def signer(home: Path) -> standin.Certificate:
    """Who signs."""
    return standin.certificate(home / "right")


@pytest.fixture(scope="module")
def signed(home: Path, unsigned: Path, signer: standin.Certificate) -> bytes:
    """The octets of a signed one."""
    program = home / "signed.exe"
    program.write_bytes(unsigned.read_bytes())
    return standin.sign(program, signer).read_bytes()


def seen(folder: Path, octets: bytes) -> Program:
    """Look at some octets."""
    path = folder / "seen.exe"
    path.write_bytes(octets)
    return read_program(path, NOW)


def test_what_is_in_a_program_is_told(tmp_path: Path, signed: bytes) -> None:
    """Kind, version, product, bits, date and signer stand in the file."""
    program = seen(tmp_path, signed)
    assert (program.kind, program.version, program.bits) == ("nsis", standin.VERSION, 64)
    assert program.product == "Alimail stand-in"
    assert program.built is not None
    assert program.built < NOW
    assert program.signature.names == (standin.SIGNER,)
    assert program.signature.problem == ""
    assert hold(program, standin.SIGNER.upper(), "")
    assert hold(program, program.signature.thumbprint, program.digest.upper())


def test_a_name_must_be_the_whole_name(tmp_path: Path, signed: bytes) -> None:
    """A part of the signer's name is another's name."""
    program = seen(tmp_path, signed)
    with pytest.raises(Untrusted, match="signed by another: Stand-in, Ltd"):
        hold(program, "Stand-in", "")
    with pytest.raises(Untrusted, match="another file"):
        hold(program, standin.SIGNER, "0" * 64)


@settings(max_examples=60)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_bit_of_the_program_can_be_turned(signed: bytes, where: float, bit: int) -> None:
    """Whatever bit is another: it is refused, or is no program any more, or meant nothing in the signature."""
    at = int(where * len(signed))
    changed = bytearray(signed)
    changed[at] ^= 1 << bit
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = seen(Path(folder), bytes(changed))
        except InputError:
            return
        if at in _checksum(signed):
            return  # the one field that Authenticode leaves out; Windows does not look at it for programs
        try:
            hold(program, standin.SIGNER, "")
        except Untrusted:
            return
        assert at > len(signed) - SIGNATURE


SIGNATURE = 2_000
"""Octets at the end of a signed program that are its signature; some of them, such as its version, mean nothing."""


@settings(max_examples=200)
@given(where=st.floats(0, 1, exclude_max=True), octet=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_signature_breaks_nothing(
    signer: standin.Certificate, signed: bytes, where: float, octet: int, cut: bool
) -> None:
    """Whatever stands in the table: there is an answer, and what holds was signed by the key of the right one."""
    at = len(signed) - SIGNATURE + int(where * SIGNATURE)
    changed = signed[:at] + bytes([octet]) + (b"" if cut else signed[at + 1 :])
    with tempfile.TemporaryDirectory() as folder:
        seen(Path(folder), changed)
        with (
            (Path(folder) / "seen.exe").open("rb") as file,
            mmap(file.fileno(), 0, access=ACCESS_READ) as octets,
        ):
            try:
                found = authenticode.verified(octets)
            except authenticode.Broken:
                return
    right = load_pem_x509_certificate(signer.certificate.read_bytes())
    assert found.problem or found.certificate.public_key() == right.public_key()


def _checksum(octets: bytes) -> range:
    start = int.from_bytes(octets[0x3C:0x40], "little") + 24 + 64
    return range(start, start + 4)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda octets: octets[:50_000], "cut off before its signature ends"),
        (lambda octets: octets[:-100], "cut off before its signature ends"),
        (lambda octets: octets + b"appended", "changed after that|added behind"),
        (lambda octets: octets[:-1] + b"\1", "padding|signature is not valid|not what was signed"),
    ],
    ids=["cut in two", "cut at the end", "appended", "in the padding"],
)
def test_what_is_cut_or_added_is_named(tmp_path: Path, signed: bytes, spoilt, words: str) -> None:  # type: ignore[no-untyped-def]
    """Truncated files, and octets behind the signature or in its padding, are refused by name."""
    with pytest.raises(Untrusted, match=words):
        hold(seen(tmp_path, spoilt(signed)), standin.SIGNER, "")


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"#!/bin/sh\necho no\n", "a text or a script"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"PK\3\4" + bytes(200), "an archive"),
        (b"", "empty"),
        (b"MZ" + bytes(300), "damaged"),
        (b"MZ", "damaged"),
    ],
)
def test_what_is_no_program_is_said_to_be_none(tmp_path: Path, octets: bytes, words: str) -> None:
    """A script, page or archive is named as what it is."""
    with pytest.raises(InputError, match=words):
        seen(tmp_path, octets)


@pytest.mark.parametrize(
    ("wish", "words"),
    [({"expired": True}, "expired on"), ({"tls": True}, "not one for signing programs")],
)
def test_certificates_that_do_not_fit_are_refused(
    tmp_path: Path, unsigned: Path, wish: dict[str, Any], words: str
) -> None:
    """An expired certificate, and one for a server, sign nothing."""
    program = tmp_path / "program.exe"
    program.write_bytes(unsigned.read_bytes())
    standin.sign(program, standin.certificate(tmp_path, **wish))
    with pytest.raises(Untrusted, match=words):
        hold(read_program(program, NOW), standin.SIGNER, "")


def test_what_is_unsigned_needs_its_digest(unsigned: Path) -> None:
    """An unsigned installer is taken by its SHA-256 alone."""
    program = read_program(unsigned, NOW)
    with pytest.raises(Untrusted, match="not signed"):
        hold(program, standin.SIGNER, "")
    assert hold(program, "", program.digest)


def copy(folder: Path, program: Path) -> Path:
    """Copy a program, to sign it."""
    return Path(shutil.copyfile(program, folder / "program.exe"))


def test_a_chinese_name_is_compared(tmp_path: Path, unsigned: Path) -> None:
    """Signer and issuer may have names in any letters."""
    standin.sign(copy(tmp_path, unsigned), standin.certificate(tmp_path, "阿里云计算有限公司"))
    program = read_program(tmp_path / "program.exe", NOW)
    assert hold(program, "阿里云计算有限公司", "")
    with pytest.raises(Untrusted, match="阿里云计算有限公司, not by 阿里云"):
        hold(program, "阿里云", "")


def test_a_certificate_with_the_same_number_vouches_for_nothing(tmp_path: Path, unsigned: Path) -> None:
    """A signature that has the right one's certificate in it, and is by another with its number, is the other's."""
    right = standin.certificate(tmp_path / "right", "R", serial=4711)
    other = standin.certificate(tmp_path / "other", "Another of a longer name", serial=4711)
    other.certificate.write_bytes(other.certificate.read_bytes() + right.certificate.read_bytes())
    standin.sign(copy(tmp_path, unsigned), other)
    found = read_program(tmp_path / "program.exe", NOW)
    assert found.signature.problem == ""
    thumbprint = load_pem_x509_certificate(right.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()
    for wanted in ("R", thumbprint):
        with pytest.raises(Untrusted, match="signed by another: Another of a longer name"):
            hold(found, wanted, "")


@pytest.mark.parametrize("how", ["sha1", "sha256", "sha384", "sha512", "twice", "with pages"])
def test_signatures_of_each_kind_are_verified(tmp_path: Path, unsigned: Path, how: str) -> None:
    """By each digest that Windows knows, with a second signature in it, with digests of pages."""
    by = standin.certificate(tmp_path)
    program = copy(tmp_path, unsigned)
    if how == "twice":
        standin.sign(program, by, "-h", "sha1")
    ways = {"twice": ("-h", "sha256", "-nest"), "with pages": ("-ph",)}
    standin.sign(program, by, *ways.get(how, ("-h", how)))
    found = read_program(program, NOW)
    assert found.signature.problem == ""
    octets = program.read_bytes()
    changed = seen(tmp_path, octets[:50_000] + bytes([octets[50_000] ^ 1]) + octets[50_001:])
    assert "changed after that" in changed.signature.problem


@pytest.fixture(scope="module")
def package(home: Path, signer: standin.Certificate) -> bytes:
    """The octets of a signed package of Windows Installer."""
    return standin.sign(standin.package(home / "package"), signer).read_bytes()


def test_a_package_is_verified_as_a_program_is(tmp_path: Path, home: Path, package: bytes) -> None:
    """Its signature is a stream; what is in any other stream is what was signed."""
    program = seen(tmp_path, package)
    assert (program.kind, program.signature.names, program.signature.problem) == (
        "msi",
        (standin.SIGNER,),
        "",
    )
    assert hold(program, standin.SIGNER, "")
    cabinet = package.index(b"MSCF")
    changed = seen(tmp_path, package[:cabinet] + b"MSCG" + package[cabinet + 4 :])
    with pytest.raises(Untrusted, match="changed after that"):
        hold(changed, standin.SIGNER, "")
    with pytest.raises(Untrusted, match="not signed"):
        hold(read_program(standin.package(home / "bare"), NOW), standin.SIGNER, "")


@settings(max_examples=100)
@given(where=st.floats(0, 1, exclude_max=True), octets=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_a_damaged_package_breaks_nothing(package: bytes, where: float, octets: bytes, cut: bool) -> None:
    """There is always an answer: headers and tables that lead astray, or in a circle, too."""
    at = int(where**3 * len(package))  # most of them near the head, where the tables are
    changed = package[:at] + octets + (b"" if cut else package[at + len(octets) :])
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(InputError):
        assert seen(Path(folder), changed).kind == "msi"


def test_what_md5_has_signed_is_refused(tmp_path: Path, unsigned: Path) -> None:
    """Anybody can make a second program with the same MD5."""
    standin.sign(copy(tmp_path, unsigned), standin.certificate(tmp_path), "-h", "md5")
    with pytest.raises(Untrusted, match="MD5, which anybody can forge"):
        hold(read_program(tmp_path / "program.exe", NOW), standin.SIGNER, "")


def test_windows_alone_takes_a_time_stamp(
    tmp_path: Path, unsigned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old signature needs Windows to vouch for it, and one that does not hold is not saved by that."""
    standin.sign(copy(tmp_path, unsigned), standin.certificate(tmp_path))
    later = NOW + timedelta(days=400)
    program = read_program(tmp_path / "program.exe", later)
    with pytest.raises(Untrusted, match="expired on"):
        hold(program, standin.SIGNER, "")
    monkeypatch.setattr(trust, "_asked_windows", lambda path, signer: "as Windows says")
    assert hold(program, standin.SIGNER, "")
    changed = seen(tmp_path, (tmp_path / "program.exe").read_bytes()[:-1])
    with pytest.raises(Untrusted, match="cut off"):
        hold(changed, standin.SIGNER, "")


def test_installer_kinds_are_known_by_their_marks(tmp_path: Path, unsigned: Path) -> None:
    """Inno Setup, WiX, a package inside an exe and a package by itself are told apart."""
    plain = unsigned.read_bytes().replace(b"NullsoftInst", b"XullsoftInst")
    marks = {
        "exe": b"",
        "inno": b"Inno Setup Setup Data (5.5.0)",
        "burn": b".wixburn8",
        "msi in exe": bytes.fromhex("d0cf11e0a1b11ae1"),
    }
    for kind, mark in marks.items():
        assert seen(tmp_path, plain + mark).kind == kind
    assert seen(tmp_path, bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600)).kind == "msi"

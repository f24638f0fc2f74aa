"""Digests, fingerprints, content digests, mending, and the matching of two sides."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import quopri
import random
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.generator import BytesGenerator
from email.message import EmailMessage
from io import BytesIO
from typing import Any, Literal, overload
from unittest.mock import patch

import pytest
from attrs import evolve
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from alimail_core.header import decoded, header
from alimail_core.identity import (
    Claim,
    Evidence,
    claim_by_bodies,
    claim_by_headers,
    content_digest,
    digests,
    fingerprint,
    mend,
    nominees,
)
from alimail_core.proof.differences import Difference, difference

properly = settings(deadline=None, derandomize=True)
slowly = settings(properly, max_examples=properly.max_examples // 2)

LINE_END = re.compile(rb"\r*\n|\r")

# Octets that parsers stumble over, strung together.
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\r\n", b"\0", b" ", b"\t", b":", b"--b", b"--b--", b"a", b"\xff\xfe", b"=",
    b"=\n", b"=?", b"Message-ID: <a@b>", b"From: x@y", b"Subject: s", b"Date: Mon, 1 Jan 2024 00:00:00 +0800",
    b"Date: 99999999999", b"Date: 1 Jan 99999 00:00:00 +0000", b"Date: Mon, 45 Foo -1 99:99 zz",
    b"Subject: =?utf-8?B?/?=", b"=?punycode?q?a?=",
    b"=?utf-16?b?AA?=", b"=?x?B??=", b"Content-Type: multipart/mixed; boundary=b",
    b'Content-Type: multipart/x; boundary="', b"Content-Type: ;", b"Content-Type: message/rfc822",
    b"Content-Type: text/plain; charset=nonsense", b"Content-Type: text/html; charset=utf-16",
    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"AAAA=A",
    b"From sender",
]  # fmt: skip
hostile = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=30).map(b"".join)
lines = st.lists(st.binary(max_size=8).map(lambda line: LINE_END.sub(b"", line)), min_size=1, max_size=8)

words = st.text(
    st.characters(codec="utf-8", categories=("L", "N"), max_codepoint=0xFFFF), min_size=1, max_size=12
).filter(lambda word: word.strip() == word)
bodies = st.text(st.sampled_from("abcдö测试=. \n\t-F"), max_size=80)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=0)
)


@st.composite
def emails(draw: st.DrawFn) -> EmailMessage:
    """Well-formed messages: one text, sometimes HTML, attachments, an attached message."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["Message-ID"] = f"<{draw(st.integers(0, 10**6))}@example.com>"
    message["Date"] = draw(instants)
    message["From"] = f"{draw(words)} <{draw(st.sampled_from(['a', 'Bob', 'x.y']))}@example.com>"
    message["Subject"] = " ".join(draw(st.lists(words, min_size=1, max_size=12)))
    message.set_content(draw(bodies), cte=draw(st.sampled_from(["base64", "quoted-printable", "8bit"])))
    if draw(st.booleans()):
        return message
    if draw(st.booleans()):
        message.add_alternative(f"<p>{draw(bodies)}</p>", subtype="html")
    for octets in draw(st.lists(st.binary(max_size=60), max_size=2)):
        message.add_attachment(octets, maintype="application", subtype="octet-stream", filename="f")
    if draw(st.booleans()):
        inner = EmailMessage(policy=email.policy.SMTP)
        inner["Subject"] = draw(words)
        inner.set_content(draw(bodies), cte="quoted-printable")
        message.add_attachment(inner)
    return message


def octets_of(message: EmailMessage, policy: email.policy.Policy[Any] = email.policy.SMTP) -> bytes:
    """Write a message."""
    out = BytesIO()
    BytesGenerator(out, policy=policy).flatten(message)
    return out.getvalue()


def respelt(octets: bytes, seed: int) -> bytes:
    """Spell each line end anew."""
    chance = random.Random(seed)
    parts = LINE_END.split(octets)
    out = parts[0]
    for part in parts[1:]:
        # A lone CR before what is empty and then another line end with LF would be read as one line end.
        lone = out.rstrip(b"\0").endswith(b"\r")
        out += (b"\r" if lone else chance.choice([b"\r\n", b"\r", b"\n", b"\r\r\n"])) + part
    return out


# -- digests and mending


@properly
@given(hostile, st.integers(1, 5))
def test_the_digest_is_of_the_octets_and_the_canonical_one_of_their_lines(octets: bytes, piece: int) -> None:
    """The canonical digest is that of the lines without NUL, CRLF between them and exactly one at the end.

    It is the same however small the pieces are in which a message is read.
    """
    with patch("alimail_core.identity._PIECE", piece):
        found = digests(octets)
    parts = LINE_END.split(octets.replace(b"\0", b""))
    expected = re.sub(rb"(\r\n)+\Z", b"", b"\r\n".join(parts)) + b"\r\n"
    assert found.digest == hashlib.sha256(octets).digest()
    assert found.canonical == hashlib.sha256(expected).digest()


def memory_of(digest: Callable[[bytes], object], octets: bytes) -> float:
    """Return what digesting a message takes at the peak, as a multiple of the message."""
    tracemalloc.start()
    try:
        digest(octets)
        return tracemalloc.get_traced_memory()[1] / len(octets)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("end", [b"\r\n", b"\r\n\r\n", b"\n", b"", b"\r"])
def test_digests_copy_no_message(end: bytes) -> None:
    """However the lines of a large message end, it is not rewritten in memory."""
    assert memory_of(digests, b"Subject: large\r\n\r\n".ljust(10_000_000, b"x") + end) < 0.2


def test_a_content_digest_holds_a_large_attachment_once_in_each_form() -> None:
    """With LF line ends, as the alphabet of base64 alone, and decoded; however deep it is nested."""
    head = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    attachment = head + base64.encodebytes(bytes(5_000_000))
    nested = b"Content-Type: message/rfc822\r\n\r\n" + multipart(b"inner", attachment)
    assert memory_of(content_digest, multipart(b"outer", nested)) < 3


def multipart(boundary: bytes, part: bytes) -> bytes:
    """Write a multipart of one part."""
    head = b"Content-Type: multipart/mixed; boundary=" + boundary
    return head + b"\r\n\r\n--%s\r\n%s\r\n--%s--\r\n" % (boundary, part, boundary)


@properly
@given(lines, st.integers(0, 99), st.lists(st.sampled_from([b"\n", b"\r\n"]), max_size=3).map(b"".join))
def test_mended_line_ends_do_not_change_the_canonical_digest(
    parts: list[bytes], seed: int, end: bytes
) -> None:
    """However line ends are spelt, and however many stand at the end, the canonical digest is the same."""
    octets = b"\r\n".join(parts)
    assert digests(respelt(octets, seed) + end).canonical == digests(octets).canonical


@properly
@given(hostile)
def test_canonical_octets_are_hashed_once(octets: bytes) -> None:
    """The canonical form is its own canonical form, so both digests of it are one object."""
    parts = LINE_END.split(octets.replace(b"\0", b""))
    canonical = re.sub(rb"(\r\n)+\Z", b"", b"\r\n".join(parts)) + b"\r\n"
    found = digests(canonical)
    assert found.canonical is found.digest
    assert found.canonical == digests(octets).canonical


@properly
@given(hostile)
@example(b"\r\0\n")
@example(b"a\r\r\nb")
def test_mending_makes_octets_clean_and_changes_nothing_else(octets: bytes) -> None:
    """Mended octets have neither NUL nor lone CR or LF, all else is as it was, and mending is idempotent."""
    mended = mend(octets)
    assert b"\0" not in mended
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", mended)
    assert re.sub(rb"[\r\n\0]", b"", mended) == re.sub(rb"[\r\n\0]", b"", octets)
    assert mend(mended) is mended
    without_nul = octets.replace(b"\0", b"")
    assert LINE_END.split(mended) == LINE_END.split(without_nul)
    assert digests(mended).canonical == digests(octets).canonical


# -- the fingerprint


@properly
@given(hostile)
def test_any_octets_have_a_fingerprint_and_a_content_digest(octets: bytes) -> None:
    """Nothing raises, and the same octets give the same answer."""
    found = fingerprint(octets)
    assert len(found.value) == 16
    assert found.message_id is None or (found.message_id and found.message_id.split() == [found.message_id])
    assert len(content_digest(octets)) == 32
    assert (found, content_digest(octets)) == (fingerprint(octets), content_digest(octets))


HEADER = {
    "Message-ID": b"<1@example.com>",
    "Date": b"Mon, 1 Jan 2024 08:00:00 +0800",
    "From": b'"Zhang" <zhang@example.com>',
    "Subject": b"Minutes of the meeting",
}


def header_of(fields: dict[str, bytes], end: bytes = b"\r\n") -> bytes:
    """Write a header with its blank line."""
    return b"".join(name.encode() + b": " + value + end for name, value in fields.items()) + end


@pytest.mark.parametrize("name", HEADER)
def test_each_of_the_four_fields_counts(name: str) -> None:
    """Another value in any of the four fields, or none at all, is another fingerprint."""
    other = {"Date": b"Mon, 1 Jan 2024 08:00:01 +0800"}.get(
        name, HEADER[name].replace(b"n", b"m").replace(b"1", b"2")
    )
    values = {
        fingerprint(header_of(fields)).value
        for fields in (HEADER, HEADER | {name: other}, {key: HEADER[key] for key in HEADER if key != name})
    }
    assert len(values) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"Date": b"Mon,  1 Jan 2024 00:00:00 GMT"},
        {"Date": b"1 Jan 2024 08:00:00 +0800 (CST)"},
        {"Subject": b"minutes\r\n of  the\r\n\tmeeting "},
        {"Subject": b"=?UTF-8?Q?Minutes_of?=\r\n =?UTF-8?B?IHRoZSBtZWV0aW5n?="},
        {"Subject": b"Min\0utes of the meeting"},
        {"From": b"=?gb2312?B?1cU=?= <Zhang@Example.com>"},
        {"From": b"zhang@example.com"},
        {"Message-ID": b"\r\n <1@example.com>"},
        {"X-Size": b"1"},
    ],
)
def test_what_servers_do_to_header_fields_leaves_the_fingerprint(change: dict[str, bytes]) -> None:
    """Folds, case, encoded words, zones, comments, display names and other fields do not count."""
    assert fingerprint(header_of(HEADER | change)) == fingerprint(header_of(HEADER))


def test_a_character_cut_in_two_encoded_words_is_whole_again() -> None:
    """Neighbouring encoded words of one charset are decoded together, those of two charsets each by itself."""
    octets = "会议".encode()
    cut = (
        b"=?utf-8?B?" + base64.b64encode(octets[:4]) + b"?= =?utf-8?B?" + base64.b64encode(octets[4:]) + b"?="
    )
    two = (
        b"=?utf-8?B?"
        + base64.b64encode("会".encode())
        + b"?= =?gbk?B?"
        + base64.b64encode("议".encode("gbk"))
        + b"?="
    )
    expected = fingerprint(b"Subject: " + octets + b"\r\n\r\n")
    assert fingerprint(b"Subject: " + cut + b"\r\n\r\n") == expected
    assert fingerprint(b"Subject: " + two + b"\r\n\r\n") == expected


@slowly
@given(
    emails(),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
    st.permutations(["Message-ID", "Date", "From", "Subject"]),
)
def test_header_fields_alone_have_the_fingerprint_of_their_message(
    message: EmailMessage, end: bytes, order: list[str]
) -> None:
    """A server's answer of just the four fields, in any order, has the fingerprint of the whole message."""
    whole = octets_of(message)
    head = whole[: whole.index(b"\r\n\r\n") + 2]
    fields = {name: re.search(rb"(?im)^%s:.*(?:\r\n[ \t].*)*\r\n" % name.encode(), head) for name in order}
    only = b"".join(found[0] for found in fields.values() if found) + b"\r\n"
    traced = b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\nX-Subject: no\r\n" + whole
    expected = fingerprint(whole)
    assert expected.message_id == message["Message-ID"].encode()
    assert fingerprint(only) == fingerprint(traced) == expected
    assert fingerprint(whole.replace(b"\r\n", end)) == expected


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_the_fingerprint_ends_with_the_header(end: bytes) -> None:
    """What looks like a field in the body, or after a blank line at the very beginning, does not count."""
    with_body = header_of({"Date": HEADER["Date"]}, end) + b"Subject: not mine" + end
    assert fingerprint(with_body) == fingerprint(header_of({"Date": HEADER["Date"]}))
    assert fingerprint(end + header_of(HEADER, end)) == fingerprint(b"")


def test_only_the_first_field_of_a_name_counts() -> None:
    """A second Subject changes nothing, wherever a server puts its answer's fields."""
    twice = header_of(HEADER)[:-2] + b"Subject: another\r\n\r\n"
    assert fingerprint(twice) == fingerprint(header_of(HEADER))


def test_a_stray_carriage_return_does_not_end_the_header() -> None:
    """Software that writes CR CR LF at each line's end has a header and a body all the same."""
    octets = header_of(HEADER, b"\r\r\n")
    assert fingerprint(octets) == fingerprint(header_of(HEADER))
    assert header(b"A: b\r\r\n c\r\r\n\r\r\nbody") == (b"A: b\n c", 15)


def test_two_fields_do_not_run_into_one() -> None:
    """The end of one field is not the beginning of the next."""
    assert fingerprint(b"Message-ID: ab\n\n").value != fingerprint(b"Message-ID: a\nDate: b\n\n").value


def test_a_hostile_charset_is_not_decoded() -> None:
    """Codecs that are no charset of text, or whose cost grows out of proportion, are never run."""
    for charset in ("punycode", "idna", "zlib", "hex", "unicode_escape", "nonsense", "\0", "a" * 10_000):
        assert decoded(b"mnchen-3ya", charset) == "mnchen-3ya"


# -- the content digest


@slowly
@given(emails(), st.integers(0, 9))
def test_a_rendering_anew_leaves_the_content(message: EmailMessage, seed: int) -> None:
    """Trace headers, boundaries, transfer encodings, folds and line ends do not count."""
    whole = octets_of(message)
    expected = content_digest(whole)
    again = email.message_from_bytes(whole, policy=email.policy.SMTP.clone(max_line_length=50))
    chance = random.Random(seed)
    for part in again.walk():
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            part.set_boundary(f"=_{chance.random()}")
        elif part.get_content_maintype() != "message" and not part.is_multipart():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            use_base64 = chance.random() < 0.5 or part.get_content_maintype() != "text"
            encoded = base64.encodebytes(payload) if use_base64 else quopri.encodestring(payload)
            part.set_payload(encoded.decode("ascii"))
            del part["Content-Transfer-Encoding"]
            part["Content-Transfer-Encoding"] = "base64" if use_base64 else "quoted-printable"
    again["X-Spam-Score"] = "0"
    rendered = b"Received: from a by b\r\n\tfor c; now\r\n" + octets_of(
        again, email.policy.SMTP.clone(max_line_length=50)
    )
    assert content_digest(rendered) == expected
    assert content_digest(whole.replace(b"\r\n", b"\n")) == expected
    assert content_digest(respelt(whole, seed)) == expected
    assert content_digest(whole + b"\r\n\r\n") == expected


@slowly
@given(emails(), st.data())
def test_another_body_is_another_content(message: EmailMessage, data: st.DataObject) -> None:
    """Whichever leaf says something else, the content digest says so."""
    expected = content_digest(octets_of(message))
    leaves = [part for part in message.walk() if not part.is_multipart()]
    leaf = data.draw(st.sampled_from(leaves))
    payload = leaf.get_payload(decode=True)
    assert isinstance(payload, bytes)
    leaf.set_payload(base64.encodebytes(b"X" + payload).decode("ascii"))
    del leaf["Content-Transfer-Encoding"]
    leaf["Content-Transfer-Encoding"] = "base64"
    assert content_digest(octets_of(message)) != expected


FIELDS = header_of({"Subject": b"s"})[:-2]
MIXED = FIELDS + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FIELDS + b"\r\nhello\r\n", FIELDS + b"\r\nhallo\r\n"),
        (FIELDS + b"hello, without a blank line\r\n", FIELDS + b"hallo, without a blank line\r\n"),
        (b"hello\r\n", b"hallo\r\n"),
        (MIXED + b"no delimiter: hello", MIXED + b"no delimiter: hallo"),
        (MIXED + b"--b\r\nhello\r\n--b--", MIXED + b"--b\r\nhallo\r\n--b--"),
        (MIXED + b"--b\r\n\r\nhello, cut off", MIXED + b"--b\r\n\r\nhallo, cut off"),
        (MIXED + b"--b\r\n\r\na\r\n--b\r\n\r\nb\r\n--b--", MIXED + b"--b\r\n\r\na\r\nb\r\n--b--"),
        (MIXED + b"--b\r\n\r\na\r\n--b\r\n\r\nb\r\n--b--", MIXED + b"--b\r\n\r\nb\r\n--b\r\n\r\na\r\n--b--"),
        (MIXED + b"--b\r\nhello\r\nTo: me\r\n--b--", MIXED + b"--b\r\nhello\r\nTo: you\r\n--b--"),
        (MIXED + b"--b\r\n\r\na\r\n--b\r\n\r\nhello", MIXED + b"--b\r\n\r\na\r\n--b\r\n\r\nhallo"),
        (
            MIXED + b"--b\r\n\r\na\r\n--b\r\n\r\nbc\r\n--b--",
            MIXED + b"--b\r\n\r\nab\r\n--b\r\n\r\nc\r\n--b--",
        ),
        (MIXED + b"--b\r\n\r\na\r\n--bc\r\nx\r\n--b--", MIXED + b"--b\r\n\r\na\r\n--bd\r\nx\r\n--b--"),
        (MIXED + b"--b\r\n\r\na\r\n--b-c\r\nx\r\n--b--", MIXED + b"--b\r\n\r\na\r\n--b-c\r\ny\r\n--b--"),
        (
            FIELDS + b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xe4",
            FIELDS + b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xe5",
        ),
        (
            FIELDS + b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xff\xfe",
            FIELDS + b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xff\xff",
        ),
        (
            FIELDS + b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx",
            FIELDS + b"Content-Type: message/rfc822\r\n\r\nSubject: other\r\n\r\nx",
        ),
    ],
)
def test_broken_messages_differ_where_they_say_something_else(one: bytes, other: bytes) -> None:
    """What cannot be parsed counts as it stands."""
    assert content_digest(one) != content_digest(other)
    assert content_digest(one) == content_digest(b"X-Trace: 1\r\n" + one) or not one.startswith(b"Subject")


def test_text_in_another_charset_is_the_same_content() -> None:
    """Text is compared as Unicode; GBK characters under the name gb2312 are read as mail means them."""
    said = "测试 镕"
    utf8 = FIELDS + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + said.encode()
    gbk = FIELDS + b"Content-Type: text/plain; charset=gb2312\r\n\r\n" + said.encode("gbk")
    assert content_digest(utf8) == content_digest(gbk)


def test_binary_octets_in_base64_count_exactly() -> None:
    """A line feed inside an attachment is not a line end."""
    kind = FIELDS + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert content_digest(kind + base64.b64encode(b"a\nb")) != content_digest(
        kind + base64.b64encode(b"a\r\nb")
    )


@given(st.binary(max_size=40), st.binary(min_size=2, max_size=2), st.integers(0, 1000))
def test_the_random_key_of_a_winmail_dat_is_no_content(rest: bytes, key: bytes, at: int) -> None:
    """Whoever renders a message anew draws another key; each other octet counts, and in other attachments all do."""

    def digest(octets: bytes) -> bytes:
        part = b"Content-Type: application/ms-tnef\nContent-Transfer-Encoding: base64\n\n"
        return content_digest(part + base64.encodebytes(octets))

    signature, end = b"\x78\x9f\x3e\x22", b"\x01"
    stream = signature + b"\x05\x03" + rest + end
    assert digest(signature + key + rest + end) == digest(stream)
    changed = bytearray(stream)
    changed[at % len(stream)] ^= 0x40
    assert (digest(bytes(changed)) == digest(stream)) is (at % len(stream) in (4, 5))


def test_deep_nesting_ends_somewhere() -> None:
    """A thousand multiparts or messages in one another are digested, and a change at the bottom is seen."""
    multiparts = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1000)
    )
    messages = b"Content-Type: message/rfc822\r\n\r\n" * 1000
    for nested in (multiparts, messages):
        assert content_digest(nested + b"\r\nhello") != content_digest(nested + b"\r\nhallo")


# -- matching

DATES = [None, datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=1)]


def hashed(*parts: object) -> bytes:
    """Stand in for a hash."""
    return repr(parts).encode()


@st.composite
def known(draw: st.DrawFn) -> Evidence:
    """All that can be known of a message; equal octets have equal text, equal text an equal fingerprint."""
    mid = draw(st.sampled_from([None, 1, 2]))
    printed = (mid, draw(st.integers(0, 1)))
    content = (*printed, draw(st.integers(0, 1)))
    canonical = (*content, draw(st.integers(0, 1)))
    digest = (*canonical, draw(st.integers(0, 1)))
    return Evidence(
        fingerprint=hashed("f", printed),
        message_id=None if mid is None else hashed("m", mid),
        size=draw(st.sampled_from([1, 2])),
        internal_date=draw(st.sampled_from(DATES)),
        digest=hashed("d", digest),
        canonical=hashed("c", canonical),
        content=hashed("t", content),
    )


sides = st.lists(known(), max_size=8)
anyhow = st.lists(
    st.builds(
        lambda evidence, hidden: evolve(evidence, **dict.fromkeys(hidden)),
        known(),
        st.sets(
            st.sampled_from(
                ["fingerprint", "message_id", "size", "internal_date", "digest", "canonical", "content"]
            ),
            max_size=4,
        ),
    ),
    max_size=8,
)
modes: list[Literal["exact", "headers", "content"]] = ["exact", "headers", "content"]


def check_claims(claims: Sequence[Claim], wanted: Sequence[Evidence], found: Sequence[Evidence]) -> None:
    """Hold what holds for any claims: each side's message at most once, in the order of ``wanted``."""
    ours, theirs = [claim.wanted for claim in claims], [claim.stranger for claim in claims]
    assert ours == sorted(set(ours))
    assert len(theirs) == len(set(theirs))
    assert set(ours) <= set(range(len(wanted)))
    assert set(theirs) <= set(range(len(found)))


def share(one: Evidence, other: Evidence, *names: str) -> bool:
    """Tell whether two have one of these in common."""
    return any(
        getattr(one, name) is not None and getattr(one, name) == getattr(other, name) for name in names
    )


def same_witness(one: Evidence, other: Evidence) -> bool:
    """Tell whether two have size and internal date in common."""
    return share(one, other, "size") and share(one, other, "internal_date")


BODY = ("digest", "canonical", "content")


@properly
@given(anyhow, anyhow)
def test_bodies_decide_and_leave_nothing_undecided(wanted: list[Evidence], found: list[Evidence]) -> None:
    """Each claim shares a digest, each message claims once, and no two that share one are left."""
    claims = claim_by_bodies(wanted, found, [])
    check_claims(claims, wanted, found)
    assert all(share(wanted[claim.wanted], found[claim.stranger], *BODY) for claim in claims)
    ours, theirs = {claim.wanted for claim in claims}, {claim.stranger for claim in claims}
    left = [
        (w, f) for w in range(len(wanted)) for f in range(len(found)) if w not in ours and f not in theirs
    ]
    assert not any(share(wanted[w], found[f], *BODY) for w, f in left)


@properly
@given(sides, sides)
def test_equal_messages_are_matched_as_multisets(wanted: list[Evidence], found: list[Evidence]) -> None:
    """Of n equal messages and m equal entries, min(n, m) are claimed: by digest, then by text."""
    claims = claim_by_bodies(wanted, found, [])
    pairs = [(wanted[claim.wanted], found[claim.stranger]) for claim in claims]

    def most(name: str) -> int:
        return sum(
            (Counter(getattr(w, name) for w in wanted) & Counter(getattr(f, name) for f in found)).values()
        )

    assert sum(share(w, f, "digest") for w, f in pairs) == most("digest")
    assert len(pairs) == most("content")


@properly
@given(sides, sides)
def test_the_earlier_message_claims_first(wanted: list[Evidence], found: list[Evidence]) -> None:
    """Where a later message has claimed, no earlier one with the same octets has gone without."""
    ours = {claim.wanted for claim in claim_by_bodies(wanted, found, [])}
    for later in ours:
        earlier = [w for w in range(later) if wanted[w].digest == wanted[later].digest]
        assert ours.issuperset(earlier)


@properly
@given(sides, sides, st.randoms(use_true_random=False))
def test_who_claims_does_not_hang_on_the_order_of_the_entries(
    wanted: list[Evidence], found: list[Evidence], chance: random.Random
) -> None:
    """Another order of the target's entries changes at most which of several equal ones is claimed."""
    mixed = chance.sample(found, len(found))
    straight, other = claim_by_bodies(wanted, found, []), claim_by_bodies(wanted, mixed, [])
    assert [claim.wanted for claim in straight] == [claim.wanted for claim in other]
    assert Counter(found[claim.stranger].content for claim in straight) == Counter(
        mixed[claim.stranger].content for claim in other
    )


@properly
@given(known(), st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from(DATES)), min_size=1, max_size=5))
def test_among_equal_entries_the_exact_one_is_preferred(
    message: Evidence, dates: list[tuple[int, datetime | None]]
) -> None:
    """Its own size and date come first, then its own size, then the order of the entries."""
    found = [evolve(message, size=size, internal_date=date) for size, date in dates]
    [claim] = claim_by_bodies([message], found, [])

    def worth(index: int) -> tuple[bool, bool, int]:
        same = found[index].size == message.size
        exact = (
            same and message.internal_date is not None and found[index].internal_date == message.internal_date
        )
        return not exact, not same, index

    assert claim.stranger == min(range(len(found)), key=worth)


@properly
@given(anyhow, anyhow, st.sampled_from(modes), st.booleans())
def test_headers_claim_only_what_they_may(
    wanted: list[Evidence], found: list[Evidence], mode: Literal["exact", "headers", "content"], drafts: bool
) -> None:
    """Without bodies, only a lone Message-ID with the same witness claims; by wish, the fingerprint."""
    claims = claim_by_headers(wanted, found, mode=mode, drafts=drafts)
    check_claims(claims, wanted, found)
    assert not claims or (mode != "content" and not drafts)
    for claim in claims:
        ours, theirs = wanted[claim.wanted], found[claim.stranger]
        assert ours.fingerprint is not None
        assert ours.fingerprint == theirs.fingerprint
        if mode == "exact":
            witness = (ours.message_id, ours.size, ours.internal_date)
            assert None not in witness
            assert witness == (theirs.message_id, theirs.size, theirs.internal_date)
            assert [each.message_id for each in [*wanted, *found]].count(ours.message_id) == 2
        elif ours.message_id is None:
            assert ours.size is not None
            assert ours.size == theirs.size


@properly
@given(sides, sides)
def test_headers_by_wish_are_matched_as_multisets(wanted: list[Evidence], found: list[Evidence]) -> None:
    """Under ``headers`` of n equal fingerprints and m, min(n, m) are claimed, and the earlier claims first."""
    claims = claim_by_headers(wanted, found, mode="headers", drafts=False)
    ours, theirs = ([each.fingerprint for each in side if each.message_id] for side in (wanted, found))
    assert sum(wanted[claim.wanted].message_id is not None for claim in claims) == sum(
        (Counter(ours) & Counter(theirs)).values()
    )


@properly
@given(sides, sides, st.sampled_from(modes))
def test_reading_the_nominees_is_as_good_as_reading_everything(
    wanted: list[Evidence], found: list[Evidence], mode: Literal["exact", "headers", "content"]
) -> None:
    """The bodies that are nominated decide as much as all bodies would, and none is read without a reason."""
    ours = [evolve(each, content=None) for each in wanted]
    theirs = [evolve(each, digest=None, canonical=None, content=None) for each in found]
    claims = claim_by_headers(ours, theirs, mode=mode, drafts=False)
    everything = claim_by_bodies(wanted, found, claims)
    for index in nominees(ours, theirs, claims)[1]:
        assert index not in {claim.stranger for claim in claims}
        theirs[index] = found[index]
    claims = [*claims, *(told := claim_by_bodies(ours, theirs, claims))]
    of_wanted = nominees(ours, theirs, claims)[0]
    free = [theirs[f] for f in range(len(found)) if f not in {claim.stranger for claim in claims}]
    for index in of_wanted:
        assert index not in {claim.wanted for claim in claims}
        assert any(
            share(ours[index], each, "fingerprint", "message_id") or same_witness(ours[index], each)
            for each in free
        )
    assert nominees(ours, theirs, claims)[1] == []
    for index in of_wanted:
        ours[index] = wanted[index]
    assert len(told) + len(claim_by_bodies(ours, theirs, claims)) == len(everything)


@properly
@given(anyhow, anyhow, st.sampled_from(modes))
def test_what_is_claimed_is_claimed(
    wanted: list[Evidence], found: list[Evidence], mode: Literal["exact", "headers", "content"]
) -> None:
    """New claims never touch what earlier claims have taken, and a second call finds nothing more."""
    before = claim_by_headers(wanted, found, mode=mode, drafts=False)
    claims = claim_by_bodies(wanted, found, before)
    check_claims(sorted([*before, *claims], key=lambda claim: claim.wanted), wanted, found)
    assert claim_by_bodies(wanted, found, [*before, *claims]) == []


def read(octets: bytes) -> Evidence:
    """Make the evidence of octets that were read."""
    exact, printed = digests(octets), fingerprint(octets)
    return Evidence(
        fingerprint=printed.value,
        message_id=printed.message_id,
        size=len(octets),
        internal_date=DATES[1],
        digest=exact.digest,
        canonical=exact.canonical,
        content=content_digest(octets),
    )


def test_the_same_message_id_with_another_body_is_another_message() -> None:
    """The fingerprint nominates and does not decide."""
    one, other = read(header_of(HEADER) + b"one\r\n"), read(header_of(HEADER) + b"two\r\n")
    assert one.fingerprint == other.fingerprint
    assert claim_by_headers([one, other], [other], mode="exact", drafts=False) == []
    assert claim_by_bodies([one, other], [other], []) == [Claim(1, 0)]
    assert claim_by_bodies([one], [other], []) == []


def test_two_identical_messages_are_two() -> None:
    """Two equal messages claim two equal entries, and one entry satisfies only the first."""
    same = read(header_of(HEADER) + b"one\r\n")
    assert claim_by_bodies([same, same], [same, same], []) == [Claim(0, 0), Claim(1, 1)]
    assert claim_by_bodies([same, same], [same], []) == [Claim(0, 0)]
    assert claim_by_headers([same, same], [same], mode="exact", drafts=False) == []


def test_equal_octets_claim_whatever_their_fingerprints() -> None:
    """A digest needs no fingerprint beside it."""
    same = read(b"hello\r\n")
    assert claim_by_bodies([evolve(same, fingerprint=None)], [evolve(same, fingerprint=b"x")], []) == [
        Claim(0, 0)
    ]


LONE = Evidence(b"f", b"m", 1, DATES[1])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([LONE], [LONE, LONE]),
        ([LONE, LONE], [LONE]),
        ([LONE, evolve(LONE, fingerprint=b"g")], [LONE]),
        ([LONE], [LONE, evolve(LONE, size=2)]),
        ([LONE], [evolve(LONE, size=2)]),
        ([LONE], [evolve(LONE, internal_date=DATES[2])]),
        ([LONE], [evolve(LONE, fingerprint=b"g")]),
        ([LONE], [evolve(LONE, message_id=b"n")]),
        *(
            ([evolve(LONE, **{name: None})],) * 2
            for name in ("fingerprint", "message_id", "size", "internal_date")
        ),
    ],
)
def test_exactly_means_alone_and_all_four_the_same(wanted: list[Evidence], found: list[Evidence]) -> None:
    """One thing that differs, is not known, or stands twice on a side, and the body must decide."""
    assert claim_by_headers(wanted, found, mode="exact", drafts=False) == []
    assert claim_by_headers([LONE], [LONE], mode="exact", drafts=False) == [Claim(0, 0)]


def test_a_shared_message_id_nominates_as_well() -> None:
    """Where a server has altered Subject, From or Date, the Message-ID still tells which bodies to read."""
    altered = evolve(LONE, fingerprint=b"g", size=7)
    assert nominees([LONE], [altered, evolve(altered, message_id=b"n")], []) == ([0], [0])


def test_a_header_that_the_server_reads_otherwise_does_not_hide_a_message() -> None:
    """Size and internal date nominate as well; where the digest is known, the size alone tells what to read."""
    other = evolve(LONE, fingerprint=b"g", message_id=None)
    assert nominees([LONE], [other, evolve(other, size=7)], []) == ([0], [0])
    redated = evolve(other, internal_date=None)
    assert nominees([LONE], [redated], []) == ([], [])
    assert nominees([evolve(LONE, digest=b"d")], [redated, evolve(redated, size=7)], []) == ([], [0])


def test_messages_without_any_field_never_claim_by_their_absence() -> None:
    """Under ``headers`` two messages of one size without Message-ID, Date, From and Subject stay two."""
    one, other = read(b"\r\none"), read(b"\r\ntwo")
    assert one.fingerprint == other.fingerprint
    assert claim_by_headers([one], [other], mode="headers", drafts=False) == []


def test_a_draft_that_was_written_again_is_not_what_its_message_id_says() -> None:
    """In a folder of drafts nothing is claimed without its body, in any mode."""
    draft = read(header_of(HEADER) + b"draft\r\n")
    for mode in modes:
        assert claim_by_headers([draft], [draft], mode=mode, drafts=True) == []
    assert claim_by_headers([draft], [draft], mode="exact", drafts=False) == [Claim(0, 0)]


class Counted(Sequence[Evidence]):
    """A side that counts how often it was looked at."""

    def __init__(self, inner: Sequence[Evidence]) -> None:
        self.inner, self.looks = inner, 0

    @overload
    def __getitem__(self, index: int) -> Evidence: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Evidence]: ...
    def __getitem__(self, index: int | slice) -> Evidence | Sequence[Evidence]:
        self.looks += 1
        return self.inner[index]

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Evidence]:
        self.looks += len(self.inner)
        return iter(self.inner)


@pytest.mark.parametrize("alike", [True, False])
def test_matching_looks_at_each_message_a_few_times(alike: bool) -> None:
    """Whether thousands of messages are all alike or all different, the work grows with their number."""
    count = 3000
    each = [
        Evidence(hashed("f", n), None, 1, None, hashed("d", n), hashed("c", n), None)
        for n in ([0] * count if alike else range(count))
    ]
    wanted, found = Counted(each), Counted(each[::-1])
    claims = claim_by_headers(wanted, found, mode="headers", drafts=False)
    nominees(wanted, found, [])
    assert len(claim_by_bodies(wanted, found, [])) == len(claims) == count
    assert wanted.looks + found.looks < 60 * count


@slowly
@given(emails())
def test_a_copy_that_was_forwarded_is_found_by_its_content(message: EmailMessage) -> None:
    """Mail that arrives on both sides with other trace headers is one message."""
    whole = octets_of(message)
    ours, theirs = read(whole), read(b"Received: from old by new\r\n" + whole)
    assume(ours.digest != theirs.digest)
    assert claim_by_bodies([ours], [theirs], []) == [Claim(0, 0)]


def test_a_million_carriage_returns_are_read_at_once() -> None:
    """Lone CRs in a header cost as much as letters do; where their cost grew by its square this would not end."""
    octets = b"X: " + b"\r" * 1_000_000 + b"x\nSubject: s\n\nBody\n"
    assert fingerprint(octets).value != fingerprint(b"").value
    assert digests(octets).canonical == digests(mend(octets)).canonical


def test_carriage_returns_before_a_line_end_are_part_of_it() -> None:
    """Dovecot drops one of CR CR LF as it stores it, others more: to all three measures it is one line end."""
    clean, odd = (b"Subject: s\r\n\r\nOne%s\r\nTwo\r\n" % more for more in (b"", b"\r\r"))
    assert digests(odd).canonical == digests(clean).canonical == digests(odd).canonical
    assert content_digest(odd) == content_digest(clean)
    assert mend(odd) == clean


def test_a_nul_counts_as_dovecot_stores_it() -> None:
    """Dovecot stores 0x80 for each NUL; a message that was sent with NUL octets is found by its content there."""
    sent = b"Subject: s\r\n\r\na\0b\0\0c\r\n"
    stored = sent.replace(b"\0", b"\x80")
    assert content_digest(sent) == content_digest(stored) != content_digest(sent.replace(b"\0", b""))
    assert difference(sent, stored) == Difference(True, "NUL octets or line ends")


def test_what_servers_are_known_to_change_is_told_as_altered() -> None:
    """Courier drops lone CRs, Cyrus writes X for 8-bit octets of the header; of a body's nothing else may differ."""
    text = b"Subject: %s\r\n\r\nOne%sTwo\r\n"
    assert difference(text % (b"s", b"\r"), text % (b"s", b"")) == Difference(True, "lone CR octets")
    munged = difference(text % ("你".encode(), b" "), text % (b"XXX", b" "))
    assert munged == Difference(True, "8-bit octets of header lines (Subject)")
    assert not difference(text % (b"s", b"\xff"), text % (b"s", b"X")).same_content
    assert not difference(text % (b"YYY", b" "), text % (b"XXX", b" ")).same_content

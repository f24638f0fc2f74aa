"""The grammar of responses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_imap.tokens import (
    MAX_DEPTH,
    Malformed,
    Response,
    Token,
    is_atom,
    parse_status,
    quotable,
    quote,
    shown,
    tokenize,
)


def write(tokens: list[Token]) -> list[bytes]:
    """Write tokens as a server might, as parts: quoted where possible, else as literals."""
    parts = [b""]
    for place, token in enumerate(tokens):
        parts[-1] += b" " if place else b""
        if token is None:
            parts[-1] += b"NIL"
        elif isinstance(token, list):
            inner = write(token)
            parts[-1] += b"(" + inner[0]
            parts += inner[1:]
            parts[-1] += b")"
        elif quotable(token):
            parts[-1] += quote(token)
        else:
            parts[-1] += b"{%d}" % len(token)
            parts += [token, b""]
    return parts


TOKENS = st.recursive(
    st.none() | st.binary(max_size=20), lambda inner: st.lists(inner, max_size=5), max_leaves=30
)


@given(st.lists(TOKENS, max_size=6))
def test_what_is_written_is_read_back(tokens: list[Token]) -> None:
    """Quoted strings, literals, NIL and nested lists come back as they were."""
    assert tokenize(write(tokens)) == tokens


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5).filter(lambda parts: len(parts) % 2 == 1))
def test_garbage_is_malformed_or_tokens_and_nothing_else(parts: list[bytes]) -> None:
    """No octets make the tokenizer raise anything but Malformed."""
    try:
        tokenize(parts)
    except Malformed:
        pass


@given(st.binary(max_size=200))
def test_garbage_as_a_status_raises_nothing(text: bytes) -> None:
    """A status is read or it is not; what is shown of it is printable."""
    status = parse_status(text)
    assert status is None or status.words().isprintable()


def test_a_name_that_is_a_number_or_nil_stays_a_name() -> None:
    """Folders called 007 and "NIL" are not numbers and not nothing."""
    assert tokenize([b'LIST () "/" 007']) == [b"LIST", [], b"/", b"007"]
    assert tokenize([b'LIST () NIL "NIL"']) == [b"LIST", [], None, b"NIL"]


def test_the_section_of_a_body_is_one_token() -> None:
    """Brackets keep their spaces and parentheses together."""
    text = b'1 FETCH (UID 3 BODY[HEADER.FIELDS (DATE "X Y")] "a" FLAGS (\\Seen))'
    assert tokenize([text])[2] == [
        b"UID",
        b"3",
        b'BODY[HEADER.FIELDS (DATE "X Y")]',
        b"a",
        b"FLAGS",
        [b"\\Seen"],
    ]


def test_a_keyword_with_a_bracket_ends_where_it_ends() -> None:
    """Only BODY and BINARY have sections; other atoms may hold a lone bracket."""
    assert tokenize([b"FLAGS ($a[ b])"]) == [b"FLAGS", [b"$a[", b"b]"]]


@pytest.mark.parametrize("text", [b"(", b")", b"(()", b'"open', b"(" * 100_000])
def test_what_does_not_pair_is_malformed(text: bytes) -> None:
    """Brackets and quotes that do not pair are refused, however many."""
    with pytest.raises(Malformed):
        tokenize([text])


def test_depth_is_bounded() -> None:
    """Lists nest as deep as any server needs, and no deeper."""
    assert tokenize([b"(" * MAX_DEPTH + b")" * MAX_DEPTH])
    with pytest.raises(Malformed):
        tokenize([b"(" * (MAX_DEPTH + 1) + b")" * (MAX_DEPTH + 1)])


@pytest.mark.parametrize(
    ("text", "kind", "code", "argument", "words"),
    [
        (b"OK [UNSEEN 0] ok", "OK", "UNSEEN", b"0", "ok"),
        (b"OK [APPENDUID 38505 3955] APPEND completed", "OK", "APPENDUID", b"38505 3955", "APPEND completed"),
        (b"ok done", "OK", "", b"", "done"),
        (b"NO [TRYCREATE] Mailbox doesn't exist: x", "NO", "TRYCREATE", b"", "Mailbox doesn't exist: x"),
        (b"OK [PERMANENTFLAGS (\\Seen \\*)] Limited", "OK", "PERMANENTFLAGS", b"(\\Seen \\*)", "Limited"),
        (b"BAD", "BAD", "", b"", ""),
        (b"BYE \x1b[31mred", "BYE", "", b"", "\\x1b[31mred"),
        (b"NO \xcf\xb5\xcd\xb3", "NO", "", b"", "ϵͳ"),
    ],
)
def test_statuses_are_read(text: bytes, kind: str, code: str, argument: bytes, words: str) -> None:
    """Kind, code, argument and words come apart, and the words are safe to show."""
    status = parse_status(text)
    assert status is not None
    assert (status.kind, status.code, status.argument, status.text) == (kind, code, argument, words)


def test_bidi_overrides_are_spelt_out() -> None:
    """A right-to-left override in a server's words cannot turn our line around."""
    assert shown("a\u202eb".encode()) == "a\\x202eb"


def test_responses_know_their_kind_and_number() -> None:
    """A leading number is not the kind."""
    assert Response(b"*", [b"12 exists"]).kind() == b"EXISTS"
    assert Response(b"*", [b"12 EXISTS"]).number() == 12
    assert Response(b"*", [b"LIST () NIL x"]).kind() == b"LIST"
    assert Response(b"*", [b"99999999999 EXISTS"]).number() == 0
    assert Response(b"*", [b"EXISTS"]).number() == 0


@pytest.mark.parametrize(
    ("octets", "valid"), [(b"$Forwarded", True), (b"a b", False), (b"", False), (b"\xff", False)]
)
def test_keywords_are_written_only_where_they_are_atoms(octets: bytes, valid: bool) -> None:
    """A keyword that is no atom would break the command that carries it."""
    assert is_atom(octets) is valid

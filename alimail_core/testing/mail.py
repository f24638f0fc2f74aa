"""Builders of mail, plain and odd, and of folder names: the corpus that every side is tried with."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence

CRLF = b"\r\n"


def message(
    subject: str = "A subject",
    body: str = "A body.\r\n",
    *,
    message_id: str | None = "1@example.org",
    date: str | None = "Mon, 01 Jan 2024 10:00:00 +0800",
    sender: str = "Ann <ann@example.org>",
    extra: Sequence[str] = (),
) -> bytes:
    """Return a plain UTF-8 message with CRLF line ends. ``extra`` are whole header lines; ``None`` leaves out."""
    lines = [f"From: {sender}", "To: Bob <bob@example.org>", f"Subject: {encoded_word(subject)}"]
    lines += [f"Message-ID: <{message_id}>"] if message_id is not None else []
    lines += [f"Date: {date}"] if date is not None else []
    lines += [*extra, "MIME-Version: 1.0", 'Content-Type: text/plain; charset="utf-8"']
    lines += ["Content-Transfer-Encoding: 8bit", "", ""]
    return "\r\n".join(lines).encode() + body.encode()


def encoded_word(text: str, charset: str = "utf-8") -> str:
    """Return a text for a header field: as it is where it is ASCII, else one encoded word (RFC 2047 §2)."""
    if text.isascii():
        return text
    return f"=?{charset}?B?{base64.b64encode(text.encode(charset)).decode()}?="


def multipart(
    parts: Sequence[bytes], *, subject: str = "Parts", message_id: str = "parts@example.org"
) -> bytes:
    """Return a multipart/mixed message of parts that bring their own headers."""
    header = [
        "From: Ann <ann@example.org>",
        f"Subject: {encoded_word(subject)}",
        f"Message-ID: <{message_id}>",
        "Date: Mon, 01 Jan 2024 10:00:00 +0800",
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="=_frontier"',
    ]
    body = b"".join(b"--=_frontier\r\n" + part + CRLF for part in parts)
    return "\r\n".join(header).encode() + CRLF * 2 + body + b"--=_frontier--\r\n"


def attachment(octets: bytes, name: str = "data.bin") -> bytes:
    """Return a base64 part with a file name (RFC 2183)."""
    header = (
        "Content-Type: application/octet-stream",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment; filename="{encoded_word(name)}"',
    )
    content = base64.encodebytes(octets).replace(b"\n", CRLF)
    return "\r\n".join(header).encode() + CRLF * 2 + content


def odd_messages() -> dict[str, bytes]:
    """Return messages that servers really hold, and that tools trip over, by what is odd in them.

    No two have the same octets. Servers may refuse or alter some of them; a source MUST give each as it is.
    """
    plain = message("Plain", message_id="plain@example.org")
    head, body = plain.split(CRLF * 2, 1)
    return {
        "plain": plain,
        **_odd_ends(head, body),
        **_odd_octets(),
        **_odd_headers(),
        **_odd_identities(),
        **_odd_structures(),
    }


def sound_messages() -> dict[str, bytes]:
    """Return those of ``odd_messages`` that any mail server takes: RFC 5322 form, no NUL, CRLF ends."""
    odd = odd_messages()
    return {
        name: octets
        for name, octets in odd.items()
        if name not in UNSOUND and b"\0" not in octets and octets.replace(CRLF, b"").isascii()
    }


UNSOUND = frozenset(
    {"empty", "bare LF", "bare CR", "mixed ends", "no end of line", "no header", "only a header", "CR CR LF",
     "very long line", "lone From line", "broken header line", "ends in CR", "one octet"}
)  # fmt: skip
"""Names of the odd messages whose form breaks RFC 5322, apart from 8-bit and NUL octets."""


def _odd_ends(head: bytes, body: bytes) -> dict[str, bytes]:
    text = message("Ends", "One.\r\nTwo.\r\n", message_id="ends@example.org")
    return {
        "empty": b"",
        "one octet": b"x",
        "bare LF": text.replace(CRLF, b"\n"),
        "bare CR": text.replace(CRLF, b"\r"),
        "mixed ends": text + b"Three.\nFour.\rFive.\r\n",
        "CR CR LF": text + b"Three.\r\r\nFour.\r\n",
        "no end of line": text + b"No end",
        "ends in CR": text + b"Half an end\r",
        "only a header": head + CRLF,
        "header and blank line": head.replace(b"Plain", b"Header alone") + CRLF * 2,
        "no header": CRLF + b"Only a body.\r\n" + body,
        "blank lines at the end": text + CRLF * 7,
        "dot lines": text + b".\r\n..\r\n.x\r\n.\r\n",
    }


def _odd_octets() -> dict[str, bytes]:
    text = message("Octets", message_id="octets@example.org")
    every = bytes(octet for octet in range(256) if octet not in b"\0\r\n")
    return {
        "NUL octets": text + b"a\0b\0\0c\r\n",
        "every octet but NUL, CR and LF": text + every + CRLF,
        "8-bit header": text.replace(b"Octets", "Grüße 你好".encode()),
        "GB18030 header, undeclared": text.replace(b"Octets", "会议通知".encode("gb18030")),
        "GB18030": _chinese("gb18030"),
        "GBK called gb2312": _chinese("gbk", called="gb2312"),
        "Chinese in UTF-8": message("会议通知", "请查收附件。\r\n", message_id="utf8@example.org"),
        "invalid UTF-8": text + b"\xff\xfe\xc3\x28\r\n",
        "very long line": text + b"x" * 100_000 + CRLF,
        "literal-like text": text + b"{12}\r\n* BYE\r\nA1 OK done\r\n+ go ahead\r\n",
    }


def _chinese(charset: str, called: str = "") -> bytes:
    called = called or charset
    word = base64.b64encode("会议通知".encode(charset)).decode()
    head = (
        "From: =?gb2312?B?1cXI/Q==?= <zhang@example.org>",
        f"Subject: =?{called}?B?{word}?=",
        f"Message-ID: <{charset}@example.org>",
        "Date: Mon, 01 Jan 2024 10:00:00 +0800",
        f"Content-Type: text/plain; charset={called}",
        "Content-Transfer-Encoding: 8bit",
    )
    return "\r\n".join(head).encode() + CRLF * 2 + "请查收附件，谢谢。\r\n".encode(charset)


def _odd_headers() -> dict[str, bytes]:
    text = message("Headers", message_id="headers@example.org")
    folded = "Subject: a subject\r\n that goes on\r\n\tand on"
    return {
        "huge header": message("Huge", extra=[f"X-Trace-{n}: {'t' * 900}" for n in range(300)]),
        "folded header": text.replace(b"Subject: Headers", folded.encode()),
        "lone From line": b"From ann@example.org Mon Jan  1 10:00:00 2024\r\n" + text,
        "From lines in the body": text + b"From here on\r\n>From there on\r\n",
        "broken header line": b"this is no field\r\n" + text,
        "fields twice": text.replace(b"Subject: Headers", b"Subject: One\r\nSubject: Two"),
        "spaces before colons": text.replace(b"Subject:", b"Subject :"),
        "Bcc": message("Bcc", extra=["Bcc: carol@example.org"], message_id="bcc@example.org"),
        "no date": message("No date", date=None, message_id="nodate@example.org"),
        "date that is none": message("Date", date="yesterday, half past", message_id="date@example.org"),
        "date of long ago": message(
            "Old", date="Thu, 01 Jan 1970 00:00:00 +0000", message_id="old@example.org"
        ),
    }


def _odd_identities() -> dict[str, bytes]:
    return {
        "no Message-ID": message("Without", message_id=None),
        "no Message-ID, other body": message("Without", "Another body.\r\n", message_id=None),
        "same Message-ID": message("Same", "First content.\r\n", message_id="same@example.org"),
        "same Message-ID, other body": message("Same", "Other content.\r\n", message_id="same@example.org"),
        "same Message-ID and size": message("Same", "Worst content.\r\n", message_id="same@example.org"),
        "empty Message-ID": message("Empty id", message_id=""),
        "very long Message-ID": message("Long id", message_id="i" * 900 + "@example.org"),
        "only trace header differs": b"Received: from a by b; Mon, 01 Jan 2024 10:00:00 +0800\r\n"
        + message("Same", "First content.\r\n", message_id="same@example.org"),
    }


def _odd_structures() -> dict[str, bytes]:
    noise = random.Random(5).randbytes(50_000)
    inner = message("Inner", message_id="inner@example.org")
    nested = b"Content-Type: message/rfc822\r\n\r\n"
    text = b"Content-Type: text/plain\r\n\r\nSee the file.\r\n"
    unclosed = multipart([text], subject="Unclosed", message_id="unclosed@example.org")
    return {
        "attachment": multipart([text, attachment(noise)], message_id="attachment@example.org"),
        "attachment with a Chinese name": multipart(
            [text, attachment(b"x" * 300, "报表 2024.xlsx")], subject="报表", message_id="report@example.org"
        ),
        "nested": multipart([nested + inner], message_id="nested@example.org"),
        "nested deeply": multipart([nested + multipart([nested + inner])], message_id="deep@example.org"),
        "empty part": multipart([b"\r\n"], message_id="emptypart@example.org"),
        "multipart never closed": unclosed.replace(b"--=_frontier--\r\n", b""),
        "boundary missing": unclosed.replace(b'; boundary="=_frontier"', b""),
        "broken base64": message("Broken", "!!!not base64\r\n=\r\n", message_id="b64@example.org").replace(
            b"Encoding: 8bit", b"Encoding: base64"
        ),
        "unknown charset": message("Unknown", message_id="charset@example.org").replace(
            b"utf-8", b"x-klingon"
        ),
    }


def odd_names() -> list[str]:
    """Return single folder names that servers, shells, spreadsheets or terminals trip over; all different."""
    inside = [f"a{char}b" for char in "/.\\|&*%\"'`~#$!?:;,<>()[]{}@^=+-_ \u00b7"]
    alone = list('/.\\&*%"~- ')
    return list(dict.fromkeys([*inside, *alone, *_hostile_names(), *_long_names(), *_names_alike()]))


def _hostile_names() -> list[str]:
    controls = [f"a{chr(code)}b" for code in (0, 1, 7, 8, 9, 10, 13, 27, 127, 0x85, 0x2028)]
    bidi = ["abc\u202egnp.exe", "\u2067right", "a\u200bb", "\ufeffbom"]
    meant = [
        "..",
        "...",
        "../../etc",
        "=1+1",
        "@SUM(A1)",
        "-rf",
        "~user",
        "#news",
        "%s%n",
        "${HOME}",
        "$(id)",
    ]
    wire = [
        "&",
        "&-",
        "&AAA",
        "&U,BTFw-",
        "a&b",
        "{3}",
        "NIL",
        "INBOX",
        "inbox",
        "*",
        "<script>",
        "]]>",
        "CON",
    ]
    return [*controls, *bidi, *meant, *wire]


def _long_names() -> list[str]:
    return ["中" * 200, "n" * 300, "😀" * 60, "é" * 130]


def _names_alike() -> list[str]:
    spaces = [" lead", "trail ", " both ", "dot.", "dots..", ".hidden", "two  spaces", "\u3000wide"]
    twins = ["Twin", "twin", "TWIN", "straße", "STRASSE", "é", "e\u0301", "ﬁle", "file", "Ⅳ", "IV"]
    chinese = ["已发送", "草稿", "垃圾邮件", "已删除邮件", "项目／二〇二四", "客户＆合同"]
    return [*spaces, *twins, *chinese, "0", "1", "007", "2024", "1/2", "¼"]

"""A letter for each new person: address and first password, as text and a page to print, for that person alone."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from alimail_core.errors import InputError
from alimail_core.letters import Language
from alimail_core.markup import Markup, tag, together
from alimail_core.provisioning.directory import Employee, fold
from alimail_core.provisioning.passwords import PasswordFile
from alimail_core.text import printable


@frozen
class _Words:
    """The pieces of a letter in one language."""

    title: str
    greeting: str
    opening: str
    address: str
    password: str
    advice: tuple[str, ...]


WORDS: Final[Mapping[Language, _Words]] = {
    "en": _Words(
        "Your new mailbox",
        "Dear {name},",
        "a mailbox was made for you. Log in to the web mail with these:",
        "Address",
        "First password",
        (
            "Choose a password of your own when you log in for the first time, and then destroy this letter.",
            "If mail is being moved into the new mailbox, wait with that until you are told that the move is over.",
            "Mail programs on a computer or telephone may want another one: the web mail's settings, under account "
            "and security, make a security password for third-party clients.",
            "Nobody will ever ask you for a password by mail or telephone.",
        ),
    ),
    "zh": _Words(
        "您的新邮箱",
        "{name}：",
        "已为您开通邮箱。请使用以下信息登录网页版邮箱：",
        "邮箱地址",
        "初始密码",
        (
            "首次登录时请修改为您自己的密码，然后销毁本信。",
            "如果邮件正在迁移到新邮箱，请等到通知迁移结束后再修改密码。",
            "电脑或手机上的邮件客户端可能需要另一个密码：请在网页版设置的帐号与安全中生成三方客户端安全密码。",
            "任何人都不会通过邮件或电话向您索要密码。",
        ),
    ),
}

_STYLE: Final = Markup(
    "body{font:16px/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em;color:#111;background:#fff}"
    "dt{font-weight:bold}dd{margin:0 0 1em;font:20px monospace}li{margin:.5em 0}"
    "@media print{body{margin:0}}"
)


def letter_text(employee: Employee, password: str, language: Language) -> str:
    """Return the letter as text."""
    words, name = WORDS[language], printable(employee.name or employee.address)
    return "\n".join(
        [
            words.title,
            "",
            words.greeting.format(name=name),
            "",
            words.opening,
            "",
            f"  {words.address}: {printable(employee.address)}",
            f"  {words.password}: {password}",
            "",
            *(f"* {each}" for each in words.advice),
            "",
        ]
    )


def letter_page(employee: Employee, password: str, language: Language) -> str:
    """Return the letter as a page of HTML that needs nothing besides."""
    words = WORDS[language]
    head = tag("head", tag("meta", charset="utf-8"), tag("title", words.title), tag("style", _STYLE))
    told = tag(
        "dl",
        tag("dt", words.address),
        tag("dd", employee.address),
        tag("dt", words.password),
        tag("dd", password),
    )
    body = tag(
        "body",
        tag("h1", words.title),
        tag("p", words.greeting.format(name=employee.name or employee.address)),
        tag("p", words.opening),
        told,
        tag("ul", [tag("li", each) for each in words.advice]),
    )
    lang = "zh-CN" if language == "zh" else language
    return together(Markup("<!DOCTYPE html>\n"), tag("html", head, body, lang=lang))


def write_password_letters(
    people: Iterable[Employee], passwords: PasswordFile, folder: Path, language: Language
) -> list[Path]:
    """Write a text and a page for each of these people whose password was made, and who has none in the folder yet.

    The folder is made for its owner alone, and so is each file (0700, 0600). Returns the new texts. Raises
    ``InputError`` where something cannot be written.
    """
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for employee in people:
            if not passwords.has(employee.address):
                continue
            password, text = passwords.get(employee.address), folder / f"{_stem(employee.address)}.txt"
            if text.exists():
                continue
            # The page comes first: where the text is, both are.
            _write(text.with_suffix(".html"), letter_page(employee, password, language))
            _write(text, letter_text(employee, password, language))
            written.append(text)
    except OSError as error:
        raise InputError(f"{printable(str(folder))} cannot be written: {error.strerror}") from None
    return written


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _stem(address: str) -> str:
    """Return a name that no file system stumbles over, one for each address."""
    digest = hashlib.sha256(fold(address).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9@._+-]', '_', address)[:60].lstrip('.-') or 'mailbox'}-{digest}"

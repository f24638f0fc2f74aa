"""Fetch an installer: by https where the server has it, on from where it broke off, and bounded."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from alimail_core import AlimailError, InputError
from alimail_outlook.machine.program import MAX_OCTETS

_SECONDS: Final = 30.0
_PIECE: Final = 64 * 1024
_TRIES: Final = 3

Progress = Callable[[int, int | None], None]
"""Told how many octets there are, and of how many, where the server says."""


class NotFetched(AlimailError):
    """The file could not be had whole. What came stays, and the next try goes on from there."""


@frozen
class Fetched:
    """Where a file lies, not yet under its own name, and by which URL it came."""

    path: Path
    url: str


def plain(url: str) -> str:
    """Return a URL as it goes over the wire, in ASCII. Raises ``InputError`` for what is no URL of a file."""
    try:
        parts = urllib.parse.urlsplit(url.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise InputError("that is no link: it begins with https:// or http://, and has a host")
    if parts.username is not None:
        raise InputError("a link may have no password in it", remedy="Download the file with a browser.")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    path, query = (
        urllib.parse.quote(part, safe="/%:@!$&'()*+,;=?~-._") for part in (parts.path, parts.query)
    )
    return urllib.parse.urlunsplit((parts.scheme, place, path, query, ""))


def name_of(url: str) -> str:
    """Return a harmless name for a URL's file."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    name = re.sub(r"[^\w.-]", "_", path.rpartition("/")[2]).lstrip(".")
    return name or "installer.exe"


def fetch(url: str, target: Path, progress: Progress) -> Fetched:
    """Fetch to ``target`` with ``.part`` at its end; ``url`` is a ``plain`` one. Raises ``NotFetched``."""
    part = target.with_name(f"{target.name}.part")
    parts = urllib.parse.urlsplit(url)
    encrypted = url if parts.scheme == "https" else parts._replace(scheme="https").geturl()
    # A port that is named speaks one of the two only, and which is not guessed.
    urls = [url] if parts.port else list(dict.fromkeys((encrypted, url)))
    faults = []
    for each in urls:
        try:
            return Fetched(part, _fetch(each, part, progress))
        except NotFetched as error:
            faults.append(f"{urllib.parse.urlsplit(each).scheme}: {error.message}")
    raise NotFetched(
        f"{url} could not be fetched: {'; '.join(faults)}",
        remedy="Run the command again: it goes on from where it broke off. Or download it with a browser, and give "
        "the file to `alimail outlook install`.",
    )


def _fetch(url: str, part: Path, progress: Progress) -> str:
    """Return the URL that it came by, after what the server redirected to."""
    for attempt in range(_TRIES):
        before = part.stat().st_size if part.exists() else 0
        try:
            return _go_on(url, part, progress)
        except urllib.error.HTTPError as error:
            error.close()
            raise NotFetched(f"the server answers {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            after = part.stat().st_size if part.exists() else 0
            if (
                after <= before or attempt == _TRIES - 1
            ):  # no step forward: the next try would not make one either
                raise NotFetched(_reason(error)) from None
    raise AssertionError("the last try returns or raises")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause) or type(cause).__name__


def _go_on(url: str, part: Path, progress: Progress) -> str:
    """Ask for what is missing of the same version of the file; where the server has another, take that whole."""
    tag = part.with_name(f"{part.name}.tag")
    begun = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"User-Agent": "alimail", "Accept-Encoding": "identity"}
    if begun:
        headers |= {"Range": f"bytes={begun}-", "If-Range": tag.read_text("ascii", "replace")}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        part.unlink()  # it has as many octets already, or more: begin anew
        return _go_on(url, part, progress)
    with answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {begun}-"
        )
        begun = begun if goes_on else 0
        _note_version(answer, tag)
        _write(answer, part, begun, progress)
        came_by: str = answer.url
    tag.unlink(missing_ok=True)
    return came_by


def _note_version(answer: Any, tag: Path) -> None:
    version = answer.headers.get("ETag", "")
    if not version or version.startswith("W/"):  # a weak one may not be used for a part (RFC 9110 §13.1.5)
        version = answer.headers.get("Last-Modified", "")
    if version and version.isascii():
        tag.write_text(version, "ascii")
    else:
        tag.unlink(missing_ok=True)


def _write(answer: Any, part: Path, begun: int, progress: Progress) -> None:
    length = answer.headers.get("Content-Length", "")
    whole = begun + int(length) if length.isdigit() else None
    if whole is not None and whole > MAX_OCTETS:
        raise NotFetched(f"it would have {whole:,} octets: that is no installer of a plug-in")
    with part.open("r+b" if begun else "wb") as file:
        file.seek(begun)
        file.truncate()
        while piece := answer.read(_PIECE):
            begun += len(piece)
            if begun > MAX_OCTETS:
                raise NotFetched(f"it has more than {MAX_OCTETS:,} octets: that is no installer of a plug-in")
            file.write(piece)
            progress(begun, whole)
    if whole is not None and begun < whole:
        raise OSError(f"it broke off after {begun:,} of {whole:,} octets")

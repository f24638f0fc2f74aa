"""An installer is fetched from a server that breaks off, lies about sizes, or has another version meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from attrs import define, field

from alimail_core import InputError
from alimail_core.cli import main
from alimail_core.registry import Registry
from alimail_outlook.machine.download import NotFetched, fetch, name_of, plain
from alimail_outlook.machine.program import MAX_OCTETS
from tests.outlook import standin


@define
class Shelf:
    """What the server has, and how it behaves."""

    octets: bytes = b""
    version: str = '"1"'
    breaks_after: int | None = None
    """Octets of each answer after which the connection ends."""
    announced: int | None = None
    asked: list[str] = field(factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/a/plugin.exe"


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    """A server on loopback."""
    shelf = Shelf()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            shelf.asked.append(asked)
            begin = int(asked[6:-1]) if asked and self.headers.get("If-Range") == shelf.version else 0
            if begin >= len(shelf.octets) > 0:
                self.send_error(416)
                return
            rest = shelf.octets[begin:]
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header(
                    "Content-Range", f"bytes {begin}-{len(shelf.octets) - 1}/{len(shelf.octets)}"
                )
            self.send_header("ETag", shelf.version)
            self.send_header("Content-Length", str(len(rest) if shelf.announced is None else shelf.announced))
            self.end_headers()
            self.wfile.write(rest[: shelf.breaks_after])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shelf.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield shelf
    server.shutdown()
    thread.join()
    server.server_close()


def quietly(_octets: int, _whole: int | None) -> None:
    """Show nothing."""


def test_what_breaks_off_goes_on(shelf: Shelf, tmp_path: Path) -> None:
    """Each try takes up where the last one ended; the call after a failed one too."""
    shelf.octets, shelf.breaks_after = bytes(range(256)) * 1000, 70_000
    with pytest.raises(NotFetched, match="broke off after 210,000 of 256,000"):
        fetch(shelf.url, tmp_path / "p.exe", quietly)
    fetched = fetch(shelf.url, tmp_path / "p.exe", quietly)
    assert fetched.path.read_bytes() == shelf.octets
    assert shelf.asked == ["", "bytes=70000-", "bytes=140000-", "bytes=210000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["p.exe.part"]


def test_two_versions_are_never_joined(shelf: Shelf, tmp_path: Path) -> None:
    """Where the server has another file meanwhile, that is taken whole."""
    shelf.octets, shelf.breaks_after = b"old" * 50_000, 30_000
    with pytest.raises(NotFetched):
        fetch(shelf.url, tmp_path / "p.exe", quietly)
    shelf.octets, shelf.breaks_after, shelf.version = b"new" * 50_000, None, '"2"'
    assert fetch(shelf.url, tmp_path / "p.exe", quietly).path.read_bytes() == shelf.octets


def test_a_part_that_is_whole_already_is_fetched_anew(shelf: Shelf, tmp_path: Path) -> None:
    """A server that has nothing behind the part (416) is asked for all."""
    shelf.octets = b"whole"
    (tmp_path / "p.exe.part").write_bytes(b"whole")
    (tmp_path / "p.exe.part.tag").write_text(shelf.version)
    assert fetch(shelf.url, tmp_path / "p.exe", quietly).path.read_bytes() == b"whole"


def test_size_is_bounded_before_it_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    """A server that announces more than an installer can be is not listened to."""
    shelf.octets, shelf.announced = b"x", MAX_OCTETS + 1
    with pytest.raises(NotFetched, match="no installer of a plug-in"):
        fetch(shelf.url, tmp_path / "p.exe", quietly)
    assert not (tmp_path / "p.exe.part").exists()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.example/x/plug%20in.exe?a=b", "plug_in.exe"),
        ("https://a.example/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("https://a.example/", "installer.exe"),
        ("https://a.example/%E6%8F%92%E4%BB%B6.exe", "插件.exe"),
    ],
)
def test_a_name_is_harmless(url: str, name: str) -> None:
    """What a link calls the file leads into no other folder."""
    assert name_of(url) == name


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a.example/x.exe", "plugin.exe", "http://[::1", "https://a.example:99999/x"],
)
def test_other_kinds_of_links_are_refused(url: str) -> None:
    """Only https and http, with a host and a port that there can be."""
    with pytest.raises(InputError, match="no link"):
        plain(url)


def test_a_password_in_a_link_is_refused_and_not_told() -> None:
    """It would stand in what is shown and logged."""
    with pytest.raises(InputError) as caught:
        plain("https://anna:secret@a.example/x.exe")
    assert "secret" not in str(caught.value)


def test_a_link_may_be_written_as_people_write_it(
    shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With blanks and Chinese, for a folder; and nothing is fetched for a folder that is not there."""
    assert plain(" https://例子.example:444/插 件.exe?a=%20 ") == (
        "https://xn--fsqu00a.example:444/%E6%8F%92%20%E4%BB%B6.exe?a=%20"
    )
    shelf.octets, registry = b"<html>404</html>", Registry.load(only=["outlook"])
    words = ["outlook", "download", "--url", shelf.url.replace("plugin.exe", "插 件.exe"), "-o"]
    assert main([*words, str(tmp_path / "none" / "p.exe")], registry) == 2
    assert shelf.asked == []
    assert main([*words, str(tmp_path)], registry) == 2
    assert "插_件.exe is no Windows program: it looks like a web page" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_only_what_is_meant_stays(shelf: Shelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of another signer is deleted; the right one is described."""
    program = standin.sign(standin.build(tmp_path / "made"), standin.certificate(tmp_path / "signer"))
    shelf.octets, registry, target = program.read_bytes(), Registry.load(only=["outlook"]), tmp_path / "p.exe"
    words = ["outlook", "download", "--url", shelf.url, "-o", str(target), "--json", "--signer"]
    assert main([*words, "Another"], registry) == 1
    assert "signed by another" in capsys.readouterr().err
    assert not list(tmp_path.glob("p.exe*"))
    assert main([*words, standin.SIGNER], registry) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["signer"], told["kind"]) == (standin.VERSION, standin.SIGNER, "nsis")
    assert target.read_bytes() == shelf.octets
    assert main([*words, standin.SIGNER], registry) == 2, "what is there is not written over"

"""``alimail outlook addin`` on the command line: it parses, calls and draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alimail_core import Argument, Command, Fault, InputError

if TYPE_CHECKING:
    from alimail_outlook.addin.building import Site

_BUILD = """Write manifest, pane and icons of the add-in for new Outlook and Outlook on the web.

The add-in searches the organisation's address book beside a message, and adds people to To, Cc and Bcc. Outlook
loads add-ins for mailboxes on Microsoft 365, Outlook.com and Exchange alone: for an account that is set up as IMAP or
POP it loads none. Put the files on a web server with https; the manifest goes to Outlook, or to its administrators.

\b
Examples:
  alimail outlook addin build --base-url https://addin.example.com/outlook --provider "Example Ltd" -o addin
  alimail outlook addin build --base-url https://static.example.com --api https://book.example.com/api -o addin

\b
Exit code 0: written; 2: what was asked for cannot be done.
JSON: {base, api, written: [path]}
"""

_SERVE = """Serve the add-in and the search behind a login, until interrupted.

People log in with address and password of their mailbox, which the mail server of --login is asked about and nobody
keeps; only who stands in the address book gets in. --book is a csv or xlsx with the columns name, address,
department, title and phone (the console's export of employees will do); it is read anew when it changes.

\b
Examples:
  alimail outlook addin serve --book people.csv --login imap://imap.example.com
  alimail outlook addin serve --book people.csv --login imap://imap.example.com \\
    --base-url https://addin.example.com --listen 0.0.0.0:443 --certificate fullchain.pem --key privkey.pem

Without a certificate it listens on this machine alone: for a try, or behind a web server that has one.

\b
Exit code 0: it was ended; 1: the mail server cannot be reached; 2: what was asked for cannot be done.
"""

_WHERE = (
    Argument("--provider", "The organisation's name, as Outlook shows it.", default="alimail"),
    Argument("--api", "Where the search is served; by default below --base-url.", default=""),
    Argument("--outlook", "A further address of Outlook on the web, such as your Exchange's.", many=True),
)


def commands() -> list[Command]:
    """Return the group."""
    base = "The https address under which the files are served."
    build = Command(
        "build",
        _BUILD,
        _build,
        (
            Argument("--base-url", base, default=""),
            *_WHERE,
            Argument("--output", "The folder to write.", default="outlook-addin", short="-o"),
            Argument("--json", "Write one JSON document, for programs; its keys are told above.", flag=True),
        ),
    )
    serve = Command(
        "serve",
        _SERVE,
        _serve,
        (
            Argument("--book", "The address book: csv or xlsx."),
            Argument(
                "--login",
                "The mail server that knows people's passwords: imap://HOST, or imap://HOST?ca=FILE.",
            ),
            Argument("--base-url", f"{base} By default http at the address that is listened on.", default=""),
            *_WHERE,
            Argument("--listen", "Address and port.", default="127.0.0.1:8443"),
            Argument("--certificate", "Its certificate with those between, PEM.", default=""),
            Argument("--key", "The certificate's key, PEM.", default=""),
        ),
    )
    what = "An add-in for new Outlook and the web: the organisation's address book beside a message."
    return [Command("addin", what, commands=[build, serve])]


def _build(arguments: dict[str, Any]) -> int:
    from alimail_core.commands import say, write_json
    from alimail_outlook.addin.building import build

    site = _site(arguments, arguments["--base-url"])
    written = build(site, Path(arguments["--output"]))
    if arguments["--json"]:
        write_json({"base": site.base, "api": site.api, "written": [str(path) for path in written]})
    else:
        say(
            *(f"written: {path}" for path in written),
            f"Serve them at {site.base}/ with this header, which keeps others from framing the pane:",
            f"  Content-Security-Policy: {site.headers['Content-Security-Policy']}",
            f"Then give Outlook {site.base}/manifest.xml. The search is expected at {site.api}/.",
        )
    return 0


def _serve(arguments: dict[str, Any]) -> int:
    for module in ("starlette", "uvicorn"):
        if importlib.util.find_spec(module) is None:
            raise InputError(f"{module} is not installed", remedy='pip install "alimail-outlook[serve]"')
    import uvicorn

    from alimail_core import Clock, Registry
    from alimail_core.commands import say
    from alimail_outlook.addin.building import LOOPBACK
    from alimail_outlook.addin.login import mail_server
    from alimail_outlook.addin.server import application
    from alimail_outlook.addressbook.book import Book

    host, port = _listen(arguments["--listen"])
    tls = _tls(arguments["--certificate"], arguments["--key"])
    if not tls and host not in LOOPBACK:
        remedy = "give --certificate and --key, or listen on 127.0.0.1 behind a web server that has one"
        raise InputError(
            "no certificate", [Fault("--listen", "passwords would cross a network in clear", remedy)]
        )
    shown = f"[{host}]" if ":" in host else host
    site = _site(arguments, arguments["--base-url"] or f"http{'s' if tls else ''}://{shown}:{port}")
    clock = Clock()
    book = Book(Path(arguments["--book"]), clock)
    check = mail_server(arguments["--login"], Registry.load(), clock)
    say(
        f"people in the book: {len(book):,}; the pane: {site.base}/pane.html, for Outlook: {site.base}/manifest.xml"
    )
    app = application(site, book, check, clock)
    # uvicorn's line for each request would have what people search for in it.
    quiet: dict[str, Any] = {"access_log": False, "log_level": "warning", "server_header": False}
    uvicorn.run(app, host=host, port=port, ws="none", lifespan="off", **quiet, **tls)
    return 0


def _site(arguments: dict[str, Any], base: str) -> Site:
    from alimail_outlook.addin.building import Site

    return Site.of(base, arguments["--api"], arguments["--provider"], arguments["--outlook"])


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            "nowhere to listen", [Fault("--listen", "it is no address and port", "write 127.0.0.1:8443")]
        )
    return host.strip("[]"), int(port)


def _tls(certificate: str, key: str) -> dict[str, Any]:
    """Return what uvicorn is told. Raises ``InputError`` where the files are not a certificate and its key."""
    import ssl

    if not certificate and not key:
        return {}
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key or None)
    except FileNotFoundError:
        raise InputError("no certificate", [Fault("--certificate", "it or its key is not there")]) from None
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = f"it is no certificate with its key: {error}"
        raise InputError("no certificate", [Fault("--certificate", f"{certificate}: {why}")]) from None
    return {"ssl_certfile": certificate, "ssl_keyfile": key or None}

"""What a web server has to give to Outlook: the manifest, the pane, its icons, and the headers that go with them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from alimail_core import Fault, InputError
from alimail_outlook.addin.icons import icon
from alimail_outlook.addin.manifest import ICON_SIZES, manifest

OFFICE_JS: Final = "https://appsforoffice.microsoft.com"
"""The only place elsewhere that the pane loads from: Microsoft wants Office.js from there and no copy of it."""

OFFICE_JS_NEEDS: Final = "https://ajax.aspnetcdn.com/ajax/"
"""Where Office.js itself loads MicrosoftAjax.js from, without which it does not start
(https://github.com/OfficeDev/office-js/issues/4131)."""

OUTLOOK: Final = (
    "https://outlook.office.com",
    "https://outlook.office365.com",
    "https://outlook.live.com",
    "https://outlook.cloud.microsoft",
)
"""Where Outlook on the web and new Outlook come from, and so what may frame the pane."""

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

_PAGES: Final = ("pane.html", "pane.css", "pane.js", "words.js", "help.html")


@frozen
class Site:
    """Where the files and the search are to be: URLs without a slash at their end."""

    base: str
    api: str
    provider: str
    outlook: tuple[str, ...] = OUTLOOK

    @classmethod
    def of(cls, base: str, api: str, provider: str, outlook: Iterable[str] = ()) -> Site:
        """Make one of what was given. Raises ``InputError`` with all faults."""
        faults: list[Fault] = []
        base = _url("--base-url", base, faults)
        api = _url("--api", api, faults) if api else f"{base}/api"
        further = tuple(_origin(_url("--outlook", each, faults)) for each in outlook)
        if not 0 < len(provider) <= 125 or not provider.isprintable():
            faults.append(
                Fault("--provider", "it is empty, longer than 125 characters or has control characters")
            )
        if faults:
            raise InputError("no add-in can be made of this", faults)
        return cls(base, api, provider, (*OUTLOOK, *further))

    @property
    def origin(self) -> str:
        """Return scheme and host of the files, as browsers name them."""
        return _origin(self.base)

    @property
    def policy(self) -> str:
        """Return the content security policy that can stand in the page; ``frame-ancestors`` needs a header."""
        return (
            f"default-src 'none'; script-src 'self' {OFFICE_JS} {OFFICE_JS_NEEDS}; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {_origin(self.api)}; base-uri 'none'; form-action 'none'"
        )

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that every file wants."""
        return {
            "Content-Security-Policy": f"{self.policy}; frame-ancestors 'self' {' '.join(self.outlook)}",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }


def site_files(site: Site) -> Mapping[str, bytes]:
    """Return every file by its name."""
    pane = files("alimail_outlook.addin") / "pane"
    values = {
        "@API@": site.api,
        "@POLICY@": site.policy,
        "@OFFICE_JS@": OFFICE_JS,
        "@PROVIDER@": site.provider,
    }
    made = {"manifest.xml": manifest(site.base, site.provider)}
    for name in _PAGES:
        text = pane.joinpath(name).read_text("utf-8")
        if name.endswith(".html"):
            for mark, value in values.items():
                text = text.replace(mark, html.escape(value))
        made[name] = text.encode()
    return made | {f"icon-{size}.png": icon(size) for size in ICON_SIZES}


def build(site: Site, folder: Path) -> list[Path]:
    """Write every file into a folder, which is made; return their paths. Raises ``InputError``."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, octets in site_files(site).items():
            (folder / name).write_bytes(octets)
            written.append(folder / name)
    except OSError as error:
        raise InputError(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    return written


def _url(option: str, text: str, faults: list[Fault]) -> str:
    """Return a URL in its plain form; note a fault where Outlook or a policy could not use it."""
    remedy = "write it as https://addin.example.com/outlook"
    if not text:
        faults.append(Fault(option, "none is given", remedy))
        return ""
    try:
        parts = urlsplit(text.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        faults.append(Fault(option, "it is no URL", remedy))
        return ""
    plain = (
        host.replace("-", "").replace(".", "").isascii() and host.replace("-", "").replace(".", "").isalnum()
    )
    if not plain and host != "::1":
        faults.append(Fault(option, "it has no host, or one with odd characters", remedy))
    if parts.scheme != "https" and (parts.scheme != "http" or host not in LOOPBACK):
        faults.append(Fault(option, "it does not begin with https://, which Outlook wants", remedy))
    if parts.username is not None or parts.query or parts.fragment or set(parts.path) & set("\"'<>;, \\"):
        faults.append(Fault(option, "it has more than scheme, host, port and a plain path", remedy))
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

"""What an administrator can say of Alibaba Mail; ``alimail plugins show alimail`` prints these texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from attrs import frozen

from alimail_core import option
from alimail_imap.options import ImapOptions

HOSTS: Mapping[str, str] = {
    "cn": "imap.qiye.aliyun.com",
    "hk": "imap.hk.aliyun.com",
    "sg": "imap.sg.aliyun.com",
    "de": "imap.de.alibabacloud.com",
    "us": "imap.us.alibabacloud.com",
    "personal": "imap.aliyun.com",
}
"""The IMAP host of each site."""

FORBIDDEN = "+*\\/"
"""What Alibaba's own migration stumbles over in a folder's name; each is spelt reversibly."""


@frozen
class AlibabaOptions:
    """Where the mailboxes are; the login name is always the whole address."""

    region: Literal["cn", "hk", "sg", "de", "us", "personal"] = option(
        "The site that the organisation's mail was bought at: `cn` China mainland, `hk` Hong Kong, `sg` Singapore, "
        "`de` Germany, `us` United States, or `personal` for addresses of aliyun.com.",
        default="cn",
    )
    host: str | None = option("Another IMAP server than the region's, such as a private one.", default=None)
    port: int | None = option("The port. By default 993 with implicit TLS, otherwise 143.", default=None)
    tls: Literal["implicit", "none"] = option(
        "`implicit`: TLS from the first octet (RFC 8314), as Alibaba Mail has it; `none`: no encryption at all.",
        default="implicit",
    )
    allow_plaintext_login: bool = option(
        "With `tls = none`, send the password in clear over a network. Not needed on this machine's loopback.",
        default=False,
    )
    ca: Path | None = option(
        "A PEM file of the certificates to trust instead of the system's, for a server of your own.",
        default=None,
    )
    timeout: float = option(
        "Seconds without one octet after which a connection counts as lost.", default=180.0
    )
    max_connections: int = option(
        "The most connections at once, over all accounts. Alibaba does not tell how many it bears: raise it "
        "while it goes well.",
        default=20,
    )
    append_connections: int = option(
        "The most connections that one mailbox is written over: each message waits for the server, and so they wait "
        "side by side. How many pay is found out. With `1`, messages keep their order (`order = strict`).",
        default=20,
    )
    max_message_octets: int = option(
        "The largest message to send; a larger one is named in the report. Alibaba does not tell its limit "
        "(attachments of about 50 MB are commonly told), so by default nothing is withheld that it might take, and "
        "its own refusal is recorded.",
        default=128 * 1024 * 1024,
    )

    def __attrs_post_init__(self) -> None:
        """Refuse what the IMAP plug-in would refuse."""
        self.imap()

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and port to connect to."""
        return self.imap().address

    def imap(self) -> ImapOptions:
        """Return the same wishes as the IMAP plug-in takes them."""
        return ImapOptions(
            host=self.host or HOSTS[self.region],
            port=self.port,
            tls=self.tls,
            allow_plaintext_login=self.allow_plaintext_login,
            ca=self.ca,
            timeout=self.timeout,
            auth="login",
            max_connections=self.max_connections,
            append_connections=self.append_connections,
            forbidden=FORBIDDEN,
            max_message_octets=self.max_message_octets,
        )

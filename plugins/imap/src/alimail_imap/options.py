"""What an administrator can say of an IMAP server; ``alimail plugins show imap`` prints these texts."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from alimail_core import ServerOptions, option


@frozen
class ImapOptions(ServerOptions):
    """The options of one IMAP server, the same for a source and for a sink."""

    implicit_port = 993
    cleartext_port = 143
    service = "imap"
    usual_names = ("imap", "mail")

    auth: Literal["auto", "login", "plain", "xoauth2"] = option(
        "How to log in. `auto` takes SASL PLAIN where the server offers it and it is needed, otherwise LOGIN. "
        "With `xoauth2` the account's secret is an access token.",
        default="auto",
    )
    master_user: str | None = option(
        "Log in as this administrator on behalf of each account (SASL PLAIN with an authorisation identity); "
        "the accounts' secret is then the administrator's password.",
        default=None,
    )
    max_connections: int | None = option(
        "The most connections that this server bears at once, over all accounts. Where it is not told, one mailbox "
        "is written over eight at most.",
        default=None,
    )
    append_connections: int = option(
        "The most connections that one mailbox is written over: three, and more where the server has no LITERAL+ and "
        "so makes each message wait. How many pay is found out. With `1`, messages keep their order "
        "(`order = strict`).",
        default=16,
    )
    folder_prefix: str | None = option(
        "What stands before every folder's name, such as `INBOX.`. By default the server is asked (NAMESPACE).",
        default=None,
    )
    forbidden: str = option("Characters that this server cannot have in a folder's name.", default="")
    max_name_octets: int = option(
        "The longest name of a folder, in octets on the wire; longer ones are shortened. Few servers take 255.",
        default=200,
    )
    max_message_octets: int | None = option(
        "The largest message that this server takes. By default the server is asked (APPENDLIMIT).",
        default=None,
    )
    gmail_labels: Literal["one", "all"] = option(
        "Where a server has labels (X-GM-EXT-1), a message that stands in several folders is carried `one` time, "
        "in the most specific of them, or in `all` of them. With `one`, a folder that is left out of the migration "
        "leaves out the messages that it owns.",
        default="one",
    )

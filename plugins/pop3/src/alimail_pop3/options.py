"""What an administrator can say of a POP3 server; ``alimail plugins show pop3`` prints these texts."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from alimail_core import ServerOptions, option


@frozen
class Pop3Options(ServerOptions):
    """The options of one POP3 server."""

    implicit_port = 995
    cleartext_port = 110
    service = "pop3"
    usual_names = ("pop3", "pop", "mail")

    auth: Literal["auto", "user", "apop", "plain", "xoauth2"] = option(
        "How to log in. `auto` takes APOP where the connection is not encrypted and the server offers it, SASL PLAIN "
        "where it is offered and needed, otherwise USER and PASS (`user`). With `xoauth2` the account's secret is an "
        "access token.",
        default="auto",
    )
    master_user: str | None = option(
        "Log in as this administrator on behalf of each account (SASL PLAIN with an authorisation identity); "
        "the accounts' secret is then the administrator's password.",
        default=None,
    )
    max_connections: int | None = option(
        "The most connections that this server bears at once, over all accounts.", default=None
    )
    mark_seen: Literal["old", "all", "none"] = option(
        "POP3 does not tell what was read. `old` marks as read what arrived more than `unread_days` before it is "
        "carried, so that nobody begins with years of unread mail; `all` and `none` mark all or nothing. What is "
        "in the target already, or was carried, is never marked later.",
        default="old",
    )
    unread_days: float = option(
        "With `mark_seen = old`: how many days back a message still arrives as unread.", default=14.0
    )

    def __attrs_post_init__(self) -> None:
        """Refuse a wish for the future."""
        if self.unread_days < 0:
            raise ValueError("'unread_days' must not be negative")

"""What an administrator can say of an Exchange server; ``alimail plugins show ews`` prints these texts."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from alimail_core import ServerOptions, option


@frozen
class EwsOptions(ServerOptions):
    """The options of one Exchange server."""

    implicit_port = 443
    cleartext_port = 80

    url_path: str = option("Where Exchange Web Services answer on that server.", default="/EWS/Exchange.asmx")
    auth: Literal["auto", "ntlm", "basic", "kerberos", "oauth"] = option(
        "How to log in. `auto` takes NTLM where the server offers it, otherwise Basic. With `oauth` the secret is an "
        "access token, such as a command prints it; with `kerberos` the ticket of this machine's user counts "
        '(`pip install "alimail-ews[kerberos]"`).',
        default="auto",
    )
    master_user: str | None = option(
        "Log in as this service account on behalf of each account, such as `OLD\\superman` or "
        "`superman@old.example`; the accounts' secret is then its password.",
        default=None,
    )
    mailbox: str | None = option(
        "The primary address of the mailbox to open, where it is not that of the user; for `alimail copy`, whose "
        "URL names the service account as the user.",
        default=None,
    )
    access: Literal["impersonation", "delegate"] = option(
        "How a service account gets into the mailboxes of others: by the right to impersonate them, or as a "
        "`delegate` with FullAccess to each. Who opens his own mailbox needs neither.",
        default="impersonation",
    )
    max_connections: int = option(
        "The most connections that this server bears at once, over all accounts: MaxConcurrentApi.",
        default=100,
    )
    mailbox_connections: int = option("The most connections that one mailbox is read over.", default=3)
    archive_folder: str | None = option(
        "Bring the archive mailbox as well, beneath a folder of this name. By default it stays.", default=None
    )
    public_folder: str | None = option(
        "Bring the public folders as well, beneath a folder of this name. They belong to nobody, so one account "
        "brings them: the one that `public_folder_account` names.",
        default=None,
    )
    public_folder_account: str | None = option(
        "Who brings the public folders: the account with this address, in whose target they then stand, and with "
        "whose rights they are read. The roster must have it.",
        default=None,
        account=True,
    )

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.tls == "starttls":
            raise ValueError("'tls' cannot be starttls: EWS has TLS from the first octet (implicit)")
        if not self.url_path.startswith("/"):
            raise ValueError("'url_path' must begin with /")
        for name in ("max_connections", "mailbox_connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' must be at least 1")
        if (self.public_folder is None) is not (self.public_folder_account is None):
            raise ValueError(
                "'public_folder' and 'public_folder_account' are said together: where to, and by whom"
            )

    @property
    def needs_secret(self) -> bool:
        """With a ticket nobody is asked for a password."""
        return self.auth != "kerberos"

    @property
    def url(self) -> str:
        """Return where requests go."""
        host, port = self.address
        scheme, usual = ("http", 80) if self.tls == "none" else ("https", 443)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{scheme}://{host}{'' if port == usual else f':{port}'}{self.url_path}"

    def brings_public_folders(self, user: str) -> bool:
        """Tell whether the account that logs in as this user, or is opened in its name, brings the public folders."""
        account = self.public_folder_account
        return account is not None and account.casefold() == (self.mailbox or user).casefold()

    @property
    def connections(self) -> int:
        """Return how many connections one mailbox is read over."""
        return min(self.mailbox_connections, self.max_connections)

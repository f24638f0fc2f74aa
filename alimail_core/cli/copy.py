"""``alimail copy``: one mailbox, without a configuration file."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from alimail_core.cli import options
from alimail_core.cli.answer import prove
from alimail_core.cli.carry import Looks, carry
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, say
from alimail_core.errors import Fault, InputError

if TYPE_CHECKING:
    from alimail_core.secrets import Secret
    from alimail_core.spec import Endpoint, MigrationSpec

T = TypeVar("T")


def copy(
    context: typer.Context,
    source_url: Annotated[str, typer.Argument(metavar="SOURCE_URL", help="Where the mail is.")],
    target_url: Annotated[str, typer.Argument(metavar="TARGET_URL", help="Where it goes.")],
    source_secret: options.SecretReference = None,
    target_secret: options.SecretReference = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Where it is kept what was copied. Default: a file for these two addresses in your state directory.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Then read every message back and compare.")
    ] = False,
    refill: Annotated[
        bool,
        typer.Option("--refill", help="Also copy again what was carried and is not in the target any more."),
    ] = False,
    quiet: options.Quiet = False,
    plain: options.Plain = False,
    log: options.Log = None,
) -> int:
    """Copy one mailbox. Run the same command again for what is new since: nothing is copied twice.

    \b
    Examples:
      alimail copy imap://anna%40old.example@mail.old.example alimail://anna@new.example
      alimail copy "imap://anna@10.0.0.5:143?tls=starttls&ca=old-ca.pem" "alimail://anna@new.example?region=sg"
      alimail copy --source-secret env:OLD --target-secret file:new.txt --verify \\
          imap://anna%40old.example@mail.old.example alimail://anna@new.example

    \b
    URLs: KIND://USER@HOST:PORT?OPTION=VALUE. A user with an @ in it is written with %40, except in alimail URLs,
    where the address is the user. `alimail plugins list` names the kinds, `alimail plugins show KIND` its options.
    Port and encryption are found by trying where a URL does not tell them (?tls=auto): the best that the server has.
    Quote a URL with ? or & in it, or your shell reads it.
    """
    frame = Frame.of(context)
    spec = one_mailbox(frame, source_url, target_url, (source_secret, target_secret), ledger)
    # Whoever calls again wants the rest: what was refused is offered again.
    code = carry(frame, spec, Looks(quiet, plain, log), refill=refill, retry=True).exit_code
    if verify and code in (0, 3):
        proven = prove(frame, spec, full=True, quiet=quiet, plain=plain)
        return 1 if proven == 1 else max(code, proven)
    if code > 128:
        complain("Interrupted between two batches; nothing is lost. The same command again goes on.")
    elif not quiet:
        say(_next_step(code))
    return code


def _next_step(code: int) -> str:
    match code:
        case 0:
            return "Next: the same command again brings what is new since; with --verify it proves what is there."
        case 3:
            return "Not all of it could be carried. The same command again tries the rest; --verify names it."
        case _:
            return "It could not go on; see above. Mend that, and the same command again goes on from there."


def one_mailbox(
    frame: Frame,
    source_url: str,
    target_url: str,
    secrets: tuple[str | None, str | None],
    ledger: Path | None = None,
) -> MigrationSpec:
    """Make a migration of one account from two URLs; nothing is opened. Raises ``InputError``."""
    from alimail_core.contract import needs_secret
    from alimail_core.sameness import is_own_target
    from alimail_core.spec import AccountSpec, MigrationSpec
    from alimail_core.urls import parse_url

    (source, source_user), (target, target_user) = _both(
        lambda: parse_url(source_url, frame.registry, "source"),
        lambda: parse_url(target_url, frame.registry, "target"),
    )
    _refuse_others(source, source_user)
    source_address, target_address = _address(source, source_user), _address(target, target_user)
    reads, writes = frame.registry.source(source.kind), frame.registry.sink(target.kind)
    source_secret, target_secret = _both(
        lambda: _secret(
            secrets[0],
            f"source {source_address}{_opener(source, source_user)}",
            needed=needs_secret(reads, source.options),
        ),
        lambda: _secret(
            secrets[1],
            f"target {target_address}{_opener(target, target_user)}",
            needed=needs_secret(writes, target.options),
        ),
    )
    account = AccountSpec(
        source_address,
        target_address,
        source,
        target,
        source_user,
        target_user,
        source_secret,
        target_secret,
    )
    if is_own_target(account):
        raise InputError(
            f"{account}: the target is the source itself, the same user on the same server",
            remedy="Name another mailbox as the target.",
        )
    path = ledger or default_ledger(source_address, target_address)
    return MigrationSpec(f"copy {source_address} {target_address}", str(path), (account,), workers=1)


def _refuse_others(source: Endpoint, user: str) -> None:
    """Refuse an option that is for another mailbox than this one: what it alone brings would stay, unsaid."""
    from alimail_core.structure import accounts_named

    opened = str(getattr(source.options, "mailbox", None) or user)
    for name, account in accounts_named(source.options).items():
        if account.casefold() != opened.casefold():
            raise InputError(
                f"{name} is {account}, and the mailbox that is copied is {opened}",
                remedy="Copy that account's mailbox, or leave the option out.",
            )


def _both(source: Callable[[], T], target: Callable[[], T]) -> tuple[T, T]:
    """Return what both sides say. Raises ``InputError`` with the faults of both: one mistake is often made twice."""
    try:
        first = source()
    except InputError as error:
        try:
            target()
        except InputError as other:
            raise InputError("neither side can be used", [*error.faults, *other.faults]) from None
        raise
    return first, target()


def default_ledger(source_address: str, target_address: str) -> Path:
    """Return where the ledger of a pair of addresses is kept: readable, safe as a file name, one for each pair."""
    from platformdirs import user_state_path

    pair = f"{source_address}\0{target_address}".encode()
    words = [
        re.sub(r"[^A-Za-z0-9@._+-]", "_", each)[:60].strip(".") for each in (source_address, target_address)
    ]
    name = f"{'--'.join(words)}-{hashlib.sha256(pair).hexdigest()[:12]}.ledger"
    return user_state_path("alimail", appauthor=False) / "copies" / name


def _address(endpoint: Endpoint, user: str) -> str:
    """Return who a mailbox belongs to: the user, at its host where the user is no address; domains in lower case.

    Where a service account opens the mailbox of somebody else, that one is named by the option ``mailbox``.
    """
    user = getattr(endpoint.options, "mailbox", None) or user
    local, at, domain = user.rpartition("@")
    if not at:
        local, domain = user, str(getattr(endpoint.options, "host", "") or endpoint.kind)
    return f"{local}@{domain.lower()}"


def _opener(endpoint: Endpoint, user: str) -> str:
    """Say who opens a mailbox that is not their own: it is their password that is asked for."""
    master: str | None = getattr(endpoint.options, "master_user", None)
    opener = master or (user if getattr(endpoint.options, "mailbox", None) else "")
    return f", opened by {opener}" if opener else ""


def _secret(reference: str | None, whose: str, *, needed: bool) -> Secret:
    from alimail_core.secrets import NO_SECRET, parse_secret

    if reference is None and not needed:
        return NO_SECRET
    if reference is None and not sys.stdin.isatty():
        what = "there is no password, and no terminal to ask on"
        option = f"--{whose.partition(' ')[0]}-secret"
        remedy = f"say where it is, such as {option} env:NAME or {option} file:PATH"
        raise InputError("not every password can be had", [Fault(whose, what, remedy)])
    return parse_secret(reference or "prompt", label=whose)

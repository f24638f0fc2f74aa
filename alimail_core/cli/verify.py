"""``alimail verify``: is it all there?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.answer import prove
from alimail_core.cli.carry import ask_secrets, matching
from alimail_core.cli.frame import Frame
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.spec import MigrationSpec


def verify(
    context: typer.Context,
    source_url: Annotated[
        str | None, typer.Argument(metavar="SOURCE_URL", help="With --independent: where the mail was.")
    ] = None,
    target_url: Annotated[
        str | None, typer.Argument(metavar="TARGET_URL", help="And where it is now.")
    ] = None,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    independent: Annotated[
        bool,
        typer.Option("--independent", help="Compare the two mailboxes afresh, without the ledger."),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Read every message back from the target and compare its octets.")
    ] = False,
    api: Annotated[
        bool,
        typer.Option(
            "--api",
            help="Compare the ledger with the counts that the service of [provision] tells, without IMAP.",
        ),
    ] = False,
    source_secret: options.SecretReference = None,
    target_secret: options.SecretReference = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    plain: options.Plain = False,
) -> int:
    """Answer "is it all there?": list both sides afresh and hold them against each other.

    Without --full, keys, sizes and flags are compared; with it, every octet is read back. Both sides stay as they
    are; the proof is kept for `alimail report`.

    With --independent the ledger is not asked, and whatever has filled the target may be held against the source:
    the mailboxes of the configuration, or two that are named by URLs, as for `alimail copy`.

    \b
    Examples:
      alimail verify
      alimail verify --full
      alimail verify --full --only anna@old.example --json > anna.json
      alimail verify --full --wave 1
      alimail verify --api                 # one more witness, which asks no mail server
      alimail verify --independent
      alimail verify --independent --full imap://anna%40old.example@mail.old.example alimail://anna@new.example

    \b
    Each message in the source now is proven (in the target, as it was carried), or one of these:
      missing      the target said that it has it, and it is not there
      changed      one side holds another content now than was carried
      pending      not carried yet
      quarantined  the target will not take it, or the source not give it
    and, which is no fault:
      altered      the target stores other octets than it was sent; what a reader sees is the same
      moved        moved or removed in the target since, by its user
      merged       the target keeps it and an identical message as one
      collapsed    not carried by wish: identical to another one
      left out     not carried by wish: the filter in [messages], as it is now, does not want it
    Extra is what others have put into the target.

    \b
    With --independent a message is known by Message-ID, Date, From and Subject, with --full by its octets. It is the
    same, or altered, moved (in another folder), collapsed, left out; or missing, changed (another content under its
    Message-ID) or unreadable. Extra is what only the target has; other flags and dates are told. Each is named by
    folder, date, size and Message-ID, never by its subject. Nothing is kept for the report.

    \b
    With --api the provisioner of [provision] tells how many messages each folder has by the service's own books.
    Fewer than were carried is a fault; more is not, since mail goes on arriving.

    \b
    Exit code 0: all there; 3: something is not, and is named; 1: an account could not be looked at.
    JSON: {complete, full, accounts: [{account, target_address, complete, failed, root, remarks: [{level,
           text, remedy}], folders: [{source, target, messages, octets, proven, altered, moved, collapsed,
           left_out, quarantined, pending, missing, changed, merged, extra, gone, flags_changed, flags_pending,
           root, lost, findings: [{kind, key, target, text}]}]}]}
    JSON with --api: {complete, accounts: [{source_address, target_address, reason, folders: [{name, carried,
           told}]}]}
    JSON with --independent: {complete, full, accounts: [{account, target_address, complete, failed, at, remarks:
           [{level, text, remedy}], folders: [{target, sources, exists, messages, octets, there, same, altered,
           moved, collapsed, left_out, missing, changed, unreadable, extra, flags, dates, mismatches: [{kind,
           source, target, date, size, message_id, text}]}]}]}
    """
    from alimail_core import choice

    frame = Frame.of(context)
    spec = _two_mailboxes(frame, source_url, target_url, (source_secret, target_secret), independent)
    spec = choice.some(spec or frame.load(config), only, wave)
    if api:
        from alimail_core.cli.counts import count
        from alimail_core.config.load import load_provision
        from alimail_core.provisioning.organisation import Organisation

        if full or independent:
            raise InputError("--api counts, and reads nothing", remedy="Leave out --full and --independent.")
        organisation = Organisation(load_provision(config, frame.registry), frame.registry, frame.clock)
        return count(frame, organisation, spec, search=search, json=json, quiet=quiet)
    ask_secrets(matching(spec, search))
    return prove(
        frame, spec, full=full, independent=independent, search=search, json=json, quiet=quiet, plain=plain
    )


def _two_mailboxes(
    frame: Frame,
    source_url: str | None,
    target_url: str | None,
    secrets: tuple[str | None, str | None],
    independent: bool,
) -> MigrationSpec | None:
    """Return a migration of the two mailboxes named; ``None``: none are named. Raises ``InputError``."""
    from alimail_core.cli.copy import one_mailbox

    if source_url is None and secrets == (None, None):
        return None
    if source_url is None or target_url is None or not independent:
        raise InputError(
            "two URLs, and a secret for them, go with --independent",
            remedy="alimail verify --independent SOURCE_URL TARGET_URL --source-secret REF --target-secret REF",
        )
    return one_mailbox(frame, source_url, target_url, secrets)

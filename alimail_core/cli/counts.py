"""``alimail verify --api``: the service's own books against the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alimail_core.cli.carry import matching
from alimail_core.cli.output import MANY, count_text, plain, say, table, write_json

if TYPE_CHECKING:
    from alimail_core.cli.frame import Frame
    from alimail_core.provisioning.organisation import Organisation
    from alimail_core.spec import MigrationSpec


def count(
    frame: Frame,
    organisation: Organisation,
    spec: MigrationSpec,
    *,
    search: str = "",
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Ask the provisioner and show what differs; return the exit code."""
    from alimail_core.counts import count_mail
    from alimail_core.ledger import Ledger

    organisation.opener()
    ledger = Ledger.open(spec.ledger, spec.name, frame.clock, create=False)
    try:
        counted = list(count_mail(organisation, matching(spec, search), ledger))
    finally:
        ledger.close()
    bad = [each for each in counted if not each.good]
    if json:
        write_json({"complete": not bad, "accounts": [plain(each) for each in counted]})
        return 3 if bad else 0
    carried, told = sum(each.carried for each in counted), sum(each.told for each in counted)
    accounts = count_text(len(counted), "account")
    say(
        f"The service counts {told:,} where {count_text(carried, 'message')} of {accounts} were carried"
        f"{f', and fewer in {len(bad):,} of them' if bad else ': none is missing in its books'}."
    )
    shown = bad if len(counted) > MANY else counted
    if shown and not quiet:
        rows = [
            (each.target_address, folder.name, folder.carried, folder.told, "FEWER" if folder.short else "")
            for each in shown
            for folder in each.folders
        ]
        table(("Account", "Folder", "Carried", "Counted", ""), rows)
    say(*(f"{each.target_address}: {each.reason}" for each in bad if each.reason))
    return 3 if bad else 0

"""What this distribution registers with alimail: the kind ``alimail``, a provisioner.

What opens it is imported when it is needed, because every command loads every plug-in.
"""

from __future__ import annotations

from alimail_core import Clock, Provisioner, ProvisionerKind, hookimpl
from alimail_directory.options import ApiOptions


@hookimpl
def alimail_provisioners() -> list[ProvisionerKind[ApiOptions]]:
    """Register the Open Platform API as a provisioner."""
    summary = "An organisation of Alibaba Mail, by its Open Platform API."
    return [ProvisionerKind("alimail", summary, ApiOptions, _open)]


def _open(options: ApiOptions, clock: Clock) -> Provisioner:
    from alimail_directory.provisioner import open_provisioner

    return open_provisioner(options, clock)

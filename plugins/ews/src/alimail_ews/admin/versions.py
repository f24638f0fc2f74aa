"""The versions of Exchange that can be prepared, and in what they differ.

Sources, of Microsoft's own pages: impersonation in 2007
(https://learn.microsoft.com/previous-versions/office/developer/exchange-server-2007/bb204095(v=exchg.80)) and since
(https://learn.microsoft.com/exchange/client-developer/exchange-web-services/how-to-configure-impersonation),
throttling policies in 2010 (https://learn.microsoft.com/previous-versions/office/exchange-server-2010/dd351045(v=exchg.141))
and since (https://learn.microsoft.com/powershell/module/exchangepowershell/new-throttlingpolicy).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

_PARAMETERS_2010: Final = (
    "RCAMaxConcurrency",
    "RCAPercentTimeInAD",
    "RCAPercentTimeInCAS",
    "RCAPercentTimeInMailboxRPC",
    "EWSMaxConcurrency",
    "EWSPercentTimeInAD",
    "EWSPercentTimeInCAS",
    "EWSPercentTimeInMailboxRPC",
    "EWSMaxSubscriptions",
    "EWSFastSearchTimeoutInSeconds",
    "EWSFindCountLimit",
    "CPUStartPercent",
)
"""The twelve that lift what an EWS client meets, without those of CPA, which came with SP1."""

_PARAMETERS_SINCE: Final = (
    "RCAMaxConcurrency",
    "EWSMaxConcurrency",
    "EWSMaxSubscriptions",
    "CPAMaxConcurrency",
    "EwsCutoffBalance",
    "EwsMaxBurst",
    "EwsRechargeRate",
)


@frozen
class Version:
    """One version of Exchange, as far as it is prepared differently from the others."""

    name: str
    product: str
    throttling: tuple[str, ...]
    """The parameters of a policy that are lifted; none: this version has no policies."""
    lifted: str = "Unlimited"
    """The value that lifts a limit. ``$null`` means "no limit" in 2010 and nothing in the versions since."""
    rbac: bool = True
    """Impersonation is a management role, which a scope can narrow; otherwise a right in Active Directory."""
    old_association: bool = False
    """Before its SP1 a policy is applied by ``Set-Mailbox`` alone."""
    one_role: bool = True
    """Every Exchange server takes EWS; until 2013 those with the role Client Access do."""
    auto_mapping: bool = True
    """FullAccess opens the mailbox in the account's Outlook unless ``-AutoMapping`` says otherwise."""


VERSIONS: Final[Mapping[str, Version]] = {
    version.name: version
    for version in (
        Version("2007", "Exchange Server 2007", (), rbac=False, one_role=False, auto_mapping=False),
        Version(
            "2010",
            "Exchange Server 2010",
            _PARAMETERS_2010,
            lifted="$null",
            old_association=True,
            one_role=False,
            auto_mapping=False,
        ),
        Version("2013", "Exchange Server 2013", _PARAMETERS_SINCE, one_role=False),
        Version("2016", "Exchange Server 2016", _PARAMETERS_SINCE),
        Version("2019", "Exchange Server 2019", _PARAMETERS_SINCE),
        Version("se", "Exchange Server Subscription Edition", _PARAMETERS_SINCE),
    )
}

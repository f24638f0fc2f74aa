"""What plug-in authors test with: the contract's suites, ends in memory, faults, a clock, odd mail.

``SourceContract``, ``SinkContract``, ``ProvisionerContract`` and ``ExecutorContract`` try every promise of
``alimail_core.contract``; ``MemorySource``, ``MemorySink`` and ``MemoryProvisioner`` keep them. ``FaultProxy`` stands
before a real IMAP server and breaks what it is told to. Install ``alimail[testing]``.
"""

import sys

# A suite's failures are told as well as those of a test file, as long as it is registered before its import.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        "alimail_core.testing.asking",
        "alimail_core.testing.executor_contract",
        "alimail_core.testing.source_contract",
        "alimail_core.testing.sink_contract",
        "alimail_core.testing.provisioner_contract",
    )

from alimail_core.testing.asking import Mail
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.directories import FaultingProvisioner, MemoryDirectory, MemoryProvisioner
from alimail_core.testing.executor_contract import ExecutorContract
from alimail_core.testing.faultproxy import FaultProxy, Moment, WireFault
from alimail_core.testing.faults import (
    Countdown,
    FaultingSink,
    FaultingSource,
    FaultKind,
    Killed,
    countdowns,
)
from alimail_core.testing.mail import message, odd_messages, odd_names, sound_messages
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource, MemoryTraits
from alimail_core.testing.provisioner_contract import ProvisionerContract
from alimail_core.testing.sink_contract import SinkContract
from alimail_core.testing.source_contract import SourceContract, needs

__all__ = [
    "Countdown",
    "ExecutorContract",
    "FakeClock",
    "FaultKind",
    "FaultProxy",
    "FaultingProvisioner",
    "FaultingSink",
    "FaultingSource",
    "Killed",
    "Mail",
    "MemoryDirectory",
    "MemoryMailbox",
    "MemoryProvisioner",
    "MemorySink",
    "MemorySource",
    "MemoryTraits",
    "Moment",
    "ProvisionerContract",
    "SinkContract",
    "SourceContract",
    "WireFault",
    "countdowns",
    "message",
    "needs",
    "odd_messages",
    "odd_names",
    "sound_messages",
]

"""``alimail exchange``: prepare the old server, turn its export into a roster, and check it. For administrators.

What opens servers and reads files is imported when a verb runs, because every command loads every plug-in.
"""

from alimail_ews.admin.verbs import commands

__all__ = ["commands"]

"""One machine: download, install, verify, repair, uninstall.

What opens files, runs programs or asks servers is imported when a verb runs, because every command loads every
plug-in.
"""

from alimail_outlook.machine.verbs import commands

__all__ = ["commands"]

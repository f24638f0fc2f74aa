"""New Outlook and the web: an Office add-in that searches the organisation's address book.

What reads files, makes pages or answers requests is imported when a verb runs, because every command loads every
plug-in.
"""

from alimail_outlook.addin.verbs import commands

__all__ = ["commands"]

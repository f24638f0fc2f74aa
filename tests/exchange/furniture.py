"""The folders that a new mailbox has, by their names in some languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.exchange.store import Folder, Mailbox

MAIL: Final = "IPF.Note"

NAMES: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "msgfolderroot": "信息存储顶部",
        "inbox": "收件箱",
        "sentitems": "已发送邮件",
        "drafts": "草稿",
        "deleteditems": "已删除邮件",
        "junkemail": "垃圾邮件",
        "outbox": "发件箱",
        "calendar": "日历",
        "contacts": "联系人",
        "tasks": "任务",
        "notes": "便笺",
        "journal": "日记",
        "syncissues": "同步问题",
        "conversationhistory": "对话历史记录",
    },
    "de": {
        "msgfolderroot": "Oberste Ebene des Informationsspeichers",
        "inbox": "Posteingang",
        "sentitems": "Gesendete Elemente",
        "drafts": "Entwürfe",
        "deleteditems": "Gelöschte Elemente",
        "junkemail": "Junk-E-Mail",
        "outbox": "Postausgang",
        "calendar": "Kalender",
        "contacts": "Kontakte",
        "tasks": "Aufgaben",
        "notes": "Notizen",
        "journal": "Journal",
        "syncissues": "Synchronisierungsprobleme",
        "conversationhistory": "Unterhaltungsverlauf",
    },
}
"""What Exchange calls the folders of a mailbox in languages other than English."""


def furnish(mailbox: Mailbox, language: str) -> None:
    """Make the folders that a new mailbox of Exchange 2010 or later has, hidden ones included."""
    names = NAMES.get(language, {})

    def add(name: str, parent: Folder | None, kind: str, known: str | None = None, **more: bool) -> Folder:
        return mailbox.add_folder(
            names.get(known or "", name), parent, kind, distinguished=known, search=more.get("search", False),
            hidden=more.get("hidden", False),
        )  # fmt: skip

    root = add("", None, "", "root")
    for name in (
        "Common Views",
        "Deferred Action",
        "Schedule",
        "Shortcuts",
        "Spooler Queue",
        "System",
        "Views",
    ):
        add(name, root, "")
    add("Freebusy Data", root, "")
    finder = add("Finder", root, "", "searchfolders")
    add("Unread Mail", finder, MAIL, search=True)
    add("Reminders", root, "Outlook.Reminder", search=True)
    add("To-Do Search", root, "IPF.Task", "todosearch", search=True)
    recoverable = add("Recoverable Items", root, "", "recoverableitemsroot")
    for name in ("Deletions", "Purges", "Versions"):
        add(name, recoverable, "", f"recoverableitems{name.lower()}")
    top = add("Top of Information Store", root, "", "msgfolderroot")
    add("Calendar", top, "IPF.Appointment", "calendar")
    add("Contacts", top, "IPF.Contact", "contacts")
    add("Conversation Action Settings", top, "IPF.Configuration", hidden=True)
    add("Conversation History", top, MAIL, "conversationhistory")
    add("Deleted Items", top, MAIL, "deleteditems")
    add("Drafts", top, MAIL, "drafts")
    add("Inbox", top, MAIL, "inbox")
    add("Journal", top, "IPF.Journal", "journal")
    add("Junk E-mail", top, MAIL, "junkemail")
    add("Notes", top, "IPF.StickyNote", "notes")
    add("Outbox", top, MAIL, "outbox")
    add("Quick Step Settings", top, "IPF.Configuration", hidden=True)
    add("RSS Feeds", top, "IPF.Note.OutlookHomepage")
    add("Sent Items", top, MAIL, "sentitems")
    issues = add("Sync Issues", top, MAIL, "syncissues")
    for name, known in (("Conflicts", "conflicts"), ("Local Failures", "localfailures")):
        add(name, issues, MAIL, known)
    add("Server Failures", issues, MAIL, "serverfailures")
    add("Tasks", top, "IPF.Task", "tasks")

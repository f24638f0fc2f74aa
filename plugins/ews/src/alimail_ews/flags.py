"""From what Exchange lists of an item to an entry: its identifier, date and flags."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from attrs import frozen

from alimail_core import Entry
from alimail_ews.answers import Node
from alimail_ews.soap import FLAG_STATUS, ICON_INDEX, LAST_VERB, MARKS, MODIFIED

_OTHER_KINDS: Final = frozenset({"CalendarItem", "Contact", "DistributionList", "Persona", "Task"})
"""Elements that are no mail, whatever folder they lie in."""
_OTHER_CLASSES: Final = re.compile(
    r"IPM\.(?:Appointment|Contact|DistList|Task|StickyNote|Activity|AbchPerson|Configuration)\b",
    re.IGNORECASE,
)

FLAGGED: Final = 2
"""Of PidTagFlagStatus: marked for follow-up (1 is: done)."""
_READ: Final = 0x1
"""The bit of PidTagMessageFlags (MS-OXCMSG §2.2.1.6): what a server calls an Item, and no Message, has no IsRead."""
_ANSWERING_VERBS: Final = (102, 103)
_FORWARDING_VERB: Final = 104
_ANSWERED_ICON: Final = 261
_FORWARDED_ICON: Final = 262
FORWARDED: Final = "$Forwarded"

_ATOM: Final = frozenset(map(chr, range(33, 127))) - frozenset('(){%*"\\]&')


@frozen
class Item:
    """What is listed of an item. ``octets`` is the size that Exchange tells, which is not that of its MIME."""

    entry: Entry
    octets: int
    is_mail: bool
    dates: frozenset[datetime]
    """Each date that it may be listed with, for a listing may tell fewer of them."""

    def may_be(self, listed: Entry) -> bool:
        """Tell whether this is what was listed with the same identifier, and not a draft that was changed since."""
        date = listed.internal_date
        return date is None or not self.dates or date in self.dates


def item_of(node: Node) -> Item | None:
    """Read an item's element; ``None`` where it does not even tell an identifier.

    The entry has no size: the one that Exchange tells is no size of octets, and changes with a flag.
    """
    identifier = node.find("ItemId")
    key = identifier.attributes.get("Id", "") if identifier else ""
    if not key:
        return None
    is_draft = node.told("IsDraft").strip() in _TRUE
    more = extended(node)
    dates = list(filter(None, map(_date, (node.told("DateTimeReceived"), node.told("DateTimeCreated")))))
    if is_draft and (modified := _date(more.get(MODIFIED, ""))):
        # A draft that was changed keeps its identifier; the date tells that it is another message now.
        dates = [modified]
    size = node.told("Size").strip()
    return Item(
        Entry(key, None, dates[0] if dates else None, _flags(node, more, is_draft)),
        int(size) if size.isdecimal() and len(size) < 12 else 0,
        node.name not in _OTHER_KINDS and not _OTHER_CLASSES.match(node.told("ItemClass")),
        frozenset(dates),
    )


_TRUE: Final = frozenset({"true", "1"})


def _date(text: str) -> datetime | None:
    try:
        date = datetime.fromisoformat(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        return None


def _flags(node: Node, more: Mapping[str, str], is_draft: bool) -> frozenset[str]:
    verb, icon = number(more, LAST_VERB), number(more, ICON_INDEX)
    read = node.told("IsRead").strip()
    flags = {
        "\\Seen": read in _TRUE if read else bool((number(more, MARKS) or 0) & _READ),
        "\\Draft": is_draft,
        "\\Flagged": number(more, FLAG_STATUS) == FLAGGED,
        "\\Answered": verb in _ANSWERING_VERBS or icon == _ANSWERED_ICON,
        FORWARDED: verb == _FORWARDING_VERB or icon == _FORWARDED_ICON,
    }
    categories = node.find("Categories")
    words = {keyword(each.text) for each in categories.children} if categories else set()
    return frozenset(name for name, is_set in flags.items() if is_set) | (words - {""})


def extended(node: Node) -> dict[str, str]:
    """Return the properties that have no element of their own, by their tags as our requests write them."""
    uris = [
        (child, child.find("ExtendedFieldURI")) for child in node.children if child.name == "ExtendedProperty"
    ]
    return {
        _tag(uri.attributes.get("PropertyTag", "")): child.told("Value").strip() for child, uri in uris if uri
    }


def number(more: Mapping[str, str], tag: str) -> int | None:
    text = more.get(tag, "")
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else None


def _tag(tag: str) -> str:
    """Write a tag in one way: servers write hexadecimal digits in either case, zeros before them, or a number."""
    try:
        return hex(int(tag, 0))
    except ValueError:
        return ""


def keyword(category: str) -> str:
    """Write a category as a keyword that IMAP can have (RFC 9051 §9, atom), as mail programs do: modified UTF-7.

    A space becomes ``_``; a category that is nothing but spaces becomes nothing.
    """
    runs = groupby("_".join(category.split()), _ATOM.__contains__)
    return "".join("".join(run) if is_atom else _shifted("".join(run)) for is_atom, run in runs)


def _shifted(run: str) -> str:
    text = base64.b64encode(run.encode("utf-16-be", "surrogatepass")).decode().rstrip("=")
    return f"&{text.replace('/', ',')}-"

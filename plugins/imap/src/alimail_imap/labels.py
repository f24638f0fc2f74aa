"""Gmail's labels: one message stands in many folders, and is carried once, from the most specific of them.

Each folder is a label. FETCH X-GM-LABELS tells of a message the labels that it has beside the folder's own, so
each folder decides by itself whether a message is its own: where another label ranks higher, the message is left
to that one, if the server shows it. The order: labels that a user made, deeper ones first; then drafts, sent,
inbox; then everything (``\\All``). Starred and important are views on other folders. Spam and trash own what
they hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from alimail_core import INBOX, Folder, SpecialUse
from alimail_imap.utf7 import decode

Rank = tuple[int, int, str]
"""Compares as the order of ownership; the greatest owns."""

_VIEW, _ALL, _MADE = 0, 1, 5

_USES = {
    SpecialUse.ALL: _ALL,
    SpecialUse.DRAFTS: 4,
    SpecialUse.SENT: 3,
    SpecialUse.JUNK: 9,
    SpecialUse.TRASH: 9,
    SpecialUse.FLAGGED: 0,
    SpecialUse.IMPORTANT: 0,
}
_LABELS = {
    "\\inbox": 2,
    "\\sent": 3,
    "\\draft": 4,
    "\\drafts": 4,
    "\\starred": 0,
    "\\important": 0,
    "\\muted": 0,
}


def rank_folder(folder: Folder) -> Rank:
    """Return the rank of the label that a folder stands for."""
    if folder.path == INBOX:
        return _LABELS["\\inbox"], 0, ""
    if folder.special_use in _USES:
        # Of the two views one comes first, so that a message that both show has one owner.
        return _USES[folder.special_use], -(folder.special_use is SpecialUse.IMPORTANT), ""
    return _MADE, len(folder.path), "/".join(folder.path)


def rank_label(label: bytes) -> Rank:
    """Return the rank of a label as X-GM-LABELS tells it: a system label, or a name in modified UTF-7."""
    if label.startswith(b"\\"):
        word = label.decode("ascii", "replace").lower()
        return _LABELS.get(word, _VIEW), -(word == "\\important"), ""
    name = decode(label) or label.decode("utf-8", "replace")
    return _MADE, name.count("/") + 1, name


def owns(folder: Folder, labels: Iterable[bytes], listed: Collection[Rank]) -> bool:
    """Tell whether a message with these other labels is carried from this folder.

    ``listed`` are the ranks of the folders that the server shows: a label that its user hides from IMAP owns
    nothing, and where everything (``\\All``) is hidden, starred and important must own what they alone show.
    """
    own = rank_folder(folder)
    if own[0] == _VIEW and (_ALL, 0, "") in listed:
        return False
    return all(rank <= own for rank in map(rank_label, labels) if rank in listed)

"""What makes a message the same message: digests, fingerprints, and the matching of two sides. Pure functions.

Three measures, from the sharpest to the bluntest:

digest
    SHA-256 of the octets; beside it the *canonical* digest, which servers that mend line ends do not change.
content digest
    SHA-256 over what a reader sees: the fingerprint's fields and the decoded leaf parts. It bears other trace
    headers, other boundaries, other transfer encodings and folds. See ``alimail_core.content``.
fingerprint
    A hash of Message-ID, Date, From and Subject, as ``alimail_core.header`` normalises them. It **nominates**
    candidates and decides nothing, except where the user wished so (``adopt = "headers"``).

Nothing here raises on any octets, and every cost is near-linear in its input.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from io import IncrementalNewlineDecoder
from typing import Literal

from attrs import frozen

from alimail_core.content import content_digest
from alimail_core.header import Fingerprint, fingerprint, with_lf

__all__ = [
    "Claim",
    "Digests",
    "Evidence",
    "Fingerprint",
    "claim_by_bodies",
    "claim_by_headers",
    "content_digest",
    "digests",
    "fingerprint",
    "mend",
    "names",
    "nominees",
]

_CRLF = b"\r\n"
_PIECE = 256 * 1024
"""Octets that are rewritten at a time."""
_CUT = re.compile(rb"[^\r\0]")


@frozen
class Digests:
    """SHA-256 of a message's octets as they are, and of their canonical form; 32 octets each."""

    digest: bytes
    canonical: bytes


def digests(octets: bytes) -> Digests:
    """Digest a message exactly and canonically.

    Canonical is what neither ``mend`` nor a server that mends changes: no NUL, every line end (CRLF, lone CR,
    lone LF, several CRs before an LF) as CRLF, and exactly one at the end. Octets that are canonical already
    are hashed once.
    """
    if b"\0" in octets or not _line_ends_are_clean(octets):
        return Digests(hashlib.sha256(octets).digest(), _canonical_digest(octets))
    text = _end_of_text(octets)
    if text + len(_CRLF) == len(octets):
        digest = hashlib.sha256(octets).digest()
        return Digests(digest, digest)
    view = memoryview(octets)
    exact = hashlib.sha256(view[:text])
    canonical = exact.copy()
    exact.update(view[text:])
    canonical.update(_CRLF)
    return Digests(exact.digest(), canonical.digest())


def _line_ends_are_clean(octets: bytes) -> bool:
    """Tell whether every line end is CRLF, in one pass: to count CRs, LFs and pairs takes three times as long."""
    decoder = IncrementalNewlineDecoder(None, translate=False)
    view = memoryview(octets)
    for place in range(0, len(octets), _PIECE):
        decoder.decode(str(view[place : place + _PIECE], "latin-1"))
    decoder.decode("", final=True)
    return decoder.newlines in (None, "\r\n")


def _end_of_text(octets: bytes) -> int:
    """Return where the line ends and NULs at the end begin."""
    end = len(octets)
    while end > 0:
        start = max(0, end - _PIECE)
        kept = len(octets[start:end].rstrip(b"\r\n\0"))
        if kept:
            return start + kept
        end = start
    return 0


def _canonical_digest(octets: bytes) -> bytes:
    """Hash the canonical form piece by piece: a message of 60 MB is not copied for it."""
    hashed = hashlib.sha256()
    begin, text = 0, _end_of_text(octets)
    while begin < text:
        # Nothing after an octet that is neither CR nor NUL belongs to a line end before it.
        cut = _CUT.search(octets, min(begin + _PIECE, text) - 1, text)
        end = cut.end() if cut else text
        hashed.update(with_lf(octets[begin:end].replace(b"\0", b"")).replace(b"\n", _CRLF))
        begin = end
    hashed.update(_CRLF)
    return hashed.digest()


def mend(octets: bytes) -> bytes:
    """Change a message as little as makes it acceptable to a strict server (RFC 5322 §2.3, RFC 9051 §6.3.12).

    NUL octets are taken out; then each lone CR, each lone LF and each CR CR LF becomes CRLF. Long lines stay,
    because to break them would change what the message says; a message without a line end at its end stays so.
    Clean octets are returned as they are, ``mend(mend(x)) == mend(x)``, and the canonical digest is unchanged.
    """
    if b"\0" in octets:
        octets = octets.replace(b"\0", b"")
    if _line_ends_are_clean(octets):
        return octets
    return with_lf(octets).replace(b"\n", _CRLF)


@frozen
class Evidence:
    """What is known of one message while two sides are matched; ``None``: not known.

    ``message_id`` may be any hash of it, the same on both sides. ``internal_date`` is aware. The last four
    need the message's octets: ``digest``, ``canonical``, ``content``, and ``mended``, the content of what a strict
    server has of a message with NULs; 32 octets each. ``place``, where one is given on both sides, is where a message
    belongs and an entry stands: of equal ones those of the same place go together.
    """

    fingerprint: bytes | None = None
    message_id: bytes | None = None
    size: int | None = None
    internal_date: datetime | None = None
    digest: bytes | None = None
    canonical: bytes | None = None
    content: bytes | None = None
    mended: bytes | None = None
    place: Hashable | None = None


@frozen
class Claim:
    """The message at index ``wanted`` stands in the target as the entry at index ``stranger``."""

    wanted: int
    stranger: int


Key = Callable[[Evidence], Hashable | None]
"""What two pieces of evidence must share; ``None`` shares with nobody."""

_NO_FIELDS = fingerprint(b"").value


def claim_by_headers(
    wanted: Sequence[Evidence],
    found: Sequence[Evidence],
    *,
    mode: Literal["exact", "headers", "content"],
    drafts: bool,
) -> list[Claim]:
    """Claim what needs no body to be sure, in the order of ``wanted``.

    ``exact``: a Message-ID that stands alone on both sides, with the same fingerprint, size and internal date.
    ``headers``: besides, the same fingerprint, as multisets; without a Message-ID the size must agree as well,
    and a message that has none of the four fields never claims by their absence.
    ``content``, and whenever the folder holds drafts (whose versions share a Message-ID): nothing.
    """
    if mode == "content" or drafts:
        return []
    matching = _Matching(wanted, found, ())
    matching.claim(_alone(wanted, found))
    if mode == "headers":
        matching.claim(_by_fingerprint)
    return matching.claims()


def _alone(wanted: Sequence[Evidence], found: Sequence[Evidence]) -> Key:
    ours, theirs = (Counter(each.message_id for each in side) for side in (wanted, found))

    def key(of: Evidence) -> Hashable | None:
        parts = (of.message_id, of.fingerprint, of.size, of.internal_date)
        alone = ours[of.message_id] == 1 and theirs[of.message_id] == 1
        return parts if alone and None not in parts else None

    return key


def _by_fingerprint(of: Evidence) -> Hashable | None:
    if of.fingerprint is None or of.fingerprint == _NO_FIELDS:
        return None
    if of.message_id is None:
        return None if of.size is None else (of.fingerprint, of.size)
    return of.fingerprint


def nominees(
    wanted: Sequence[Evidence], found: Sequence[Evidence], claims: Iterable[Claim]
) -> tuple[list[int], list[int]]:
    """Tell whose bodies are worth reading: ``(indexes of wanted, indexes of found)``, each ascending.

    That is who is unclaimed, has no content digest yet, and shares with somebody unclaimed opposite a fingerprint,
    a Message-ID, or size and internal date: a server may read an odd header otherwise than we do. Where our digest
    is known, an entry of the same size is worth reading in any case, for the target may not have kept the date.
    Read those of ``found`` first: the ledger's digests may decide by them, and then fewer of ``wanted`` remain.
    """
    matching = _Matching(wanted, found, claims)
    ours = {index: names(wanted[index]) for index in matching.wanted}
    theirs = {index: names(found[index]) for index in matching.found}
    of_wanted = _opposite(wanted, ours, theirs)
    for index, mine in ours.items():
        if wanted[index].digest is not None:
            mine.append(("size", wanted[index].size))
    for index, mine in theirs.items():
        if found[index].size is not None:
            mine.append(("size", found[index].size))
    return of_wanted, _opposite(found, theirs, ours)


def _opposite(
    side: Sequence[Evidence], mine: Mapping[int, list[Hashable]], other: Mapping[int, list[Hashable]]
) -> list[int]:
    seen = {name for each in other.values() for name in each}
    return [
        index for index, each in mine.items() if side[index].content is None and not seen.isdisjoint(each)
    ]


def names(of: Evidence) -> list[Hashable]:
    """Return what a header and a listing nominate by.

    Who shares none of these with anybody opposite claims nobody, but for equal octets whose header the two servers
    read differently and list with different dates.
    """
    pairs = (
        ("fingerprint", of.fingerprint),
        ("message_id", of.message_id),
        ("witness", _size_and_date(of)),
    )
    return [pair for pair in pairs if pair[1] is not None]


def claim_by_bodies(
    wanted: Sequence[Evidence], found: Sequence[Evidence], claims: Iterable[Claim]
) -> list[Claim]:
    """Claim by what the bodies say, beyond ``claims``; return the new claims in the order of ``wanted``.

    The same digest first, then the same canonical digest, then the same content digest, and last the content with
    its NULs taken out, each as multisets: of ``n`` equal messages and ``m`` equal entries, the first ``min(n, m)``
    messages claim. Among equal entries a message prefers its own size and internal date, then its own size, then the
    order of ``found``. Equal octets need no fingerprint to agree: a server may have given us other headers than the
    message has.
    """
    matching = _Matching(wanted, found, claims)
    for measure in _MEASURES:
        matching.claim(partial(_in_place, measure))
        matching.claim(measure)
    return matching.claims()


_MEASURES: tuple[Key, ...] = (
    lambda of: of.digest,
    lambda of: of.canonical,
    lambda of: of.content,
    lambda of: of.mended or of.content,
)


def _in_place(measure: Key, of: Evidence) -> Hashable | None:
    value = measure(of)
    return None if value is None or of.place is None else (of.place, value)


class _Matching:
    """Who is still free on both sides, and who has claimed whom."""

    def __init__(
        self, wanted: Sequence[Evidence], found: Sequence[Evidence], claims: Iterable[Claim]
    ) -> None:
        taken = list(claims)
        claimed, claiming = {claim.stranger for claim in taken}, {claim.wanted for claim in taken}
        self._wanted, self._found = wanted, found
        self._new: dict[int, int] = {}
        # dicts as ordered sets
        self.wanted = dict.fromkeys(index for index in range(len(wanted)) if index not in claiming)
        self.found = dict.fromkeys(index for index in range(len(found)) if index not in claimed)

    def claim(self, key: Key) -> None:
        """Pair off who shares ``key``; within a group the earlier of ``wanted`` goes before the later."""
        theirs = _groups(self._found, self.found, key)
        for value, ours in _groups(self._wanted, self.wanted, key).items():
            entries = theirs.get(value, [])
            # First who claims, then whom: a preference never lets a later message oust an earlier one.
            self._pair_off(dict.fromkeys(ours[: len(entries)]), dict.fromkeys(entries))

    def _pair_off(self, ours: dict[int, None], theirs: dict[int, None]) -> None:
        for same in (_size_and_date, _size, _anything):
            places: Mapping[Hashable, deque[int]] = {
                value: deque(indexes) for value, indexes in _groups(self._found, theirs, same).items()
            }
            for index in list(ours):
                value = same(self._wanted[index])
                if value is not None and places.get(value):
                    self._take(index, places[value].popleft())
                    del ours[index]
            for stranger in [each for each in theirs if each not in self.found]:
                del theirs[stranger]

    def _take(self, index: int, stranger: int) -> None:
        del self.wanted[index]
        del self.found[stranger]
        self._new[index] = stranger

    def claims(self) -> list[Claim]:
        """Return the new claims in the order of ``wanted``."""
        return [Claim(index, self._new[index]) for index in sorted(self._new)]


def _groups(side: Sequence[Evidence], free: Iterable[int], key: Key) -> dict[Hashable, list[int]]:
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index in free:
        value = key(side[index])
        if value is not None:
            groups[value].append(index)
    return groups


def _size_and_date(of: Evidence) -> Hashable | None:
    return None if of.size is None or of.internal_date is None else (of.size, of.internal_date)


def _size(of: Evidence) -> Hashable | None:
    return of.size


def _anything(_: Evidence) -> Hashable:
    return True

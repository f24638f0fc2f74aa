"""Read items by their identifiers: octets, headers, or what a listing tells of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from itertools import islice
from typing import Final, TypeAlias

from attrs import frozen

from alimail_core import (
    AlimailError,
    Denied,
    Entry,
    Folder,
    FolderPath,
    Gone,
    Headers,
    Message,
    Transient,
    Unreadable,
)
from alimail_ews.answers import Node
from alimail_ews.flags import item_of
from alimail_ews.grades import GONE, NO_NAME, Saying, grade, saying_of
from alimail_ews.parallel import LARGE, Channel, Stopped
from alimail_ews.session import Malformed, NotDone, Session
from alimail_ews.soap import get_items

_MESSAGES: Final = 100
_OCTETS: Final = 2 * 1024 * 1024
"""What one request for messages asks for at most, as far as sizes are known; a large message is asked for alone."""
_REQUESTS: Final = 8
"""So many of the caller's requests go into one of ours at most, so that what it does when we take one stays near."""
_LOOKS: Final = 200
_SIZES: Final = 200_000
"""So many sizes are remembered from listings at most."""
_HEADER: Final = 1024 * 1024
_STOPPED: Final = "ErrorBatchProcessingStopped"
_NOT_SURE: Final = NO_NAME | {_STOPPED}
"""What may be said of an item because of another one beside it."""
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")

Answer: TypeAlias = Message | Gone | Unreadable


@frozen
class _Asked:
    """An entry that was asked for; where its folder is none any more, there is nothing to look for."""

    path: FolderPath
    entry: Entry
    exists: bool


@frozen
class _Ended:
    """A thread has nothing more; ``error`` is why, where it is not because all is read."""

    error: BaseException | None = None


class Sizes:
    """About how many octets messages have, by their keys, as listings told: for requests of a sensible size."""

    def __init__(self) -> None:
        self._octets: dict[int, int] = {}

    def learn(self, key: str, octets: int) -> None:
        """Remember a size."""
        if len(self._octets) >= _SIZES:
            self._octets.clear()
        self._octets[hash(key)] = octets

    def of(self, key: str) -> int | None:
        """Return a size, ``None`` where none was told."""
        return self._octets.get(hash(key))


class Reader:
    """Reads what a session's mailbox has.

    ``executor`` has a thread for each connection; ``exists`` tells whether there is a folder.
    """

    def __init__(
        self, session: Session, executor: Executor, sizes: Sizes, exists: Callable[[Folder], bool]
    ) -> None:
        self._session = session
        self._executor = executor
        self._sizes = sizes
        self._exists = exists

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]], *, whole: bool = True
    ) -> Iterator[Answer]:
        """Give one answer for each entry; several requests are in flight. Not ``whole``: of messages the header."""
        channel: Channel[Answer | _Ended] = Channel(_OCTETS)
        batches, running = self._batches(requests), 0
        try:
            while True:
                for batch in islice(batches, self._session.options.connections - running):
                    self._executor.submit(self._read, batch, channel, whole)
                    running += 1
                if not running:
                    return
                answer = channel.take()
                if isinstance(answer, _Ended):
                    running -= 1
                    if answer.error is not None:
                        raise answer.error
                else:
                    yield answer
                del answer  # it may be large, and the next one is read now
        finally:
            channel.stop()

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give the headers of messages, those of the MIME that will be fetched.

        No other property is sure to agree: what Exchange lists as subject, sender and date is often not what it
        then writes into a header.
        """
        for begin in range(0, len(entries), _MESSAGES):
            answers = list(self.fetch([(folder, entries[begin : begin + _MESSAGES])], whole=False))
            yield from (Headers(each.key, each.octets) for each in answers if isinstance(each, Message))

    def look(self, keys: Sequence[str]) -> Iterator[Entry]:
        """List those of the keys that exist at this moment. Raises ``Malformed`` where that was not told."""
        for begin in range(0, len(keys), _LOOKS):
            told = [answer for _, answer in self._answers(keys[begin : begin + _LOOKS], mime=False)]
            for answer in told:
                if isinstance(answer, Saying) and not answer.code:
                    raise Malformed(answer.text)  # left out it would count as gone, or as unchanged
            items = [item_of(answer) for answer in told if isinstance(answer, Node)]
            for item in items:
                if item is not None and item.is_mail:
                    self._sizes.learn(item.entry.key, item.octets)
                    yield item.entry

    def _batches(self, requests: Iterable[tuple[Folder, Sequence[Entry]]]) -> Iterator[list[_Asked]]:
        """Put entries together into requests of a sensible size, as far as sizes are known; none twice in one."""
        batch: list[_Asked] = []
        keys: set[str] = set()
        octets = taken = 0
        for folder, entries in requests:
            taken += 1
            exists = self._exists(folder)
            for entry in entries:
                size = self._sizes.of(entry.key) or 0
                full = octets + size > _OCTETS or len(batch) >= _MESSAGES or entry.key in keys
                if batch and full:
                    yield batch
                    batch, keys, octets, taken = [], set(), 0, 1
                batch.append(_Asked(folder.path, entry, exists))
                keys.add(entry.key)
                octets += size
            if batch and taken >= _REQUESTS:
                yield batch
                batch, keys, octets, taken = [], set(), 0, 0
        if batch:
            yield batch

    def _read(self, batch: Sequence[_Asked], channel: Channel[Answer | _Ended], whole: bool) -> None:
        """Read one batch into the channel; runs in a thread of its own."""
        try:
            self._read_all(batch, channel, whole)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - raised where the answers are taken
            ended = _Ended(error)
        else:
            ended = _Ended()
        try:
            channel.put(ended, 0, ended)
        except Stopped:
            return

    def _read_all(self, batch: Sequence[_Asked], channel: Channel[Answer | _Ended], whole: bool) -> None:
        asked = {one.entry.key: one for one in batch if one.exists}
        for one in batch:
            if not one.exists:
                channel.put(Gone(one.path, one.entry.key), 0, one)
        reading = object()

        def swell(octets: int) -> None:
            if octets >= LARGE:
                channel.begin_large(reading)

        for portion in self._portions(list(asked)):
            for key, told in self._answers(portion, mime=True, swell=swell):
                answer = _answer(asked[key], told)
                if isinstance(answer, Message) and not whole:
                    answer = Message(answer.folder, key, _header(answer.octets))
                octets = len(answer.octets) if isinstance(answer, Message) else 0
                channel.put(answer, octets, reading)
                reading = object()
                del answer, told

    def _portions(self, keys: list[str]) -> Iterator[list[str]]:
        """Divide what was listed long ago by sizes that are asked for first: here, so that only one thread waits."""
        unknown = [key for key in keys if self._sizes.of(key) is None]
        if len(unknown) > 1:
            for _ in self.look(unknown):
                pass
        portion: list[str] = []
        octets = 0
        for key in keys:
            size = self._sizes.of(key) or 0
            if portion and octets + size > _OCTETS:
                yield portion
                portion, octets = [], 0
            portion.append(key)
            octets += size
        if portion:
            yield portion

    def _answers(
        self, keys: Sequence[str], *, mime: bool, swell: Callable[[int], None] = lambda _: None
    ) -> Iterator[tuple[str, Node | Saying]]:
        """Give for each key its item, or what the server finally says of it.

        One identifier, or one damaged item, may fail a whole request: then halves are asked for, down to that one.
        Raises ``Transient`` where nothing can be had now, and ``Denied``.
        """
        parts = [list(keys)] if keys else []
        while parts:
            part = parts.pop()
            left = dict.fromkeys(part)
            failure: AlimailError | None = None
            errors: list[tuple[str, Saying]] = []
            told = 0
            try:
                answers = self._session.ask(get_items(part, mime=mime), swell)
                for told, (message, item) in enumerate(_each(answers), 1):
                    key = _key(item, left) or part[min(told, len(part)) - 1]
                    if item is None:
                        errors.append((key, saying_of(message)))
                    elif key in left:
                        del left[key]
                        yield key, item
                    del item, message
            except (Malformed, NotDone) as error:
                failure = error
            for key, saying in errors:
                graded = grade(saying)
                if isinstance(graded, Denied):
                    raise graded
                is_whole = told == len(part) and not isinstance(graded, Transient)
                if key in left and is_whole and (len(part) == 1 or saying.code not in _NOT_SURE):
                    del left[key]
                    yield key, saying
                elif saying.code != _STOPPED:
                    failure = failure or graded
            if not left:
                continue
            went_on = len(left) < len(part)
            if isinstance(failure, Transient) and not isinstance(failure, Malformed) and not went_on:
                raise failure
            if len(part) == 1:
                unsaid = Saying("", str(failure or "the server gave no answer"))
                yield part[0], failure.saying if isinstance(failure, NotDone) else unsaid
            else:
                rest = list(left)
                half = len(rest) if went_on else len(rest) // 2
                parts += [each for each in (rest[half:], rest[:half]) if each]


def _each(answers: Iterable[Node]) -> Iterator[tuple[Node, Node | None]]:
    """Give each response message with the item that it holds; there are servers that put all items into one."""
    for message in answers:
        items = message.find("Items")
        if not items or not items.children:
            yield message, None
            continue
        while items.children:
            yield message, items.children.pop(0)  # which may be large, and is not held any longer


def _key(item: Node | None, asked: Container[str]) -> str | None:
    """Return an item's identifier, where it is one of those that were asked for."""
    identifier = item.find("ItemId") if item else None
    key = identifier.attributes.get("Id") if identifier else None
    return key if key in asked else None


def _answer(asked: _Asked, told: Node | Saying) -> Answer:
    """Make of what was told of an item the answer to the request for its message."""
    path, entry = asked.path, asked.entry
    if isinstance(told, Saying):
        if told.code in GONE or told.code in NO_NAME:
            return Gone(path, entry.key)
        return Unreadable(path, entry.key, told.words if told.code else told.text)
    item, mime = item_of(told), told.find("MimeContent")
    if item is not None and not item.may_be(entry):
        return Gone(path, entry.key)
    if mime is None:
        kind = told.told("ItemClass")[:80]
        return Unreadable(path, entry.key, f"Exchange gives no message for this item, a {kind or told.name}")
    if mime.octets is None:
        return Unreadable(path, entry.key, "what Exchange gave for it is no base64")
    return Message(path, entry.key, mime.octets)


def _header(octets: bytes) -> bytes:
    end = _BLANK_LINE.search(octets, 0, _HEADER)
    return octets[: end.end() if end else _HEADER]

"""A log of a run: JSON lines in a file, made from events.

Each line has ``timestamp`` (UTC, ISO 8601), ``level``, ``event`` (the event's name, such as ``batch_settled``),
``migration``, ``account`` and, where it is about one, ``folder`` (its names, outermost first) and ``batch`` (a
count within the account's pass). It holds neither content nor secrets, because events do not; what servers say is
cut to ``REASON_LENGTH`` characters.

The loggers are made for one run and configured by hand: a program that embeds alimail keeps its own structlog and
``logging`` set-up. A plug-in or program that wants the events elsewhere observes them itself.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs
import structlog
from structlog.typing import EventDict, WrappedLogger

from alimail_core.errors import InputError
from alimail_core.events import BatchSettled, Event, Noted, PassEnded, PassStarted, ProblemFound, Waiting
from alimail_core.seam import Clock
from alimail_core.text import printable
from alimail_core.traces import trace_of

REASON_LENGTH = 500
"""The most characters of a server's words that a line holds."""

_log = logging.getLogger(__name__)

_LEVELS: dict[type[Event], str] = {ProblemFound: "warning", Waiting: "warning", Noted: "notice"}


class JsonLog:
    """An observer that writes each event as a line. A context manager; safe to use from several threads."""

    def __init__(self, path: Path, migration: str, clock: Clock | None = None) -> None:
        """Open ``path`` to append. Raises ``InputError`` where it cannot be written."""
        self._file, self._path, self._lost = _open(path), path, False
        self._logger = _logger(self._file, clock or Clock()).bind(migration=migration)
        self._batches: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        fields = {each.name: _plain(getattr(event, each.name)) for each in attrs.fields(type(event))}
        with self._lock:
            if isinstance(event, PassStarted):
                self._batches[event.account] = 0
            if isinstance(event, BatchSettled):
                fields["batch"] = self._batches[event.account] = self._batches.get(event.account, 0) + 1
        self._write(_level(event), _name(type(event)), fields)

    def bug(self, error: BaseException) -> None:
        """Write where an unforeseen exception came from: see ``trace_of`` for what is left out."""
        self.trace(list(trace_of(error)))

    def trace(self, lines: Sequence[str]) -> None:
        """Write a trace that ``trace_of`` has made."""
        self._write("critical", "bug", {"trace": list(lines)})

    def _write(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Write a line; where that fails, say so once and write no more: a run does not stop for its log."""
        if self._lost:
            return
        try:
            self._logger.bind(**fields).log(level, event)
        except OSError as error:
            self._lost = True
            _log.warning("the log %s cannot be written any more: %s", self._path, error.strerror)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with suppress(OSError):  # that it could not be written was said
            self._file.close()

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


class _Lines(structlog.BoundLoggerBase):
    """Knows one method: an event at a level named by a word."""

    def log(self, level: str, event: str, **fields: Any) -> None:
        """Write a line."""
        self._proxy_to_logger("msg", event, level=level, **fields)


def _logger(file: io.TextIOWrapper, clock: Clock) -> _Lines:
    def stamp(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
        head = {name: fields[name] for name in ("level", "event")}
        return {"timestamp": clock.now().isoformat(timespec="milliseconds"), **head, **fields}

    logger: _Lines = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[stamp, structlog.processors.JSONRenderer(ensure_ascii=False), _visible],
        wrapper_class=_Lines,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return logger.bind()


def _visible(_logger: WrappedLogger, _method: str, line: Any) -> str:
    """Escape, as JSON does, what a terminal that shows the log may act upon; Chinese names stay readable."""
    text = str(line)
    if text.isprintable():
        return text
    return "".join(each if printable(each) == each else json.dumps(each)[1:-1] for each in text)


def _open(path: Path) -> io.TextIOWrapper:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Addresses and folder names are private: the file is made for its owner's eyes (no effect on Windows).
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise InputError(
            f"the log {path} cannot be written: {error.strerror}", remedy="Name another file with --log."
        ) from None
    return io.TextIOWrapper(io.FileIO(number, "a"), encoding="utf-8", newline="\n")


def _level(event: Event) -> str:
    if isinstance(event, PassEnded):
        return {"failed": "error", "problems": "warning", "pending": "warning"}.get(event.state, "info")
    return _LEVELS.get(type(event), "info")


def _name(kind: type[Event]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _plain(value: object) -> object:
    if isinstance(value, str) and len(value) > REASON_LENGTH:
        return value[:REASON_LENGTH] + "…"
    return value

"""What every verb stands in: errors as plain words, signals, and what one call of the command line works with."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from attrs import define, field

from alimail_core.cli.output import complain, give_up, remark_lines
from alimail_core.errors import AlimailError, Fault, InputError, Interrupted
from alimail_core.seam import Clock, Stop

if TYPE_CHECKING:
    import typer

    from alimail_core.events import Observer
    from alimail_core.migration import Migration
    from alimail_core.registry import Registry
    from alimail_core.spec import MigrationSpec


OPEN_FILES = 65_536
"""More than the most workers can need."""


@define
class Frame:
    """One call of the command line. A verb finds it in ``context.obj``."""

    given: Registry | None = None
    clock: Clock = field(factory=Clock)
    stop: Stop = field(factory=Stop)
    log_path: Path | None = None
    alone: bool = False
    """The process is the command line's own: nobody else's modules and objects are in it."""

    @staticmethod
    def of(context: typer.Context) -> Frame:
        """Return the frame that ``main`` has made."""
        return cast(Frame, context.obj)

    @property
    def registry(self) -> Registry:
        """Return the plug-ins, loaded when they are first needed."""
        if self.given is None:
            with all_of_it_stays():
                from alimail_core.registry import Registry

                self.given = Registry.load()
        return self.given

    def load(self, config: Path) -> MigrationSpec:
        """Read a configuration. Raises ``InputError`` with all its faults."""
        from alimail_core.config.load import load

        if not config.exists():
            raise InputError(
                f"there is no {config}",
                remedy="`alimail init` writes one; `--config FILE` names another; `alimail copy` needs none.",
            )
        with all_of_it_stays():
            return load(config, self.registry)

    @contextmanager
    def migration(
        self, spec: MigrationSpec, observers: Sequence[Observer] = (), log: Path | None = None
    ) -> Iterator[Migration]:
        """Open a migration, with a log where one is wished; signals ask it to stop between two batches."""
        with ExitStack() as stack:
            with all_of_it_stays(), _without("rich") if self.alone else nullcontext():
                from alimail_core.migration import Migration

                if log is not None:
                    # structlog imports rich to draw on terminals, and only writes a file for us.
                    from alimail_core.logs import JsonLog
            if self.alone:
                gc.freeze()  # what was imported never becomes garbage: it is not looked through again
            if log is not None:
                observers = [*observers, stack.enter_context(JsonLog(log, spec.name, self.clock))]
                self.log_path = log
            stack.enter_context(_notices(log))
            stack.enter_context(heeding_signals(self.stop))
            _allow_open_files()
            migration = Migration(spec, self.registry, observers=observers, clock=self.clock, stop=self.stop)
            stack.callback(migration.close)
            yield migration


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Let a package that others use where it is installed seem not to be: to import rich takes 50 ms of each run."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # so Python itself says that it is not to be had
    try:
        yield
    finally:
        del sys.modules[package]


def _allow_open_files() -> None:
    """Let the process open what its owner lets it: each account at work has some six files and connections open.

    Where more are wished at once than the customary 1,024 allow, the run would end.
    """
    try:
        import resource
    except ImportError:
        return  # Windows, which has no such limit
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@contextmanager
def all_of_it_stays() -> Iterator[None]:
    """Look for no garbage in what is made: with thousands of accounts that takes a tenth of `alimail status`."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def heeding_signals(stop: Stop) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM ask to stop, and the second end the process at once.

    Ending at once is safe at any instant: the ledger tells the next run what may have happened.
    """

    def heed(number: int, _frame: Any) -> None:
        if stop.is_set():
            _write_now("ended at once; run the same command again to go on\n")
            os._exit(128 + number)
        _write_now("stopping after the batches under way; once more ends at once\n")
        stop.set(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change handlers; who embeds the command line has their own
        return
    before = {number: signal.signal(number, heed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_now(text: str) -> None:
    # A handler may have interrupted a print to the same stream, so it goes around Python's buffers. The first
    # sequence shows the cursor again where live progress had hidden it.
    show_cursor = "\x1b[?25h" if sys.__stderr__ is not None and sys.__stderr__.isatty() else ""
    with suppress(OSError):  # nobody reads it
        os.write(2, f"{show_cursor}\n{text}".encode())


def require_place() -> None:
    """Raise ``InputError`` where the current folder is gone: every relative path would fail, each in its own way."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            "the current folder cannot be found: it was deleted or moved", remedy="`cd` to another one."
        ) from error


def show_error(error: AlimailError) -> int:
    """Print an error as message, faults and remedy; return the exit code."""
    complain(f"alimail: {error.message}")
    if isinstance(error, InputError):
        complain(
            *_fault_lines(error.faults), *(line for each in error.remarks for line in remark_lines(each))
        )
    if error.remedy:
        complain(f"  -> {error.remedy}")
    if isinstance(error, Interrupted):
        return 128 + error.signal
    return error.exit_code


def _fault_lines(faults: Iterable[Fault]) -> Iterator[str]:
    for fault in faults:
        yield f"{fault.where}: {fault.message}"
        if fault.remedy:
            yield f"  -> {fault.remedy}"


def show_bug(bug: BaseException, log_path: Path | None) -> int:
    """Say in one line that something unforeseen happened and where its trace lies; return the exit code."""
    from alimail_core.traces import trace_of

    complain(f"alimail: a bug ({type(bug).__name__}). {keep_trace(list(trace_of(bug)), log_path)}")
    return 1


def keep_trace(lines: Sequence[str], log_path: Path | None) -> str:
    """Write a trace to the log, or where there is none to a file of its own; return a sentence that says where."""
    from platformdirs import user_log_path

    from alimail_core.logs import JsonLog

    path = log_path or user_log_path("alimail", appauthor=False) / "bugs.jsonl"
    try:
        with JsonLog(path, "") as log:
            log.trace(lines)
    except InputError as error:
        return f"Its trace could not be kept: {error.message}"
    return f"Its trace is in {path}: please report it with that; it holds no mail and no password."


class _Notices(logging.Handler):
    """What the library itself logs (bugs of one account or observer): a line each, its trace in a file."""

    def __init__(self, log_path: Path | None) -> None:
        super().__init__(logging.WARNING)
        self._log_path = log_path

    def emit(self, record: logging.LogRecord) -> None:
        """Show the first line; keep the rest."""
        first, *rest = record.getMessage().splitlines()
        complain(f"alimail: {first}", *([f"  -> {keep_trace(rest, self._log_path)}"] if rest else []))


@contextmanager
def _notices(log_path: Path | None) -> Iterator[None]:
    logger, handler = logging.getLogger("alimail_core"), _Notices(log_path)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def show_lost_output(error: OSError) -> int:
    """Say that standard output cannot be written, but where its reader just went away; return the exit code."""
    if not isinstance(error, BrokenPipeError):
        remedy = "  -> Let it be written elsewhere, and run the same command again."
        complain(f"alimail: the output cannot be written: {error.strerror}", remedy)
    give_up(sys.stdout)
    return 1


def is_output_lost() -> bool:
    """Tell whether it is standard output that fails: then an empty line fails as well."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False

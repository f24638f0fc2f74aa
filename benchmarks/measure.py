"""Runs a command as a whole process and tells what it took: wall time, CPU, memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen

SAMPLE_SECONDS = 0.02
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@frozen
class Command:
    """A command line, and what its environment has beside ours."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(factory=dict, repr=False)


@frozen
class Taken:
    """What a tool took, from its start to its end."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system, of it and of all its children."""
    memory: float
    """MB: the most that its processes had in memory, each at its own peak, added up where they live side by side."""
    code: int
    """The first exit code that is not 0."""


class Watch(threading.Thread):
    """Notes a process tree's memory while it lives, and ends it when its time is up."""

    def __init__(self, pid: int, seconds: float) -> None:
        super().__init__(name="watch", daemon=True)
        self.peak = 0
        self.ended = threading.Event()
        self._pid = pid
        self._deadline = time.monotonic() + seconds

    def run(self) -> None:
        """Look again and again until the tree has ended."""
        while not self.ended.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(_peak, _tree(self._pid))))
            if time.monotonic() > self._deadline:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)


def take(commands: Sequence[Command], output: Path, seconds: float) -> Taken:
    """Run commands one after another; the first that fails is the last. They are killed after so many seconds."""
    wall = cpu = memory = 0.0
    for command in commands:
        done = _take(command, output, seconds - wall)
        wall, cpu, memory = wall + done.wall, cpu + done.cpu, max(memory, done.memory)
        if done.code:
            return Taken(wall, cpu, memory, done.code)
    return Taken(wall, cpu, memory, 0)


def _take(command: Command, output: Path, seconds: float) -> Taken:
    with open(output, "ab") as said:
        began = time.monotonic()
        process = subprocess.Popen(
            command.words, env={**_environment(), **command.environment},
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        watch = Watch(process.pid, seconds)
        watch.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:  # such as Ctrl-C, which the process does not hear in its own session
            os.killpg(process.pid, signal.SIGKILL)
            raise
        wall = time.monotonic() - began
    watch.ended.set()
    watch.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Taken(wall, used.ru_utime + used.ru_stime, watch.peak * 1024 / 1e6, process.returncode)


def _environment() -> dict[str, str]:
    """Return ours, but for what keeps Python from keeping what it has compiled: pip does that for a user."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _tree(pid: int) -> Iterator[int]:
    """Give a process and all that live below it."""
    yield pid
    for child in _children(pid):
        yield from _tree(child)


def _children(pid: int) -> Iterable[int]:
    # A process may end while it is looked at: what was read until then counts.
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as children:
                yield from map(int, children.read().split())


def _peak(pid: int) -> int:
    """Return the most memory that a process has had so far, in KiB; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            match = _PEAK.search(status.read())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(match[1]) if match is not None else 0

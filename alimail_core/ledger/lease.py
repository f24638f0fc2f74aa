"""Who works on an account: an owner's name that can be told dead from alive on the same machine.

A lease names boot, process and the process's start time, so that a process number that was given out again, or
a machine that was started again, is never mistaken for the owner. Wall clocks of two machines are not compared.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _start_time(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot (proc(5)), None where it cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def this_owner() -> str:
    """Name this process, and this lease of it, as an owner."""
    pid = os.getpid()
    return json.dumps(
        {"boot": _boot_id(), "pid": pid, "start": _start_time(pid) or "", "lease": uuid.uuid4().hex[:8]}
    )


def _process_exists(pid: int) -> bool:
    if os.name == "nt":
        # os.kill would end the process there; without a way to tell, the heartbeat decides (see is_alive).
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


STALE_SECONDS = 300.0
"""Without /proc, an owner whose heartbeat is older than this is taken for dead."""


def is_alive(owner: str, silent_for: float) -> bool:
    """Tell whether the owner's process lives. ``silent_for``: seconds since its heartbeat, by one clock."""
    try:
        told = json.loads(owner)
        boot, pid, start = told["boot"], int(told["pid"]), told["start"]
    except (ValueError, KeyError, TypeError):
        return False
    if not boot or not _boot_id():
        return _process_exists(pid) and silent_for < STALE_SECONDS
    return bool(boot == _boot_id() and start and start == _start_time(pid))

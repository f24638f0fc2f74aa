"""Try every account before anything moves: secrets, logins, TLS, folders, capabilities, quota. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from attrs import frozen

from alimail_core.contract import Sink, Source
from alimail_core.ends import Ends
from alimail_core.errors import AlimailError, InputError, Interrupted, Remark
from alimail_core.model import Folder, Quota
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec

SIDES: Final = ("source", "target")

LEVELS = ("ok", "note", "warning", "fault")
"""What a remark's level may be, the mildest first."""

_NEARLY = 0.9
"""The part of the free storage from which on a mailbox that fits is worth a warning."""


@frozen
class CheckResult:
    """What was found of one side of one account. ``level`` is the gravest of its remarks'."""

    account: str
    """The account's source address."""
    side: str
    """``"source"`` or ``"target"``."""
    level: str
    remarks: tuple[Remark, ...]
    address: str = ""
    """The address of this side."""
    messages: int = 0
    octets: int = 0
    """What the folders hold, as far as their listing tells it."""
    tried: bool = True
    """False: the account is disabled, so that a run passes it over, and this does as well."""


def worst(remarks: Iterable[Remark]) -> str:
    """Return the gravest level among remarks, ``"ok"`` where there are none."""
    return max((remark.level for remark in remarks), key=LEVELS.index, default="ok")


def fault_of(error: AlimailError) -> list[Remark]:
    """Tell an error as remarks: its own words, and each fault that it collects."""
    remarks = [Remark("fault", str(error), error.remedy)]
    if isinstance(error, InputError):
        remarks += [Remark("fault", f"{each.where}: {each.message}", each.remedy) for each in error.faults]
    return remarks


def passed_over(account: AccountSpec, sides: Collection[str] = SIDES) -> list[CheckResult]:
    """Tell of both sides of an account that is disabled, or one, that nobody has tried them."""
    remark = Remark("note", "disabled, so not tried: a run passes it over", "`alimail enable` lets it run.")
    addresses = {"source": account.source_address, "target": account.target_address}
    return [
        CheckResult(account.source_address, side, remark.level, (remark,), addresses[side], tried=False)
        for side in SIDES
        if side in sides
    ]


def check_account(
    ends: Ends,
    *,
    leaves_process: bool,
    tell_bug: Callable[[Exception], None],
    sides: Collection[str] = SIDES,
) -> Iterator[CheckResult]:
    """Try ``sides`` of an account, and give one result for each. Raises ``Interrupted`` and nothing else.

    ``leaves_process``: its work will be done in another process, so its secrets must be found there.
    """
    account = ends.account
    measured: list[Folder] = []
    taken: list[Folder] = []

    def source() -> Iterator[Remark]:
        with ends.source_alone() as side:
            yield from ends.remarks_of_source()
            yield from _look_at_source(side, measured)

    def target() -> Iterator[Remark]:
        with ends.sink_alone() as side:
            yield from ends.remarks_of_sink()
            yield from _look_at_sink(side, measured, taken)

    for name, address, secret, look, folders in (
        ("source", account.source_address, account.source_secret, source, measured),
        ("target", account.target_address, account.target_secret, target, taken),
    ):
        if name not in sides:
            continue
        remarks = tuple(_collected(_with_secret(secret, leaves_process, look), tell_bug))
        yield CheckResult(
            account.source_address,
            name,
            worst(remarks),
            remarks,
            address,
            sum(folder.messages or 0 for folder in folders),
            sum(folder.octets or 0 for folder in folders),
        )


def _with_secret(
    secret: Secret, leaves_process: bool, look: Callable[[], Iterator[Remark]]
) -> Iterator[Remark]:
    """Look at a side, but where its secret cannot be had."""
    remarks = _secret_remarks(secret, leaves_process)
    yield from remarks
    if worst(remarks) != "fault":
        yield from look()


def _collected(remarks: Iterator[Remark], tell_bug: Callable[[Exception], None]) -> Iterator[Remark]:
    """Give remarks until an error ends them; then give the error as one."""
    try:
        yield from remarks
    except Interrupted:
        raise
    except AlimailError as error:
        yield from fault_of(error)
    except Exception as bug:  # noqa: BLE001 - one account's bug must not end the check of the others
        tell_bug(bug)
        yield Remark("fault", f"{type(bug).__name__}: a bug in alimail or in a plug-in", "Report it.")


def _secret_remarks(secret: Secret, leaves_process: bool) -> list[Remark]:
    remark = secret.check()
    unreachable = leaves_process and not secret.leaves_process
    return [*([remark] if remark else []), *([prompt_remark(secret)] if unreachable else [])]


def prompt_remark(secret: Secret) -> Remark:
    """Say that a secret cannot be had in another process."""
    return Remark(
        "fault",
        f"the secret ({secret.reference}) is known to this process alone, and the work is done in others",
        'Use env:NAME or file:PATH, or executor = "threads".',
    )


def _look_at_source(side: Source, measured: list[Folder]) -> Iterator[Remark]:
    folders = list(side.folders())
    measured += folders
    yield Remark("ok", f"{_count(len(folders), 'folder')}, {_size(folders)}")
    yield from side.remarks()


def _look_at_sink(side: Sink, measured: list[Folder], taken: list[Folder]) -> Iterator[Remark]:
    folders = list(side.folders())
    taken += folders
    yield Remark("ok", f"{_count(len(folders), 'folder')}, {_size(folders)}")
    yield from side.remarks()
    quota = side.quota()
    yield Remark("note", "the server tells no quota") if quota is None else _fits(quota, measured)


def _fits(quota: Quota, measured: Iterable[Folder]) -> Remark:
    """Compare the free storage with the source's size, as far as its listing tells it."""
    free = max(quota.limit - quota.used, 0)
    wanted = sum(folder.octets or 0 for folder in measured)
    storage = f"{free:,} octets free of {quota.limit:,}"
    if wanted > free:
        return Remark(
            "fault",
            f"{storage}, and the source has {wanted:,}",
            "Enlarge the mailbox, or leave folders out with rules.",
        )
    if wanted > free * _NEARLY:
        return Remark("warning", f"{storage}, and the source has {wanted:,}", "Enlarge the mailbox a little.")
    return Remark("ok", storage)


def _size(folders: Iterable[Folder]) -> str:
    known = [folder.messages for folder in folders if folder.messages is not None]
    octets = [folder.octets for folder in folders if folder.octets is not None]
    text = _count(sum(known), "message") if known else "messages not counted"
    return f"{text}, {sum(octets):,} octets" if octets else text


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

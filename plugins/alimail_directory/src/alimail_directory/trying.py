"""What ``alimail check`` tells of an application: what it may read, and whose organisation it is in."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from alimail_core import Denied, Refused, Remark, fold
from alimail_directory.api import LIST_DEPARTMENTS, LIST_FOLDERS, LIST_GROUPS, LIST_USERS, PAGE, ROOT, Call
from alimail_directory.client import Client, Json, listed
from alimail_directory.mapping import text_of

FEW = 5
"""Departments that are searched for somebody."""


def remarks_of(client: Client, domains: Collection[str]) -> Iterator[Remark]:
    """Try each listing once, and hold the domains of those who are there against those that are wished.

    Only reading is tried: a call that makes something would make it.
    """
    trying = _Trying(client)
    departments = trying.listing(LIST_DEPARTMENTS, ROOT)
    people: list[Json] = []
    for place in (ROOT, *(text_of(each, "id") for each in departments[:FEW])):
        people = people or trying.listing(LIST_USERS, place)
    groups = trying.listing(LIST_GROUPS)
    yield from trying.faults
    if not trying.faults:
        yield Remark(
            "ok",
            "the application reads departments, users and mail groups; what it may make shows at the first step",
        )
    addresses = [fold(text_of(each, "email")) for each in (*people, *groups)]
    theirs = {address.rpartition("@")[2] for address in addresses if "@" in address}
    if theirs and domains and not theirs.intersection(map(fold, domains)):
        yield Remark(
            "warning",
            f"whom it sees there is at {_some(theirs)}, and accounts shall be made at {_some(domains)}",
            "See that it is the right organisation's application and region, and that the console has the domain.",
        )
    if people:
        trying.faults.clear()
        trying.listing(LIST_FOLDERS, fold(text_of(people[0], "email")))
        yield from (
            Remark("note", f"{each.text}: `alimail verify --api` cannot count", each.remedy)
            for each in trying.faults
        )


class _Trying:
    """Asks, and keeps what is refused."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.faults: list[Remark] = []

    def listing(self, call: Call, *names: str) -> list[Json]:
        """Return the first page of a listing, nothing where it is refused; each permission is told once."""
        query = None if call is LIST_FOLDERS else {"offset": 0, "limit": PAGE}
        try:
            return listed(self.client.call(call, *names, query=query), call)
        except (Denied, Refused) as error:
            text = error.message
            if isinstance(error, Refused):
                text = f"the API does not answer {call.path}: {error.message}"
            if all(text != each.text for each in self.faults):
                self.faults.append(Remark("fault", text, error.remedy))
            return []


def _some(domains: Collection[str]) -> str:
    names = sorted(domains)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

"""What every operation begins with, and how it answers: one response message for each thing that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import define

from tests.exchange.organisation import Organisation
from tests.exchange.shapes import ONLY_IN_GET_ITEM, Shape
from tests.exchange.soap import Failure, Request, failed, response, success

Thing = TypeVar("Thing")


@define
class Habits:
    """What differs between servers, or is theirs to decide."""

    renders_anew: bool = True
    """MIME content comes with other octets each time."""
    malformed_id_fails_all: bool = True
    """One malformed ItemId is answered by a fault for the whole GetItem, else by its own response message."""
    find_limit: int = 1000
    """Most things in one answer of FindItem or FindFolder (a throttling policy's FindCountLimit)."""
    sync_limit: int = 512
    """Most changes in one answer, whatever was asked for."""
    full_is_last: bool = False
    """A page of SyncFolderItems with as many changes as were asked for says that there are no more: grommunio."""
    passes_over_damage: bool = False
    """SyncFolderItems says nothing of items that cannot be read, and counts them as told: grommunio."""
    hides_damage: bool = False
    """Neither SyncFolderItems nor FindItem says anything of items that cannot be read; the folder counts them."""
    wants_action: bool = False
    """A request is known by its field SOAPAction alone, as servers have it that were made from the WSDL."""
    posts_only: bool = False
    """Whoever asks for EWS otherwise than by POST hears so (HTTP 405), before he is asked who he is: grommunio."""


@define
class Call:
    """One request, with what it is about."""

    organisation: Organisation
    habits: Habits
    request: Request
    spoilt: Callable[[int], Failure | None] = lambda _: None
    """What is to go wrong with the response message of this number, counted from 0."""


def each(
    call: Call, nodes: Sequence[Thing], one: Callable[[Thing], bytes], *, on_error: bytes = b""
) -> bytes:
    """Answer with one response message for each of the things asked."""
    name, messages = call.request.operation, []
    for number, node in enumerate(nodes):
        try:
            if (spoilt := call.spoilt(number)) is not None:
                raise spoilt
            messages.append(success(name, one(node)))
        except Failure as failure:
            messages.append(failed(name, failure, on_error))
    return response(name, messages)


def refuse_content(shape: Shape) -> None:
    """Refuse in a listing what only GetItem tells."""
    refused = shape.mime or shape.paths & ONLY_IN_GET_ITEM
    if refused:
        raise Failure("ErrorInvalidPropertyRequest", "Property is not valid for this operation.")

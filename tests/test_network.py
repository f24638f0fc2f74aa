"""Connections to servers: what is said where there is none."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest

from alimail_core.errors import AlimailError, Denied, Transient
from alimail_core.network import ServerOptions, dial


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [(socket.EAI_NONAME, Denied, "no server of the name"), (socket.EAI_AGAIN, Transient, "no connection")],
)
def test_a_name_that_is_none_is_no_passing_trouble(
    code: int, kind: type[AlimailError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that does not exist ends the account at once; a name server that does not answer is waited for."""

    def look_up(*_: object) -> NoReturn:
        raise socket.gaierror(code, "as the system says it")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(kind, match=words):
        dial(ServerOptions("mail.old.example", port=993))

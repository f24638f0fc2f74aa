"""The server's side of Negotiate with a Kerberos ticket (RFC 4559), by MIT's own GSSAPI."""

from __future__ import annotations

from pathlib import Path

import gssapi

from tests.exchange.ntlm import NotProven


def accept(token: bytes, keytab: Path, end_point: bytes | None) -> tuple[str, bytes]:
    """Return whose ticket it is, ``name@realm``, and the server's proof in return. Raises ``NotProven``.

    ``keytab`` has the keys of the services. Where ``end_point`` is given, the token must be bound to it.
    """
    bindings = gssapi.raw.ChannelBindings(application_data=end_point) if end_point is not None else None
    try:
        keys = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{keytab}"})
        context = gssapi.SecurityContext(usage="accept", creds=keys, channel_bindings=bindings)
        proof = context.step(token)
        if not context.complete:
            raise NotProven("half a token")
        # MIT takes a token that is bound to nothing, and says so by this flag.
        if end_point is not None and gssapi.RequirementFlag.channel_bound not in context.actual_flags:
            raise NotProven("a token for any TLS connection")
        return str(context.initiator_name), proof or b""
    except gssapi.exceptions.GSSError as error:
        raise NotProven(str(error)) from error

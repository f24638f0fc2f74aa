"""What a good script makes of exchangelib and imapclient: walk an inbox, append each message.

``python -m benchmarks.exchange_script EXCHANGE_PORT CA IMAP_PORT CA USER``. It does all that costs nothing to do
well: only the fields that it needs, exchangelib's own pages and chunks, flags and dates kept.
"""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any

from exchangelib import IMPERSONATION, NTLM, Account, Configuration, Credentials
from exchangelib.protocol import BaseProtocol
from imapclient import IMAPClient
from requests.adapters import HTTPAdapter


def main(exchange_port: str, exchange_ca: str, imap_port: str, imap_ca: str, user: str) -> None:
    """Copy amy's inbox into a user's."""

    class Trusting(HTTPAdapter):  # type: ignore[misc]
        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, exchange_ca, cert)

    BaseProtocol.HTTP_ADAPTER_CLS = Trusting
    configuration = Configuration(
        service_endpoint=f"https://localhost:{exchange_port}/EWS/Exchange.asmx",
        credentials=Credentials("OLD\\svc", os.environ["BENCH_SOURCE"]),
        auth_type=NTLM,
    )
    account = Account("amy@old.example", config=configuration, access_type=IMPERSONATION, autodiscover=False)
    context = ssl.create_default_context(cafile=imap_ca)
    with IMAPClient("localhost", int(imap_port), ssl_context=context) as target:
        target.normalise_times = False
        target.login(user, os.environ["BENCH_TARGET"])
        for item in account.inbox.all().only("mime_content", "is_read", "datetime_received"):
            flags = ("\\Seen",) if item.is_read else ()
            target.append("INBOX", item.mime_content, flags, item.datetime_received)


if __name__ == "__main__":
    main(*sys.argv[1:])

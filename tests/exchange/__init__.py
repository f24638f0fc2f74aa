"""An Exchange server for tests, on loopback: EWS as documented, held to Microsoft's schemas in both directions."""

from tests.exchange.calls import Habits
from tests.exchange.organisation import Organisation
from tests.exchange.server import ExchangeServer
from tests.exchange.soap import (
    EXCHANGE_2007,
    EXCHANGE_2010,
    EXCHANGE_2013,
    EXCHANGE_2016,
    EXCHANGE_2019,
    VERSIONS,
)
from tests.exchange.store import Folder, Item, Mailbox

__all__ = [
    "EXCHANGE_2007",
    "EXCHANGE_2010",
    "EXCHANGE_2013",
    "EXCHANGE_2016",
    "EXCHANGE_2019",
    "VERSIONS",
    "ExchangeServer",
    "Folder",
    "Habits",
    "Item",
    "Mailbox",
    "Organisation",
]

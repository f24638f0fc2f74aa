"""Builds and the products that they belong to."""

from __future__ import annotations

import pytest

from alimail_ews.builds import is_online, product


@pytest.mark.parametrize(
    ("build", "name"),
    [
        ("8.3.485.1", "Exchange 2007 SP3"),
        ("14.3.513.0", "Exchange 2010 SP3"),
        ("14.0.639.21", "Exchange 2010 without a service pack"),
        ("15.0.1497.48", "Exchange 2013"),
        ("15.1.2507.35", "Exchange 2016"),
        ("15.2.1748.10", "Exchange 2019"),
        ("15.2.2562.17", "Exchange SE"),
        ("15.20.9000.1", "Exchange Online"),
        ("16.0.1.1", "a server with Exchange Web Services"),
        ("", "a server with Exchange Web Services"),
    ],
)
def test_a_build_tells_the_product(build: str, name: str) -> None:
    """By its first numbers; what nobody has seen yet is not called by a wrong name."""
    assert product(build) == name


@pytest.mark.parametrize(
    ("host", "build", "online"),
    [
        ("Outlook.Office365.com.", "", True),
        ("eur.outlook.com", "", True),
        ("partner.outlook.cn", "", True),
        ("mail.old.example", "15.20.1.2", True),
        ("mail.old.example", "15.2.1.2", False),
        ("notoutlook.com", "", False),
    ],
)
def test_microsofts_own_service_is_known(host: str, build: str, online: bool) -> None:
    """By its name or by its build."""
    assert is_online(host, build) is online

"""The provisioner over the strict server keeps the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alimail_core import Provisioner
from alimail_core.testing import FakeClock, ProvisionerContract
from alimail_directory.provisioner import open_provisioner
from alimail_directory.testing import OpenPlatform, OpenPlatformServer


class TestOpenPlatform(ProvisionerContract):
    """The Open Platform API."""

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        self.platform = OpenPlatform(calls_per_second=100_000)
        with OpenPlatformServer(self.platform) as self.server:
            yield

    def make_provisioner(self, tmp_path: Path) -> Callable[[], Provisioner]:
        """Found an organisation."""
        clock = FakeClock()
        return lambda: open_provisioner(self.server.options(), clock)

    def has_password(self, address: str, password: str) -> bool:
        """Ask the server."""
        user = self.platform.find_user(address)
        return user is not None and self.platform.passwords[user["id"]] == password

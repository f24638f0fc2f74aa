"""What stands in a helper and asserts tells what it compared, as a test does."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.real.bench")

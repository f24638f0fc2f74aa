"""What all tests share: real servers, hypothesis's profiles, and which of the long tests run.

Tests marked ``long`` are many of a kind (seeds, kill points). Without ``--long`` a sample of each kind runs,
drawn anew each day in CI and from ``--sample-seed`` where that is given; the seed stands in the header.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest

# Helpers assert too; here, because tests of several folders take this one.
pytest.register_assert_rewrite("tests.real.bench")
pytest_plugins = ["alimail_core.testing.fixtures", "tests.exchange.fixtures"]

SAMPLE = 5
"""How many of each kind of long test run without ``--long``, unless its mark says another ``sample``."""

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, database=None, max_examples=100
)
hypothesis.settings.register_profile("dev", deadline=None, print_blob=True)
hypothesis.settings.register_profile("quick", deadline=None, print_blob=True, max_examples=8)  # `make check`

LONG_SECONDS = 1800
"""A long test of ``--long`` may be a search that found something: it needs its time to tell it in few words."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long`` and ``--sample-seed``."""
    group = parser.getgroup("alimail")
    group.addoption("--long", action="store_true", help="run all of the long tests, not a sample of them")
    group.addoption("--sample-seed", type=int, default=None, help="draw the sample of long tests from this")


def pytest_configure(config: pytest.Config) -> None:
    """Choose hypothesis's profile: examples that are the same each time in CI, new ones at the desk."""
    if config.getoption("hypothesis_profile", None) is None:
        hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")
    if hasattr(config, "workerinput"):
        config.option.sample_seed = config.workerinput["sample_seed"]
    elif config.getoption("--sample-seed") is None:
        config.option.sample_seed = int(f"{datetime.now(UTC):%Y%m%d}")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each of xdist's workers the seed, of which its own command line may know nothing."""
    node.workerinput["sample_seed"] = node.config.getoption("--sample-seed")


def pytest_report_header(config: pytest.Config) -> str:
    """Say what repeats this very run."""
    chosen = "all" if config.getoption("--long") else f"--sample-seed={config.getoption('--sample-seed')}"
    return f"long tests: {chosen}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long tests that are not in the sample, the same ones in every worker."""
    if config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long") is not None:
                item.add_marker(pytest.mark.timeout(LONG_SECONDS))
        return
    kinds: dict[str, list[pytest.Item]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for item in items:
        if (mark := item.get_closest_marker("long")) is not None:
            kind = item.nodeid.partition("[")[0]
            kinds[kind].append(item)
            sizes[kind] = mark.kwargs.get("sample", SAMPLE)
    left_out: set[pytest.Item] = set()
    for kind, members in kinds.items():
        draw = random.Random(f"{config.getoption('--sample-seed')} {kind}")
        left_out.update(draw.sample(members, max(0, len(members) - sizes[kind])))
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]

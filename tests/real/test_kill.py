"""``kill -9`` of the real process, again and again: not one message lost, doubled or written again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.servers import Dovecot
from tests.real.bench import (
    Office,
    Place,
    Server,
    assert_all_there,
    assert_claims,
    assert_written_once,
    fill,
    kill_some,
)

SEEDS = range(40)


def kill_again_and_again(seed: int, source_server: Server, target_server: Server, folder: Path) -> None:
    """Fill a mailbox, kill up to three runs at instants of the seed's, let one run end, and one more; look at all."""
    draw = random.Random(f"kills {seed}")
    source, target = Place.at(source_server, "old"), Place.at(target_server, "new")
    fill(source, seed, draw.randint(60, 140))
    messages = source.on_disk()
    office = Office(folder, source, target)
    kill_some(office.start, office.target, draw, messages)
    code, output = office.run()
    assert code == 0, output
    assert_all_there(source, target)
    assert_written_once(target)
    code, output = office.run()
    assert code == 0, output
    assert (office.last_pass()["copied"], office.last_pass()["adopted"]) == (0, 0)
    assert_all_there(source, target)
    assert_written_once(target)
    assert_claims(office.ledger, messages)


@pytest.mark.server
@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_before_a_rich_target(
    seed: int, source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """Into a server with MULTIAPPEND and LITERAL+, killed runs end complete, and every message was stored once."""
    kill_again_and_again(seed, source_server, target_server, tmp_path)


@pytest.mark.server
@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_before_alibaba_mail(
    seed: int, source_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """Into what Alibaba Mail presents itself as, killed runs end complete, and every message was stored once."""
    kill_again_and_again(seed, source_server, alibaba_server, tmp_path)

"""One host after the other, without a stop: old and new programs on one spool, under load.

The next release is made of this one: the same program with a revision more, which adds columns, a
table and an index to what is in use.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from load import plain_listener
from receiver import Receiver
from relay_process import BIN, Relay, eventually, free_port
from witness import Witness

import mta
from mta.spool.schema import REVISION

pytestmark = [pytest.mark.flow, pytest.mark.timeout(240)]

NODE = """
[queue]
node = "n{number}"
lease = "10s"
"""
NEXT = f"{int(REVISION) + 1:04}"
TOMORROW = f'''
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{NEXT}", "{REVISION}", None, None


def upgrade() -> None:
    for table in ("messages", "recipients", "chunks", "attempts", "events", "nodes", "wakeups"):
        new = sa.Column("of_tomorrow", sa.Integer(), nullable=False, server_default="0")
        op.add_column(table, new)
    op.create_table("of_tomorrow", sa.Column("id", sa.Text(), primary_key=True))
    op.create_index("ix_of_tomorrow", "recipients", ["of_tomorrow", "message_id"])
'''


class Release:
    """A checkout of the program."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.place)}

    def run(self, relay: Relay, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its command line on an installation."""
        return subprocess.run(
            [str(BIN / "mta"), *arguments],
            check=False, capture_output=True, text=True, timeout=120, cwd=self.place,
            env={**os.environ, **self.environment, "MTA_CONFIG": str(relay.config)},
        )  # fmt: skip

    def start(self, relay: Relay) -> None:
        relay.environment = self.environment
        relay.start()


@pytest.fixture
def this() -> Release:
    """The program that is tested."""
    return Release(Path(mta.__file__).parents[1])


def release(place: Path, this: Release, *, contracts: bool = False) -> Release:
    """Make the next release at ``place``; ``contracts``: this one cannot work with its schema."""
    shutil.copytree(this.place / "mta", place / "mta")
    plugins = place / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    shutil.copy(this.place / "twisted" / "plugins" / "mta_plugin.py", plugins)
    spool = place / "mta" / "spool"
    (spool / "migrations" / "versions" / f"{NEXT}_tomorrow.py").write_text(TOMORROW)
    schema = (spool / "schema.py").read_text()
    schema = schema.replace(f'REVISION = "{REVISION}"', f'REVISION = "{NEXT}"')
    if contracts:
        schema = re.sub(r'(?m)^OLDEST = "\d+"', f'OLDEST = "{NEXT}"', schema)
    (spool / "schema.py").write_text(schema)
    return Release(place)


def share(node: Relay, other: Relay) -> None:
    """Let ``node`` use the spool of ``other``."""
    line = next(one for one in other.config.read_text().splitlines() if one.startswith("url = "))
    line = line.replace("sqlite:///", f"sqlite:///{other.directory}/")
    text = node.config.read_text()
    old = next(one for one in text.splitlines() if one.startswith("url = "))
    node.config.write_text(text.replace(old, line))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_one_after_the_other_under_load(
    database: str,
    request: pytest.FixtureRequest,
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
    this: Release,
    tmp_path: Path,
) -> None:
    """Old on the old schema, old on the new one (started anew, too), new: 0 are missing."""
    following = release(tmp_path / "next", this)
    receiver = receivers()
    ports = [free_port(), free_port()]
    nodes = [
        relays(receiver.port, plain_listener(port) + NODE.format(number=number))
        for number, port in enumerate(ports)
    ]
    first, second = nodes
    if database == "postgresql":
        first.use_spool(request.getfixturevalue("empty_postgresql_url"))
    share(second, first)
    for node in nodes:
        this.start(node)
    loads = [Witness(port, prefix=f"p{port}-", clients=2, pause_s=0.02) for port in ports]

    def go_on(count: int = 30) -> None:
        """Both take so many more."""
        for load in loads:
            there = len(load.accepted)
            eventually(lambda load=load, there=there: len(load.accepted) > there + count, 60)  # type: ignore[misc]

    try:
        go_on()
        upgraded = following.run(first, "db", "upgrade")
        assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
        go_on()  # both old, on the new schema
        second.stop(signal.SIGKILL)
        this.start(second)  # the old one comes back on the new schema
        go_on()
        assert second.stop() == 0
        following.start(second)
        go_on()  # old and new
        assert first.stop() == 0
        following.start(first)
        go_on()
    finally:
        for load in loads:
            load.stop()
    wanted = set().union(*(load.recipients for load in loads))

    def arrived() -> list[str]:
        return [one for _, to, _ in list(receiver.envelopes) for one in to if one in wanted]

    receiver.wait_until(lambda: wanted <= set(arrived()), timeout_s=60)
    print(f"\n{database}: {len(wanted)} accepted, {len(arrived()) - len(wanted)} came twice")
    temporary = sum(load.temporary for load in loads)
    print(f"  {temporary} heard 4xx, {sum(load.lost for load in loads)} connections were lost")
    assert all(load.permanent == 0 for load in loads)
    assert f"schema {NEXT} is newer than {REVISION}" in second.log
    status = this.run(first, "db", "status")
    assert status.returncode == 0
    assert "is newer" in status.stdout


def test_the_new_one_upgrades_at_its_start_where_it_is_told_to(
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
    this: Release,
    tmp_path: Path,
) -> None:
    """Without the setting it refuses the old schema; with it, it works on the new one."""
    following = release(tmp_path / "next", this)
    receiver, port = receivers(), free_port()
    relay = relays(receiver.port, plain_listener(port))
    relay.environment = following.environment
    refused = subprocess.run(
        relay.command(), check=False, capture_output=True, text=True, timeout=60,
        cwd=relay.directory, env={**os.environ, **following.environment},
    )  # fmt: skip
    assert refused.returncode == 69
    assert f"schema {REVISION} is older than {NEXT}" in refused.stderr + refused.stdout
    text = relay.config.read_text()
    relay.config.write_text(text.replace("[spool]", "[spool]\nupgrade_at_start = true", 1))
    relay.start()
    relay.send(["u@there.test"], "after the upgrade")
    receiver.wait(1)


def test_an_old_one_is_told_where_it_cannot_go(
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
    this: Release,
    tmp_path: Path,
) -> None:
    """A release that contracts says so in the schema: status 69, and what to do."""
    following = release(tmp_path / "next", this, contracts=True)
    relay = relays(receivers().port)
    assert following.run(relay, "db", "upgrade").returncode == 0
    refused = subprocess.run(
        relay.command(), check=False, capture_output=True, text=True, timeout=60,
        cwd=relay.directory, env={**os.environ, **this.environment},
    )  # fmt: skip
    assert refused.returncode == 69
    assert f"schema {NEXT} is not known to this version" in refused.stderr + refused.stdout
    assert this.run(relay, "db", "status").returncode == 69

"""The first promise: what was answered 250 is never lost, whatever dies and whenever.

``KILLS`` sets how often the service is killed on each database (8 in ``make test``).
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from load import CLIENTS, LINES, Load, plain_listener
from real_filters import EveryChange, has_pymilter
from receiver import Receiver
from relay_process import Relay, eventually, free_port

pytestmark = [pytest.mark.flow, pytest.mark.timeout(300)]

KILLS = int(os.environ.get("KILLS", "8"))
needs_libmilter = pytest.mark.skipif(
    not has_pymilter(), reason="needs pymilter for /usr/bin/python3 (Debian: python3-milter)"
)
LARGE = (b"0123456789" * 90 + b"\r\n") * 1000  # what the filter puts in the place of some


def survive_kills(
    relay: Relay, receiver: Receiver, port: int, kills: int, *domains: str
) -> tuple[int, int]:
    """Kill and restart under load; return how many were accepted and how many came twice.

    ``domains`` are those that clients name, if these lead to other ones.
    """
    dice = random.Random(20261124)
    relay.start()
    load = Load(port, domains or ("there.test", "home.test"))
    try:
        for _ in range(kills):
            before = len(load.accepted)
            eventually(lambda before=before: len(load.accepted) > before + 5)  # type: ignore[misc]
            time.sleep(dice.random() * 0.5)  # the moment of death is the point
            relay.stop(signal.SIGKILL)
            relay.start()
        # Every kind of message is among them, however few there were
        eventually(lambda: any(int(one[1:]) % 20 == 0 for one in list(load.accepted)))
    finally:
        load.stop()
    wanted = {
        f"{subject}@{domain}.test" for subject in load.accepted for domain in ("there", "home")
    }

    def missing() -> set[str]:
        return wanted - {recipient for _, to, _ in receiver.envelopes for recipient in to}

    receiver.wait_until(lambda: not missing(), timeout_s=120)
    arrived = [recipient for _, to, _ in receiver.envelopes for recipient in to]
    return len(wanted), len(arrived) - len(set(arrived))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_sigkill_under_load_loses_nothing(
    database: str,
    request: pytest.FixtureRequest,
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
) -> None:
    """Every recipient of every message answered 250 gets it; duplicates are few and counted."""
    receiver = receivers()
    port = free_port()
    relay = relays(receiver.port, extra=plain_listener(port))
    if database == "postgresql":
        relay.use_spool(request.getfixturevalue("postgresql_url"))
    wanted, duplicates = survive_kills(relay, receiver, port, KILLS)
    print(f"\n{database}: {KILLS} kills, {wanted} recipients answered 250, {duplicates} duplicates")
    assert wanted > KILLS * 5
    assert duplicates <= KILLS * CLIENTS * 2 * 20
    assert relay.stop() == 0


ADDRESSES = """
[[domain]]
name = "many.test"
catch_all = ["@there.test", "@home.test"]

[srs]
domain = "many.test"
secret_file = "srs-secret"
"""


@needs_libmilter
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_sigkill_with_filters_aliases_and_verp(
    database: str,
    request: pytest.FixtureRequest,
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
    tmp_path: Path,
) -> None:
    """The same where an alias makes two of one, a filter has replaced bodies, and VERP divides."""
    receiver = receivers()
    port = free_port()
    place = f"unix:{tmp_path / 'filter.sock'}"
    tables = f'{ADDRESSES}\n[[milter]]\nname = "every"\nendpoint = "{place}"\n'
    relay = relays(receiver.port, extra=plain_listener(port) + tables)
    (relay.directory / "srs-secret").write_text("a long secret\n")
    (relay.directory / "srs-secret").chmod(0o600)
    text = relay.config.read_text()
    relay.config.write_text(
        text.replace(f"port = {receiver.port} }}", f"port = {receiver.port} }}\nverp = true")
    )
    if database == "postgresql":
        relay.use_spool(request.getfixturevalue("postgresql_url"))
    milter = EveryChange(tmp_path, place)
    try:
        wanted, duplicates = survive_kills(relay, receiver, port, KILLS, "many.test")
    finally:
        milter.close()
    print(f"\n{database}: {KILLS} kills, {wanted} recipients, {duplicates} duplicates")
    assert wanted > KILLS * 5
    assert all("=" in sender for sender, _, _ in receiver.envelopes)
    bodies = {content.partition(b"\r\n\r\n")[2] for _, _, content in receiver.envelopes}
    small = LINES.encode()
    assert bodies == {small, small.upper(), LARGE}
    assert relay.stop() == 0


def test_sigkill_leaves_each_message_once_in_its_maildir(
    tmp_path: Path, relays: Callable[..., Relay]
) -> None:
    """Into Maildirs even duplicates are none: a later attempt finds what an earlier one left."""
    mail, port = tmp_path / "mail", free_port()
    mail.mkdir()
    relay = relays(free_port(), extra=plain_listener(port))
    route = (
        f'\n[[route]]\nname = "boxes"\nmaildir = {{ path = "{mail}/{{domain}}", create = true }}\n'
    )
    text = relay.config.read_text()
    relay.config.write_text(text.replace("\n[[route]]", route + "\n[[route]]", 1))
    dice = random.Random(20261125)
    relay.start()
    load = Load(port)
    try:
        for _ in range(KILLS):
            before = len(load.accepted)
            eventually(lambda before=before: len(load.accepted) > before + 5)  # type: ignore[misc]
            time.sleep(dice.random() * 0.5)
            relay.stop(signal.SIGKILL)
            relay.start()
    finally:
        load.stop()
    wanted = {f"{one}@{domain}.test" for one in load.accepted for domain in ("there", "home")}

    def arrived() -> list[str]:
        files = [
            file for box in ("there.test", "home.test") for file in (mail / box / "new").iterdir()
        ]
        return [file.read_text().split("\n")[1].removeprefix("Delivered-To: ") for file in files]

    eventually(lambda: wanted <= set(arrived()), timeout_s=120, step_s=1)
    assert relay.stop() == 0
    found = arrived()
    print(f"\n{KILLS} kills, {len(wanted)} recipients answered 250, {len(found)} files")
    assert len(found) == len(set(found))

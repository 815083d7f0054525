"""Asked on one host, ``mta why`` tells what another host's process is doing with a message."""

import asyncio
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from receiver import Receiver
from relay_process import Relay, eventually

pytestmark = [pytest.mark.flow, pytest.mark.postgresql, pytest.mark.timeout(120)]

Relays = Callable[..., Relay]
NODE = '\n[queue]\nnode = "{node}"\nlease = "10s"\n[retry]\nsteps = ["1s"]\n'
# With process numbers and a name of its own a process is another host's, as far as can be seen
ELSEWHERE = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]


class Slow(Receiver):
    """Takes its time over the content until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        super().__init__()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        while not self.go.is_set():
            await asyncio.sleep(0.05)
        return await super().handle_DATA(server, session, envelope)


class Elsewhere:
    """A relay whose process seems to be on a host called "other"."""

    def __init__(self, relay: Relay) -> None:
        command = relay.command()
        relay.command = lambda: [*ELSEWHERE, 'hostname other && exec "$@"', "sh", *command]  # type: ignore[method-assign]
        self.relay = relay

    def dies(self) -> None:
        self.relay.stop(signal.SIGKILL)


@pytest.fixture
def receiver() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go.set()
    made.close()


def why(relay: Relay, what: str) -> dict[str, Any]:
    """Return the one answer about the one recipient of a message."""
    (found,) = (json.loads(line) for line in relay.mta("why", what, "--json").stdout.splitlines())
    (answer,) = found["answers"]
    return answer


def test_what_another_host_has_in_hand_and_delivers(
    receiver: Slow, relays: Relays, postgresql_url: str
) -> None:
    """Under way there; then that host is gone, with the moment at which we take over; then ours."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can give a process a host of its own (unshare)")
    here, there = (relays(receiver.port, NODE.format(node=one)) for one in ("here", "there"))
    here.use_spool(postgresql_url)
    text = there.config.read_text()
    old = next(line for line in text.splitlines() if line.startswith("url = "))
    there.config.write_text(text.replace(old, f'url = "{postgresql_url}"'))
    elsewhere = Elsewhere(there)
    for relay in (here, there):
        relay.start()
    there.send(["u@there.test"], "slow")
    eventually(lambda: here.mta("queue", "list", "--json").stdout)
    id_ = json.loads(here.mta("queue", "list", "--json").stdout)["id"]
    found = why(here, id_)
    assert (found["state"], found["blocked_by"]) == ("active", "")
    assert found["reason"] == "an attempt is under way, or about to begin, at there"
    assert "other" in here.mta("status").stdout

    elsewhere.dies()
    found = why(here, id_)  # it cannot be seen from here that it is gone
    assert found["reason"] == "an attempt is under way, or about to begin, at there"

    eventually(lambda: why(here, id_)["reason"].endswith("at here"), 60)
    receiver.go.set()
    eventually(lambda: why(here, id_)["state"] == "delivered")
    (attempt,) = why(here, id_)["attempts_made"]
    assert (attempt["node"], attempt["attempt"]) == ("here", 2)

"""Name servers and receiving hosts that do what they should not, under load."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from bad_peer import WRONGS, BadPeer
from moody_dns import EVIL
from receiver import Receiver
from relay_process import eventually

Bed = Callable[..., Any]


@pytest.mark.parametrize("mood", ["dead", "slow", "failing", "lying"])
def test_name_server(bed: Bed, mood: str) -> None:
    """Mail is taken whatever the name server does, and waits; nothing comes back."""
    one = bed("\n[queue]\ndown_after = 1000\n", pause_s=0.05)
    one.name_server.mood = mood  # from the start: nothing is in the cache
    one.start()
    eventually(lambda: one.name_server.told > (0 if mood == "dead" else 3), timeout_s=30)
    time.sleep(8)
    one.name_server.mood = "well"
    one.recovers()
    one.relay.mta("queue", "retry", "--all", "--yes", check=False)
    one.count(f"DNS: {mood}")
    assert one.load.temporary == one.load.lost == 0


def test_name_server_answers_in_good_form_and_falsely(bed: Bed) -> None:
    """Records of other names, CNAMEs in circles, hundreds of hosts, addresses on top: no mail
    goes where they lead, and none comes back.
    """
    one = bed("\n[queue]\ndown_after = 1000\n", pause_s=0.05)
    evil = Receiver(address=EVIL, port=one.receiver.port)
    one.name_server.mood = "false"  # from the start: nothing is in the cache
    try:
        one.start()
        eventually(lambda: one.name_server.told > 8, timeout_s=90)
        time.sleep(8)
        one.name_server.mood = "well"
        one.recovers()
        one.relay.mta("queue", "retry", "--all", "--yes", check=False)
        one.count("DNS: false, in good form")
        assert evil.envelopes == []
    finally:
        evil.close()
    assert one.load.temporary == one.load.lost == 0


def test_receiving_host_does_every_wrong(bed: Bed) -> None:
    """Each misbehaviour at least twice, under load, while another site's mail goes on."""
    one = bed("\n[queue]\ndown_after = 1000\n", domains=("there.test", "bad.test"), pause_s=0.05)
    peer = BadPeer("127.0.0.2", one.receiver.port)
    one.start()
    try:
        eventually(lambda: all(peer.done[wrong] >= 2 for wrong in WRONGS), timeout_s=120)
    finally:
        peer.close()
    well = Receiver(address="127.0.0.2", port=one.receiver.port)
    well.envelopes = one.receiver.envelopes
    try:
        one.recovers()
        one.relay.mta("queue", "retry", "--all", "--yes", check=False)
        one.count(f"peer: {len(WRONGS)} wrongs, {sum(peer.done.values())} times")
    finally:
        well.close()
    assert one.load.temporary == one.load.lost == 0

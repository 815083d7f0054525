"""Signatures as the receiving host sees them, from the running service."""

import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import dkim
import pytest
from receiver import Receiver
from relay_process import Relay, eventually

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]


def records(relay: Relay) -> dict[str, bytes]:
    """What ``mta dkim dns`` would have published."""
    lines = relay.mta("dkim", "dns", "home.test").stdout.splitlines()
    published = {}
    for line in lines:
        name, found, text = line.partition(". IN TXT ( ")
        if found:
            published[name] = "".join(text.split('"')[1::2]).encode()
    return published


def verify(relay: Relay, message: bytes) -> list[bool]:
    """What dkimpy says of each signature."""
    known = records(relay)

    def lookup(name: bytes, timeout: int = 5) -> bytes | None:
        return known.get(name.decode().rstrip("."))

    message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
    return [dkim.DKIM(message).verify(idx=number, dnsfunc=lookup) for number in range(count)]


def peak_kib(relay: Relay) -> int:
    """The most memory that the service has had, in KiB."""
    assert relay.process is not None
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_signed_on_the_way(receivers: Receivers, relays: Relays) -> None:
    """Both signatures verify where the mail arrives; a key comes into force with SIGHUP."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    relay.send(["u@there.test"], "before")
    receiver.wait(1)
    relay.mta("dkim", "generate", "home.test")
    relay.tell(signal.SIGHUP)
    eventually(lambda: "reloaded" in relay.log)
    relay.send(["u@there.test"], "after")
    receiver.wait(2)
    assert b"DKIM-Signature" not in receiver.envelopes[0][2]
    assert verify(relay, receiver.envelopes[1][2]) == [True, True]
    assert relay.stop() == 0


def test_a_readable_key_is_refused_at_start_and_reload(
    receivers: Receivers, relays: Relays
) -> None:
    """Attack: somebody else can read the key.  A reload keeps the old ones, a start says why."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.mta("dkim", "generate", "home.test", "--type", "rsa", "--selector", "s1")
    relay.start()
    key = relay.directory / "dkim" / "home.test" / "s1.pem"
    key.chmod(0o644)
    line = f"{key}: others can read or change this private key (mode 0644): chmod 600 it"
    relay.tell(signal.SIGHUP)
    eventually(lambda: f"not reloaded, the old configuration stays: {line}" in relay.log)
    relay.send(["u@there.test"], "still signed")
    receiver.wait(1)
    assert b"DKIM-Signature" in receiver.envelopes[0][2]
    assert relay.stop() == 0
    done = subprocess.run(relay.command(), check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, f"mta: {line}\n" in done.stderr) == (78, True)


def test_fifty_megabytes(receivers: Receivers, relays: Relays) -> None:
    """A message of 50 MB is signed while it arrives, in a few MB of memory, and verifies."""
    receiver = receivers(data_size_limit=100_000_000)
    relay = relays(receiver.port)
    relay.mta("dkim", "generate", "home.test")
    relay.cold = True  # its memory is measured
    relay.start()
    relay.send(["u@there.test"], "small")
    receiver.wait(1)
    before = peak_kib(relay)
    noise = random.Random(1)
    lines = [b"%-60d \t x\r\n" % noise.randrange(10**50) for _ in range(7000)]
    message = b"From: app@home.test\r\nSubject: large\r\n\r\n" + b"".join(lines) * 102
    assert len(message) > 47_000_000
    with relay.client() as client:
        client.sendmail("app@home.test", ["u@there.test"], message)
    receiver.wait(2, timeout_s=90)
    # A message held whole would be 47 MB and more; SQLite's and malloc's own come and go.
    assert peak_kib(relay) - before < 40_000
    content = receiver.envelopes[1][2]
    assert len(content) > len(message)
    assert verify(relay, content) == [True, True]
    assert relay.stop() == 0

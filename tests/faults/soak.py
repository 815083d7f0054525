"""Half an hour of everything at once: memory and descriptors stay flat, and nothing is lost.

``make soak`` (``SOAK='--minutes 5 --rate 10'``): the real relay on loopback, at a moderate
rate. Clients come in the clear, by STARTTLS and by SMTPS with AUTH; some messages are large,
some are refused at first, some for good, some go to a host that does every wrong in turn; some
clients break off in the middle; every minute the configuration is read anew (SIGHUP). Before
that plain mail comes as fast as it can, until the page caches of the database (8 MiB for each
connection) are full. A line is fitted through what the process has of memory and of descriptors
from the first quarter on: neither may rise. At the end the bad host is replaced by a good one,
and all that was answered 250 has to arrive.
"""

import argparse
import random
import signal
import smtplib
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from bad_peer import BadPeer
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay, free_port
from stub_dns import StubDns

ZONE = {
    (name, "MX"): [f"10 mx.{name}."]
    for name in ("there.test", "home.test", "later.test", "no.test")
} | {
    ("mx.there.test", "A"): ["127.0.0.1"],
    ("mx.home.test", "A"): ["127.0.0.1"],
    ("mx.later.test", "A"): ["127.0.0.1"],
    ("mx.no.test", "A"): ["127.0.0.1"],
    ("bad.test", "MX"): ["10 mx.bad.test."],
    ("mx.bad.test", "A"): ["127.0.0.2"],
}
WAYS = ("plain", "starttls", "smtps")
KINDS = {"there": 70, "later": 12, "no": 6, "bad": 3, "large": 3, "cut off": 6}
CLIENTS = 8
MESSAGES = 20  # over one connection
LARGE = 2_000_000
EVERY_S = 10.0
MOST_KIB = 4096  # memory may rise by, over all that was measured
MOST_DESCRIPTORS = 5.0

SETTINGS = """
[[listener]]
name = "load"
endpoint = "tcp:{port}:interface=127.0.0.1"
tls = "none"
auth = "none"
trusted_networks = ["127.0.0.0/8"]

[retry]
steps = ["10s", "30s", "2m", "5m"]
"""


class Host(Receiver):
    """The receiving host: keeps who got mail, not what."""

    def __init__(self, **where: object) -> None:
        self.arrived: Counter[str] = Counter()
        self.reports = 0
        self._refused: set[str] = set()
        super().__init__(self._decide, **where)  # type: ignore[arg-type]

    def _decide(self, recipient: str) -> str | None:
        domain = recipient.partition("@")[2]
        if domain == "no.test":
            return "550 5.1.1 nobody of that name"
        if domain == "later.test" and recipient not in self._refused:
            self._refused.add(recipient)
            return "451 4.2.0 later"
        self._refused.discard(recipient)
        return None

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        if (envelope.mail_from or "").strip("<>"):  # type: ignore[attr-defined]
            self.arrived.update(envelope.rcpt_tos)  # type: ignore[attr-defined]
        else:
            self.reports += 1
        return "250 2.0.0 Ok: taken"


class Clients:
    """Threads that send, each message over some way and of some kind."""

    def __init__(
        self, relay: Relay, port: int, rate: float, seed: int, *, simple: bool = False
    ) -> None:
        """``simple``: all is plain mail that is taken at once."""
        self.accepted: set[str] = set()
        self.sent: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.broken: Counter[str] = Counter()
        self._ways = WAYS[:1] if simple else WAYS
        self._kinds = {"there": 1} if simple else KINDS
        self._prefix = "w" if simple else "n"
        self._relay, self._port, self._pause_s = relay, port, CLIENTS / rate
        self._lock, self._stop, self._number = threading.Lock(), threading.Event(), 0
        self._threads = [
            threading.Thread(target=self._client, args=(random.Random(seed * 100 + n),))
            for n in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _client(self, dice: random.Random) -> None:
        while not self._stop.is_set():
            try:
                with self._connect(dice.choice(self._ways)) as client:
                    for _ in range(MESSAGES):
                        if self._stop.wait(dice.random() * 2 * self._pause_s):
                            return
                        if not self._send(client, dice):
                            break
            except smtplib.SMTPResponseException as error:
                self.refused[error.smtp_code] += 1
            except (OSError, smtplib.SMTPException) as error:
                self.broken[type(error).__name__] += 1

    def _connect(self, way: str) -> smtplib.SMTP:
        if way == "plain":
            return smtplib.SMTP("127.0.0.1", self._port, timeout=60)
        if way == "smtps":
            return self._relay.client()
        client = smtplib.SMTP("127.0.0.1", self._relay.submission_port, timeout=60)
        context = self._relay.trust()
        context.check_hostname = False  # the name is relay.test, the address is dialled
        client.starttls(context=context)
        client.login(LOGIN, PASSWORD)
        return client

    def _send(self, client: smtplib.SMTP, dice: random.Random) -> bool:
        """Send one message; False if the connection is over."""
        (kind,) = dice.choices(list(self._kinds), list(self._kinds.values()))
        with self._lock:
            self._number += 1
            number = self._number
        if kind == "cut off":
            self.sent[kind] += 1
            cut_off(client, dice)
            return False
        domain = kind if kind in ("later", "no", "bad") else "there"
        to = f"{self._prefix}{number}@{domain}.test"
        size = LARGE if kind == "large" else dice.choice((500, 3000, 10_000, 60_000))
        lines = f"{'x' * 70}\r\n" * (size // 72)
        text = f"From: app@home.test\r\nSubject: n{number}\r\n\r\n{lines}"
        client.sendmail("app@home.test", [to], text)
        with self._lock:
            self.accepted.add(to)
            self.sent[kind] += 1
        return True


def cut_off(client: smtplib.SMTP, dice: random.Random) -> None:
    """Go away at some point of a transaction, orderly or not."""
    for line in ("MAIL FROM:<app@home.test>", "RCPT TO:<gone@there.test>", "DATA"):
        client.docmd(line)
        if dice.random() < 0.2:
            break
    else:
        client.send(b"Subject: never\r\n\r\n" + b"x" * dice.choice((10, 5000, 400_000)))
    assert client.sock is not None
    if dice.random() < 0.5:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


class Figures:
    """What the process uses, as time goes by."""

    def __init__(self, pid: int) -> None:
        self._place = Path(f"/proc/{pid}")
        self._began = time.monotonic()
        self.rows: list[tuple[float, int, int, int]] = []  # minutes, KiB, descriptors, threads

    def take(self) -> None:
        fields = dict(
            line.split(":", 1) for line in (self._place / "status").read_text().splitlines()
        )
        memory, threads = int(fields["VmRSS"].split()[0]), int(fields["Threads"])
        descriptors = len(list((self._place / "fd").iterdir()))
        minutes = (time.monotonic() - self._began) / 60
        self.rows.append((minutes, memory, descriptors, threads))

    def rise(self, column: int, after: float) -> tuple[float, float]:
        """Return by how much the fitted line rises, from ``after`` minutes on, and the mean."""
        points = [(row[0], row[column]) for row in self.rows if row[0] >= after]
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        spread = sum((x - mean_x) ** 2 for x, _ in points) or 1.0
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        return slope * (points[-1][0] - points[0][0]), mean_y


def warm_up(relay: Relay, port: int, messages: int) -> set[str]:
    """Let so many messages through as fast as they go; return whom they went to."""
    clients = Clients(relay, port, 1e6, 0, simple=True)
    deadline = time.monotonic() + 1200
    while len(clients.accepted) < messages and time.monotonic() < deadline:
        time.sleep(1)
    clients.stop()
    print(f"{len(clients.accepted)} messages to warm up", flush=True)
    return clients.accepted


def soak(minutes: float, rate: float, seed: int, directory: Path, warm: int) -> list[str]:
    """Do it; return what is not as it should be."""
    host, port = Host(), free_port()
    bad = BadPeer("127.0.0.2", host.port)
    with StubDns(ZONE) as names:
        extra = SETTINGS.format(port=port)
        relay = Relay(directory, dns_port=names.port, mx_port=host.port, extra=extra, cold=True)
        relay.start(60)
        assert relay.process is not None
        first = warm_up(relay, port, warm)
        figures = Figures(relay.process.pid)
        clients = Clients(relay, port, rate, seed)
        clients.accepted |= first
        try:
            run(relay, clients, host, figures, minutes)
            clients.stop()
            bad.close()
            well = Host(address="127.0.0.2", port=host.port)
            lost = arrive(relay, clients, (host, well))
        finally:
            clients.stop()
            status = relay.stop(timeout_s=60)
        return judge(figures, clients, host, lost, minutes) + [f"exit status {status}"] * bool(
            status
        )


def run(relay: Relay, clients: Clients, host: Host, figures: Figures, minutes: float) -> None:
    """Let it go on, take figures, and have the configuration read anew every minute."""
    end, reload_s = time.monotonic() + minutes * 60, time.monotonic() + 60
    print("minute  accepted  arrived  reports  MiB    descriptors  threads", flush=True)
    while time.monotonic() < end:
        time.sleep(min(EVERY_S, max(0.0, end - time.monotonic())))
        assert relay.process is not None
        assert relay.process.poll() is None, "the service has ended"
        figures.take()
        if time.monotonic() >= reload_s:
            relay.tell(signal.SIGHUP)
            reload_s += 60
        if len(figures.rows) % max(1, round(minutes * 60 / EVERY_S / 10)) == 0:
            at, memory, descriptors, threads = figures.rows[-1]
            print(
                f"{at:6.1f}  {len(clients.accepted):8}  {host.arrived.total():7}"
                f"  {host.reports:7}  {memory / 1024:5.1f}  {descriptors:11}  {threads:7}",
                flush=True,
            )


def arrive(relay: Relay, clients: Clients, hosts: tuple[Host, ...]) -> set[str]:
    """Wait until all has come that was accepted; return what has not."""
    wanted = {to for to in clients.accepted if not to.endswith("@no.test")}
    refused = len(clients.accepted) - len(wanted)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        missing = wanted - set().union(*(host.arrived for host in hosts))
        if not missing and hosts[0].reports >= refused:
            return set()
        relay.mta("queue", "retry", "--all", "--yes", check=False)
        time.sleep(3)
    lacking = max(0, refused - hosts[0].reports)
    return missing | {f"report {n}" for n in range(lacking)}


def judge(
    figures: Figures, clients: Clients, host: Host, lost: set[str], minutes: float
) -> list[str]:
    """Print what came of it; return what is wrong."""
    memory, mean = figures.rise(1, minutes / 4)
    descriptors, open_ = figures.rise(2, minutes / 4)
    sent = ", ".join(f"{count} {kind}" for kind, count in sorted(clients.sent.items()))
    twice = sum(times - 1 for times in host.arrived.values())
    print(f"sent: {sent}; refused {dict(clients.refused)}; broken off {dict(clients.broken)}")
    print(f"accepted {len(clients.accepted)}, lost {len(lost)}, came twice {twice}")
    print(f"memory: {mean / 1024:.1f} MiB, fitted rise {memory:+.0f} KiB")
    print(f"descriptors: {open_:.1f}, fitted rise {descriptors:+.1f}")
    wrong = [f"lost: {sorted(lost)[:5]}"] if lost else []
    if memory > MOST_KIB:
        wrong.append(f"memory rises by {memory:.0f} KiB")
    if descriptors > MOST_DESCRIPTORS:
        wrong.append(f"descriptors rise by {descriptors:.1f}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=30.0, help="messages a second")
    parser.add_argument("--warm", type=int, default=200_000, help="messages before all else")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mta-soak-") as directory:
        place = Path(directory)
        wrong = soak(arguments.minutes, arguments.rate, arguments.seed, place, arguments.warm)
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Several workers under one supervisor: shared ports, deaths, reload, stop."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from load import Load, plain_listener
from receiver import Receiver
from relay_process import Relay, eventually, free_port

pytestmark = [pytest.mark.flow, pytest.mark.timeout(180)]

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]
HOST = 'host_name = "relay.test"'
TWO = {HOST: f"workers = 2\n{HOST}"}
NODES = ["relay.test", "relay.test/1", "relay.test/2"]


def status(relay: Relay) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(relay.mta("status", "--json", check=False).stdout)
    return found


def pids(relay: Relay) -> dict[str, int]:
    """Return the process of each node that is alive."""
    return {
        node["name"]: int(node["about"]["pid"]) for node in status(relay)["nodes"] if node["alive"]
    }


def complete(relay: Relay) -> bool:
    return sorted(pids(relay)) == NODES


def all_pids(relay: Relay, without: int = 0) -> dict[str, int]:
    """Return the process of each node, when all have said in the spool that they are there.

    ``without``: a process that has been killed, which the spool may not know yet.
    """
    found: dict[str, int] = {}

    def there() -> bool:
        found.clear()
        found.update(pids(relay))
        return sorted(found) == NODES and without not in found.values()

    eventually(there)
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def started(
    database: str, request: pytest.FixtureRequest, receivers: Receivers, relays: Relays
) -> tuple[Receiver, Relay, int]:
    """Start two workers; return where they deliver to, them, and the port of a plain listener."""
    receiver, port = receivers(), free_port()
    relay = relays(receiver.port, plain_listener(port), **TWO)
    if database == "postgresql":
        relay.use_spool(request.getfixturevalue("postgresql_url"))
    relay.start()
    return receiver, relay, port


def accepted_by(relay: Relay) -> set[int]:
    """Return the processes that have accepted mail."""
    return {int(pid) for pid in re.findall(r"mta/smtpd\[(\d+)\]: \w+: client=", relay.log)}


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_worker_that_is_killed_under_load_is_replaced_and_nothing_is_lost(
    database: str, request: pytest.FixtureRequest, receivers: Receivers, relays: Relays
) -> None:
    """SIGKILL of a worker: its mail and its place are taken up at once; the other goes on."""
    receiver, relay, port = started(database, request, receivers, relays)
    before = all_pids(relay)
    load = Load(port)
    try:
        for victim in ("relay.test/1", "relay.test/2", "relay.test/1"):
            there = len(load.accepted)
            eventually(lambda there=there: len(load.accepted) > there + 20)  # type: ignore[misc]
            killed = all_pids(relay)[victim]
            os.kill(killed, signal.SIGKILL)
            after = all_pids(relay, without=killed)
        there = len(load.accepted)
        eventually(lambda: len(load.accepted) > there + 20)
    finally:
        load.stop()
    assert after["relay.test"] == before["relay.test"]
    assert after["relay.test/1"] != before["relay.test/1"]
    wanted = {f"{one}@{domain}.test" for one in load.accepted for domain in ("there", "home")}

    def missing() -> set[str]:
        return wanted - {recipient for _, to, _ in receiver.envelopes for recipient in to}

    # Well below the lease of three minutes: who has died is known to be dead
    receiver.wait_until(lambda: not missing())
    assert relay.log.count("ended: SIGKILL; it is started again") == 3
    assert relay.stop(timeout_s=90) == 0
    assert all(gone(pid) for pid in after.values())
    assert status(relay)["nodes"] == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_both_workers_take_mail_and_deliver_it(
    database: str, request: pytest.FixtureRequest, receivers: Receivers, relays: Relays
) -> None:
    """Clients at once are served by both processes, each under its own name in the history."""
    receiver, relay, _ = started(database, request, receivers, relays)
    workers = {pid for name, pid in all_pids(relay).items() if "/" in name}
    numbers = count(1)

    def both() -> bool:
        relay.send([f"n{next(numbers)}@there.test"], "to whoever accepts first")
        return accepted_by(relay) == workers

    eventually(both, timeout_s=60)
    sent = next(numbers) - 1
    receiver.wait(sent)
    traces = "".join(relay.mta("trace", f"n{n}@there.test").stdout for n in range(1, sent + 1))
    assert all(f"by {name}" in traces for name in NODES[1:])
    assert sorted(to for _, (to,), _ in receiver.envelopes) == sorted(
        f"n{n}@there.test" for n in range(1, sent + 1)
    )


def test_reload_reaches_every_worker(receivers: Receivers, relays: Relays) -> None:
    """After SIGHUP to the supervisor both have the new size; a bad file reaches neither."""
    relay = relays(receivers().port, **TWO)
    relay.start()
    good = relay.config.read_text()
    relay.config.write_text(good + '\n[limits]\nmessage_sise = "1MiB"\n')
    relay.tell(signal.SIGHUP)
    eventually(lambda: relay.log.count("not reloaded, the old configuration stays") == 1)
    relay.config.write_text(good + '\n[limits]\nmessage_size = "1MiB"\n')
    relay.tell(signal.SIGHUP)
    eventually(lambda: relay.log.count("configuration and certificates reloaded") == 2)
    for _ in range(10):
        with relay.client() as client:
            client.ehlo()
            assert client.esmtp_features["size"] == str(1024 * 1024)


def test_sigterm_lets_every_worker_finish(receivers: Receivers, relays: Relays) -> None:
    """A message in the middle of DATA gets its 250, whichever worker has it; then all are gone."""
    receiver = receivers()
    relay = relays(receiver.port, **TWO)
    relay.start()
    everybody = all_pids(relay)
    busy = [relay.client() for _ in range(6)]
    for client in busy:
        client.mail("app@home.test")
        client.rcpt("u@there.test")
        assert client.docmd("DATA")[0] == 354
        client.send(b"Subject: late\r\n\r\nfirst half\r\n")
    relay.tell(signal.SIGTERM)
    eventually(lambda: relay.log.count("stopping") >= 3)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", relay.smtps_port), 5)
    for client in busy:
        client.send(b"second half\r\n.\r\n")
        assert client.getreply()[0] == 250
        client.close()
    assert relay.stop(timeout_s=90) == 0
    assert all(gone(pid) for pid in everybody.values())


def test_workers_do_not_outlive_their_supervisor(receivers: Receivers, relays: Relays) -> None:
    """SIGKILL of the supervisor: the workers end by themselves, and a new start has the ports."""
    receiver = receivers()
    relay = relays(receiver.port, **TWO)
    relay.start()
    everybody = all_pids(relay)
    relay.stop(signal.SIGKILL)
    eventually(lambda: all(gone(pid) for pid in everybody.values()), timeout_s=60)
    relay.start()
    relay.send(["u@there.test"], "after all")
    receiver.wait(1)


class _Slow(Receiver):
    """Answers the final dot when the test lets it."""

    begun = 0

    def __init__(self) -> None:
        self.go = threading.Event()
        super().__init__()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.begun += 1
        await asyncio.to_thread(self.go.wait, 60)
        return await super().handle_DATA(server, session, envelope)


def test_a_new_supervisor_leaves_alone_what_orphans_are_delivering(relays: Relays) -> None:
    """SIGKILL of the supervisor in the middle of a delivery, and a start: it arrives once.

    The orphaned worker still works under its name, so its successor takes another.
    """
    receiver = _Slow()
    try:
        relay = relays(receiver.port, **TWO)
        relay.start()
        relay.send(["u@there.test"], "once")
        eventually(lambda: receiver.begun == 1)
        relay.stop(signal.SIGKILL)
        relay.start()
        in_use = re.compile(r"node relay.test/\d is in use by process \d+ on ")
        eventually(lambda: in_use.search(relay.log) is not None)
        receiver.go.set()
        receiver.wait(1)
        eventually(lambda: "1 delivered" in relay.mta("why", "u@there.test").stdout)
        assert receiver.begun == 1
    finally:
        receiver.go.set()
        receiver.close()


def test_a_worker_that_dies_again_and_again_raises_an_alarm(
    receivers: Receivers, relays: Relays
) -> None:
    """Three deaths in a row: the operator is told in log and status, pauses grow, mail goes on."""
    receiver = receivers()
    relay = relays(receiver.port, **TWO)
    relay.start()
    for _ in range(3):
        eventually(lambda: complete(relay))
        os.kill(pids(relay)["relay.test/2"], signal.SIGKILL)
        eventually(lambda: "relay.test/2" not in pids(relay))
    (alarm,) = status(relay)["alarms"]
    assert (alarm["node"], alarm["name"]) == ("relay.test", "worker 2")
    assert "ended: SIGKILL; it is started again in 2 s (3 times in a row)" in alarm["text"]
    relay.send(["u@there.test"], "by the other")
    receiver.wait(1)
    eventually(lambda: complete(relay))
    shown = relay.mta("status").stdout
    assert "supervising" in shown
    assert shown.count("running") == 2


def test_a_worker_that_hangs_is_killed_and_replaced(receivers: Receivers, relays: Relays) -> None:
    """Stopped after it was ready, as by a loop that never ends: half a minute, and another."""
    receiver = receivers()
    relay = relays(receiver.port, **TWO)
    relay.start()
    victim = all_pids(relay)["relay.test/2"]
    os.kill(victim, signal.SIGSTOP)
    eventually(lambda: f"[{victim}] hangs, silent for 30 s: it is killed" in relay.log, 60)
    eventually(lambda: complete(relay) and pids(relay)["relay.test/2"] != victim)
    assert gone(victim)
    relay.send(["u@there.test"], "by whoever is there")
    receiver.wait(1)
    assert relay.log.count(" hangs, ") == 1


def test_a_worker_that_dies_while_the_file_is_broken_is_down_until_it_is_mended(
    receivers: Receivers, relays: Relays
) -> None:
    """It is shown as down; the other works on by the old configuration."""
    receiver = receivers()
    relay = relays(receiver.port, **TWO)
    relay.start()
    good, victim = relay.config.read_text(), all_pids(relay)["relay.test/1"]
    spare = relay.directory / "spare.toml"  # the command line wants a file that is right
    spare.write_text(good)
    relay.config.write_text(good + '\n[limits]\nmessage_sise = "1MiB"\n')
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: "relay.test/1 cannot start: " in relay.log)
    eventually(lambda: " down " in relay.mta("--config", str(spare), "status").stdout)
    relay.send(["u@there.test"], "by the other")
    receiver.wait(1)
    relay.config.write_text(good)
    eventually(lambda: complete(relay))


def test_a_start_that_cannot_succeed_is_one_line_and_a_status(
    receivers: Receivers, relays: Relays
) -> None:
    """As of a single process: no worker is even started."""
    relay = relays(receivers().port, **TWO)
    (relay.directory / "key.pem").unlink()
    done = subprocess.run(relay.command(), check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 78
    said = done.stdout + done.stderr
    assert [line for line in said.splitlines() if line.startswith("mta: ") and "key.pem" in line]
    assert "Traceback" not in said
    assert "worker" not in said


def test_a_daemon_has_its_workers_lines_in_its_log(receivers: Receivers, relays: Relays) -> None:
    """Standard error of a daemon is twistd's log, of its workers too; all end by the pid file."""
    receiver = receivers()
    relay = relays(receiver.port, **TWO)
    pidfile, log = relay.directory / "twistd.pid", relay.directory / "twistd.log"
    command = [part for part in relay.command() if part not in ("-n", "--pidfile=")]
    command[1:1] = [f"--pidfile={pidfile}", f"--logfile={log}"]
    # Reading to the end: a terminal, or ssh, is let go of when all workers are ready
    subprocess.run(command, check=True, timeout=30, cwd=relay.directory, capture_output=True)
    try:
        eventually(lambda: "started with 2 workers" in log.read_text())
        everybody = all_pids(relay)
        relay.send(["u@there.test"], "in the background")
        receiver.wait(1)
        eventually(lambda: "status=sent" in log.read_text())
    finally:
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
    eventually(lambda: not pidfile.exists(), timeout_s=60)
    eventually(lambda: all(gone(pid) for pid in everybody.values()))
    (accepted,) = re.findall(
        r"^\S+ \[mta#info\] mta/smtpd\[(\d+)\]: \w+: client=", log.read_text(), re.M
    )
    assert int(accepted) in everybody.values()


def test_sockets_of_systemd_are_passed_on(receivers: Receivers, relays: Relays) -> None:
    """A socket that was there before the service is still there, for both workers."""
    receiver = receivers()
    port = free_port()
    listener = plain_listener(port).replace(
        f'"tcp:{port}:interface=127.0.0.1"', '"systemd:domain=INET:name=load"'
    )
    relay = relays(receiver.port, listener, **TWO)
    with socket.create_server(("127.0.0.1", port)) as given:
        relay.start(given=given)
        victim = all_pids(relay)["relay.test/2"]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: pids(relay).get("relay.test/2", victim) != victim)
        load = Load(port, ("there.test",))
        try:
            eventually(lambda: len(load.accepted) > 20)
        finally:
            load.stop()
    receiver.wait(len(load.accepted))


def test_a_socket_that_was_not_handed_over_is_one_line(
    receivers: Receivers, relays: Relays
) -> None:
    """systemd calls it otherwise: the operator is told which, and where its name comes from."""
    listener = plain_listener(0).replace(
        '"tcp:0:interface=127.0.0.1"', '"systemd:domain=INET:name=load"'
    )
    relay = relays(receivers().port, listener, **TWO)
    done = subprocess.run(relay.command(), check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 69
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("mta: ")]
    assert "nobody has handed over systemd:domain=INET:name=load" in said
    assert "Traceback" not in done.stdout + done.stderr


def test_nothing_secret_is_on_a_command_line(receivers: Receivers, relays: Relays) -> None:
    """Attack: another user reads /proc/PID/cmdline and environ; there are names and numbers."""
    relay = relays(receivers().port, **TWO)
    relay.start()
    for name, pid in all_pids(relay).items():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if "/" in name:
            assert f"--node={name}".encode() in words
            assert b"mta.worker" in words
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in environ
        assert not [word for word in words if b"password" in word or b"correct horse" in word]


def test_a_unix_socket_keeps_its_mode_and_its_name(
    receivers: Receivers, relays: Relays, tmp_path: Path
) -> None:
    """Attack: a worker's restart must not open a socket to everybody, nor take it away."""
    place = tmp_path / "smtp"
    listener = plain_listener(0).replace('"tcp:0:interface=127.0.0.1"', f'"unix:{place}:mode=660"')
    relay = relays(receivers().port, listener, **TWO)
    relay.start()
    os.kill(all_pids(relay)["relay.test/1"], signal.SIGTERM)
    eventually(lambda: complete(relay))
    assert stat.S_IMODE(place.stat().st_mode) == 0o660
    assert f", {place}\n" in relay.log
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place))
        assert client.recv(100).startswith(b"220 ")


def test_each_worker_has_a_monitor_of_its_own(receivers: Receivers, relays: Relays) -> None:
    """Ports in a row, and each answers for its own process."""
    port = free_port()
    metrics = f'\n[metrics]\nlisten = "127.0.0.1:{port}"\n'
    relay = relays(receivers().port, metrics, **TWO)
    relay.start()
    for number in (port, port + 1):
        with socket.create_connection(("127.0.0.1", number), 10) as client:
            client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            assert b" 200 " in client.recv(1000).split(b"\r\n")[0]


def test_time_is_bounded() -> None:
    """The waits of the supervisor fit into systemd's."""
    from mta.supervisor.crew import KILLED_S, STOP_S
    from mta.supervisor.pipes import END_S

    unit = (Path(__file__).parents[2] / "etc" / "mta.service").read_text()
    allowed = next(line for line in unit.splitlines() if line.startswith("TimeoutStopSec="))
    assert END_S < STOP_S + KILLED_S < float(allowed.partition("=")[2].rstrip("s"))

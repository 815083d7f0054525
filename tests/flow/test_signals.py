"""Start, stop and reload as an operator and systemd do them."""

import signal
import smtplib
import socket
import sqlite3
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay, eventually

from mta.tls.selfsigned import self_signed

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]


def failing_start(relay: Relay) -> tuple[int, str]:
    """Start a service that is not going to run; return its status and what it said."""
    done = subprocess.run(relay.command(), check=False, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def test_sigterm_lets_data_in_progress_finish_and_dismisses_the_idle(
    receivers: Receivers, relays: Relays
) -> None:
    """On SIGTERM an idle session hears 421; one in the middle of DATA gets its 250."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    idle, busy = relay.client(), relay.client()
    busy.mail("app@home.test")
    busy.rcpt("u@there.test")
    assert busy.docmd("DATA")[0] == 354
    busy.send(b"Subject: late\r\n\r\nfirst half\r\n")
    relay.tell(signal.SIGTERM)
    assert idle.getreply()[0] == 421
    busy.send(b"second half\r\n.\r\n")
    assert busy.getreply()[0] == 250
    busy.close()
    assert relay.stop() == 0
    relay.start()
    receiver.wait(1)
    assert receiver.messages()[0].get_content() == "first half\nsecond half\n"


def test_sighup_with_a_bad_file_keeps_the_old_configuration(
    receivers: Receivers, relays: Relays
) -> None:
    """A broken configuration is refused with its reason, and service goes on as before."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    good = relay.config.read_text()
    relay.config.write_text(good + "\n[limits]\nmessage_sise = 5\n")
    relay.tell(signal.SIGHUP)
    eventually(lambda: "message_size" in relay.log)
    relay.send(["u@there.test"], "still here")
    receiver.wait(1)


def test_sighup_takes_new_limits_and_routes_into_force(
    receivers: Receivers, relays: Relays
) -> None:
    """After a reload the new message size is announced and the new route is used."""
    receiver, other = receivers(), receivers()
    relay = relays(receiver.port)
    relay.start()
    text = relay.config.read_text().replace(f"port = {receiver.port}", f"port = {other.port}")
    relay.config.write_text(text + '\n[limits]\nmessage_size = "1MiB"\n')
    relay.tell(signal.SIGHUP)
    eventually(lambda: "reloaded" in relay.log)
    with relay.client() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(1024 * 1024)
    relay.send(["u@there.test"], "rerouted")
    other.wait(1)
    assert not receiver.envelopes


def test_sighup_reloads_certificates(receivers: Receivers, relays: Relays) -> None:
    """A renewed certificate is served to the next client without a restart."""
    relay = relays(receivers().port)
    relay.start()
    with relay.client() as client:
        before = client.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
    for name in ("certificate.pem", "key.pem"):
        (relay.directory / name).unlink()
    renew(relay)
    relay.tell(signal.SIGHUP)
    eventually(lambda: "reloaded" in relay.log)
    with relay.client() as client:
        assert client.sock.getpeercert(binary_form=True) != before  # type: ignore[union-attr]


def renew(relay: Relay) -> None:
    """Put a new certificate in place of the old one."""
    certificate, key = self_signed("relay.test", datetime.now(UTC))
    (relay.directory / "certificate.pem").write_bytes(certificate)
    (relay.directory / "key.pem").touch(mode=0o600)
    (relay.directory / "key.pem").write_bytes(key)


@pytest.mark.parametrize("fault", ["port", "key", "spool", "schema", "configuration"])
def test_a_service_that_cannot_run_says_why_in_one_line(
    fault: str, receivers: Receivers, relays: Relays
) -> None:
    """Each fault ends the start with a non-zero status and one clear line, no traceback."""
    relay = relays(receivers().port)
    expected = {
        "port": str(relay.smtps_port),
        "key": "key.pem",
        "spool": "spool",
        "schema": "mta db upgrade",
        "configuration": "host_name",
    }[fault]
    with socket.socket() as occupant:
        spoil(relay, fault, occupant)
        status, said = failing_start(relay)
    assert status != 0
    assert (status == 78) == (fault in ("configuration", "key"))
    assert "Traceback" not in said
    assert any(line.startswith("mta: ") and expected in line for line in said.splitlines()), said


def spoil(relay: Relay, fault: str, occupant: socket.socket) -> None:
    spool = next(relay.directory.glob("**/*.sqlite"))
    if fault == "port":
        occupant.bind(("127.0.0.1", relay.smtps_port))
        occupant.listen()
    elif fault == "key":
        (relay.directory / "key.pem").unlink()
    elif fault == "spool":
        spool.write_bytes(b"this is not a database" * 100)
    elif fault == "schema":
        with sqlite3.connect(spool) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.execute("UPDATE schema_support SET oldest = '9999'")
    else:
        text = relay.config.read_text().replace("host_name", "hostname")
        relay.config.write_text(text)


def test_daemon_starts_and_stops(receivers: Receivers, relays: Relays) -> None:
    """``twistd mta`` goes into the background, serves, and stops by its pid file."""
    receiver = receivers()
    relay = relays(receiver.port)
    pidfile = relay.directory / "twistd.pid"
    command = [part for part in relay.command() if part not in ("-n", "--pidfile=")]
    command[1:1] = [f"--pidfile={pidfile}", f"--logfile={relay.directory / 'twistd.log'}"]
    # Reading to the end: "ssh relay twistd mta" must come back
    subprocess.run(command, check=True, timeout=30, cwd=relay.directory, capture_output=True)
    try:
        eventually(lambda: "running" in relay.mta("status", check=False).stdout)
        relay.send(["u@there.test"], "from a daemon")
        receiver.wait(1)
    finally:
        pid = int(pidfile.read_text())
        subprocess.run(["kill", str(pid)], check=True)
        eventually(lambda: not pidfile.exists())


def test_a_daemon_that_cannot_run_says_why_on_the_terminal(
    receivers: Receivers, relays: Relays
) -> None:
    """The reason is told in full, by the process that the operator started; no pid file stays."""
    relay = relays(receivers().port)
    pidfile, logfile = relay.directory / "twistd.pid", relay.directory / "twistd.log"
    command = [part for part in relay.command() if part not in ("-n", "--pidfile=")]
    command[1:1] = [f"--pidfile={pidfile}", f"--logfile={logfile}"]
    with socket.socket() as occupant:
        spoil(relay, "port", occupant)
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    expected = f"tcp:{relay.smtps_port}: Address already in use"
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mta: ")]
    assert line == f"mta: listener submissions cannot listen on {expected}"
    eventually(lambda: "Address already in use" in logfile.read_text())
    assert "Traceback" not in logfile.read_text()
    assert not pidfile.exists()


def test_a_reload_is_all_or_nothing(receivers: Receivers, relays: Relays) -> None:
    """A log that cannot be opened keeps the renewed certificate out, too."""
    relay = relays(receivers().port)
    relay.start()
    with relay.client() as client:
        before = client.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
    renew(relay)
    good = relay.config.read_text()
    relay.config.write_text(good + '\n[log]\njson_lines = "/nonexistent/mta.jsonl"\n')
    relay.tell(signal.SIGHUP)
    eventually(lambda: "the old configuration stays: log /nonexistent" in relay.log)
    with smtplib.SMTP_SSL("127.0.0.1", relay.smtps_port, context=unverified()) as client:
        assert client.sock.getpeercert(binary_form=True) == before  # type: ignore[union-attr]


def unverified() -> ssl.SSLContext:
    """A context for a client that wants to look at the certificate, whatever it is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_a_reload_names_what_it_cannot_reach(receivers: Receivers, relays: Relays) -> None:
    """Settings that need a restart are named; TLS without a context is refused as a whole."""
    relay = relays(receivers().port)
    relay.start()
    text = relay.config.read_text().replace("[dns]\n", "[dns]\nattempts = 2\n")
    relay.config.write_text(text + '\n[tls]\nminimum = "TLSv1.3"\n')
    relay.tell(signal.SIGHUP)
    eventually(lambda: "certificates reloaded" in relay.log)
    assert "warning: dns has changed: restart to use it" in relay.log
    assert "warning: tls.minimum has changed: restart to use it" in relay.log
    relay.tell(signal.SIGHUP)  # for a certificate, say: what waits for a restart still does
    eventually(lambda: relay.log.count("certificates reloaded") == 2)
    assert relay.log.count("warning: dns has changed") == 2


def test_tls_for_a_service_without_certificates_needs_a_restart(
    receivers: Receivers, relays: Relays
) -> None:
    """A listener is not switched to STARTTLS where the service was started without any TLS."""
    relay = relays(receivers().port)
    secured = relay.config.read_text()
    plain = secured.replace('tls = "implicit"', 'tls = "none"').replace('"starttls"', '"none"')
    plain = plain.replace('auth = "required"', 'auth = "none"\ntrusted_networks = ["127.0.0.1"]')
    start, end = plain.index("[[certificate]]"), plain.index("[dns]")
    relay.config.write_text(plain[:start] + plain[end:])
    relay.start()
    relay.config.write_text(secured.replace('tls = "implicit"', 'tls = "starttls"'))
    relay.tell(signal.SIGHUP)
    eventually(lambda: "TLS where there was none: restart to use it" in relay.log)
    with smtplib.SMTP("127.0.0.1", relay.smtps_port, timeout=10) as client:
        client.ehlo()
        assert not client.has_extn("starttls")


def test_wrong_password_is_refused_and_not_logged(receivers: Receivers, relays: Relays) -> None:
    """A wrong password gets 535 and one stable log line; neither password is in any log."""
    relay = relays(receivers().port)
    relay.start()
    with relay.client() as client:
        client.rset()
    client = relay.stranger()
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        client.login(LOGIN, "not the password")
    assert refused.value.smtp_code == 535
    client.close()
    eventually(lambda: "authentication failed" in relay.log)
    assert "not the password" not in relay.log
    assert PASSWORD not in relay.log

"""The database busy or gone: temporary answers, and the service recovers by itself."""

import base64
import smtplib
import sqlite3
import time
from collections.abc import Callable

import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]
Outage = tuple[str, Callable[[], None], Callable[[], None]]


def test_a_locked_sqlite_spool_is_451_and_then_works_again(
    receivers: Receivers, relays: Relays
) -> None:
    """While another process holds the write lock, mail is refused for now, never for good."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    spool = next(relay.directory.glob("**/*.sqlite"))
    with relay.client() as client:
        other = sqlite3.connect(spool, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            client.sendmail("app@home.test", ["u@there.test"], "Subject: locked\r\n\r\nx\r\n")
        assert refused.value.smtp_code in (451, 452)
        other.execute("ROLLBACK")
        other.close()
    deadline = time.monotonic() + 20
    while True:
        try:
            relay.send(["u@there.test"], "unlocked")
            break
        except smtplib.SMTPException:
            assert time.monotonic() < deadline
    receiver.wait(1)
    assert receiver.subjects() == {"unlocked": 1}


@pytest.mark.postgresql
def test_postgresql_stopped_and_started_again(
    receivers: Receivers,
    relays: Relays,
    postgresql_outage: tuple[str, Callable[[], None], Callable[[], None]],
) -> None:
    """PostgreSQL away is 454 at AUTH and 451 at the dot; when it is back, so is the service."""
    url, stop, start = postgresql_outage
    receiver = receivers()
    relay = relays(receiver.port)
    relay.use_spool(url)
    relay.start()
    relay.send(["u@there.test"], "before")
    receiver.wait(1)
    session = relay.client()
    stop()
    try:
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            session.sendmail("app@home.test", ["u@there.test"], "Subject: during\r\n\r\nx\r\n")
        assert 400 <= refused.value.smtp_code < 500
        stranger = relay.stranger()
        stranger.ehlo()
        code, _ = stranger.docmd("AUTH PLAIN", _plain(LOGIN, PASSWORD))
        assert code == 454
        stranger.close()
        session.close()
    finally:
        start()
    deadline = time.monotonic() + 30
    while True:
        try:
            relay.send(["u@there.test"], "after")
            break
        except smtplib.SMTPException:
            assert time.monotonic() < deadline
    receiver.wait(2)
    assert receiver.subjects() == {"before": 1, "after": 1}
    assert relay.stop() == 0


def _plain(login: str, password: str) -> str:
    return base64.b64encode(f"\0{login}\0{password}".encode()).decode()

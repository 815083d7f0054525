"""What a monitor sees: a relay at work, scraped over HTTP."""

import http.client
from collections.abc import Callable

import pytest
from receiver import Receiver
from relay_process import Relay, eventually, free_port

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]


def get(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
    """Ask the listener for monitors."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def figures(port: int) -> dict[str, float]:
    """Scrape, and return every series."""
    status, text = get(port, "/metrics")
    assert status == 200
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_a_relay_at_work_is_seen(receivers: Receivers, relays: Relays) -> None:
    """Mail in, a delivery, a bounce and the queue stand in the figures; nobody's address does."""
    receiver = receivers(lambda to: "550 5.1.1 No such user" if "nobody" in to else None)
    port = free_port()
    relay = relays(
        receiver.port, f'\n[metrics]\nlisten = "127.0.0.1:{port}"\nsample_every = "1s"\n'
    )
    relay.start()
    assert get(port, "/healthz") == (200, "ok\n")
    assert get(port, "/readyz") == (200, "ready\n")
    relay.send(["u@there.test", "nobody@there.test"], "hello")
    receiver.wait(1)
    name = 'mta_deliveries_total{cause="unknown-user",result="bounced"}'
    eventually(lambda: figures(port).get(name) == 1.0)
    found = figures(port)
    accepted = 'mta_accepted_messages_total{listener="submissions",tls="TLSv1.3"}'
    assert found[accepted] == 1
    assert found['mta_accepted_recipients_total{listener="submissions"}'] == 2
    assert found['mta_deliveries_total{cause="none",result="sent"}'] >= 1
    assert found["mta_commit_writes_count"] > 2
    assert found["mta_ready"] == 1
    eventually(lambda: figures(port)["mta_queue_sample_timestamp_seconds"] > 0)
    text = get(port, "/metrics")[1]
    assert "there.test" not in text and "home.test" not in text and "app7" not in text
    assert get(port, "/readyz", "DELETE")[0] == 501
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        get(port, "/metrics", "POST", b"x" * 200_000)  # an attack on the disk: bodies are stored
    assert relay.stop() == 0


def test_a_spool_that_is_gone_is_told(receivers: Receivers, relays: Relays) -> None:
    """The process is alive and not ready: 503 with a reason."""
    port = free_port()
    relay = relays(receivers().port, f'\n[metrics]\nlisten = "127.0.0.1:{port}"\n')
    relay.start()
    spool = next(relay.directory.glob("**/*.sqlite"))
    away = spool.rename(spool.with_suffix(".away"))
    eventually(lambda: get(port, "/readyz")[0] == 503)
    status, text = get(port, "/readyz")
    assert (status, text.partition(":")[0]) == (503, "not ready")
    assert get(port, "/healthz")[0] == 200
    away.rename(spool)

"""The running service counts its TLS sessions, and its reports arrive, by mail and by HTTPS."""

import gzip
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from receiver import Receiver
from relay_process import Relay, eventually
from stub_dns import StubDns
from tls_collector import Collector, signed_by

pytestmark = pytest.mark.flow

SETTINGS = """
[retry]
steps = ["1s"]
jitter = 0.0

[tls_report]
contact = "tls-reports@home.test"
organization = "Home"
delay = "1ms"
spread = "1ms"
private_addresses = true
"""


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    server = Collector(tmp_path)
    yield server
    server.close()


def test_reports_arrive(
    receivers: Callable[..., Receiver],
    relays: Callable[..., Relay],
    name_server: StubDns,
    collector: Collector,
) -> None:
    """Mail to two domains; the day is over; one gets its report by mail, the other by HTTPS."""
    url = f"https://reports.test:{collector.port}/v1"
    name_server.zone |= {
        ("reports.test", "A"): ["127.0.0.1"],
        ("other.test", "MX"): ["10 mx.there.test."],
        ("_smtp._tls.there.test", "TXT"): ['"v=TLSRPTv1; rua=mailto:reports@there.test"'],
        ("_smtp._tls.other.test", "TXT"): [f'"v=TLSRPTv1; rua={url}"'],
    }
    receiver = receivers()
    relay = relays(receiver.port, SETTINGS)
    relay.mta("dkim", "generate", "home.test", "--type", "rsa")
    relay.start()
    relay.send(["u@there.test", "v@other.test"], "hello")
    receiver.wait(2)
    assert relay.stop() == 0  # which writes what was counted
    (counted,) = sums(relay, "there.test", "today")
    assert counted == {"policy": "no-policy-found", "result": "starttls-not-supported", "count": 1}
    preview = json.loads(
        relay.mta("tls", "report", "--preview", "there.test", "--day", "today").stdout
    )
    a_day_passes(relay)
    relay.start()
    receiver.wait(3)
    eventually(lambda: collector.posted)
    octets = next(one for _, to, one in receiver.envelopes if to == ("reports@there.test",))
    assert signed_by(relay, "home.test", octets)
    message = next(one for one in receiver.messages() if one["TLS-Report-Domain"])
    assert message["TLS-Required"] == "No"
    report = json.loads(gzip.decompress(list(message.iter_parts())[1].get_content()))
    assert report["organization-name"] == "Home"
    assert report["contact-info"] == "tls-reports@home.test"
    assert report["policies"] == preview["policies"]
    (policy,) = report["policies"]
    (failure,) = policy["failure-details"]
    assert failure["result-type"] == "starttls-not-supported"
    assert failure["receiving-mx-hostname"] == "mx.there.test"
    assert (failure["sending-mta-ip"], failure["receiving-ip"]) == ("127.0.0.1", "127.0.0.1")
    _, kind, body = collector.posted[0]
    assert kind == "application/tlsrpt+gzip"
    posted = json.loads(gzip.decompress(body))
    assert posted["policies"][0]["policy"]["policy-domain"] == "other.test"
    eventually(lambda: fates(relay) == {"there.test": ["delivered"], "other.test": []})
    text = relay.mta("tls", "report", "--day", "yesterday").stdout
    assert "report to there.test: sent" in text and "HTTP status 201" in text
    # The report's own session is not counted, and nothing is sent twice
    assert relay.stop() == 0
    assert sums(relay, "there.test", "today") == []
    assert len(receiver.envelopes) == 3 and len(collector.posted) == 1


def a_day_passes(relay: Relay) -> None:
    """Make what was counted today yesterday's."""
    line = next(one for one in relay.config.read_text().splitlines() if one.startswith("url = "))
    path = relay.directory / line.partition("sqlite:///")[2].strip('"')
    with sqlite3.connect(f"file:{path}?mode=rw", uri=True) as spool:
        spool.execute("UPDATE tls_sessions SET day = ?", [int(time.time()) // 86_400 - 1])
    spool.close()


def records(relay: Relay, day: str) -> list[dict[str, Any]]:
    done = relay.mta("tls", "report", "--day", day, "--json", check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def sums(relay: Relay, domain: str, day: str) -> list[dict[str, Any]]:
    return [
        session
        for record in records(relay, day)
        if record["domain"] == domain
        for session in record["sessions"]
    ]


def fates(relay: Relay) -> dict[str, list[str]]:
    return {
        record["domain"]: record["report"]["mail"]
        for record in records(relay, "yesterday")
        if record["report"]["state"] == "sent"
    }

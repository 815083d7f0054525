"""Two source addresses and one site: a receiver that has enough of one of them, and shaping."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from receiver import Receiver
from relay_process import LOGIN, Relay, eventually
from stub_dns import StubDns

pytestmark = pytest.mark.flow

LIMITED, FREE = "127.0.0.2", "127.0.0.3"
FAST = '[retry]\nsteps = ["1s"]\njitter = 0.0\n'
SOURCES = f'\n[delivery]\nsource = ["{LIMITED}", "{FREE}"]\n'
MANY = 36  # of which each address has at least three, but for one time in fifty million
Relays = Callable[..., Relay]


class Telling(Receiver):
    """Has enough of one address's mail to there.test, and knows from where what came."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()  # (source, domain)
        self.taken: Counter[tuple[str, str]] = Counter()
        self.limits = True
        super().__init__()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        source, domain = session.peer[0], address.rpartition("@")[2]
        self.asked[source, domain] += 1
        if self.limits and (source, domain) == (LIMITED, "there.test"):
            return "421 4.7.28 rate limit"
        self.taken[source, domain] += 1
        return await super().handle_RCPT(server, session, envelope, address, options)

    def count(self, domain: str) -> int:
        return self.taken[LIMITED, domain] + self.taken[FREE, domain]


@pytest.fixture
def receiver() -> Iterator[Telling]:
    made = Telling()
    yield made
    made.close()


def send(relay: Relay, domain: str, count: int = MANY) -> None:
    """Submit so many messages in one session."""
    with relay.client() as client:
        for number in range(count):
            message = EmailMessage()
            message["From"], message["To"] = "app@home.test", f"u{number}@{domain}"
            message.set_content("Hello.\n")
            client.send_message(message)


def listed(relay: Relay, *command: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in relay.mta(*command, "--json", check=False).stdout.split("\n")
        if line
    ]


def held(relay: Relay) -> int:
    """Count the recipients that wait for a decision about 127.0.0.2."""
    rows = listed(relay, "queue", "list")
    return sum(row["restraint"].startswith(f"site mx.there.test from {LIMITED}") for row in rows)


def test_a_throttle_meets_exactly_one_address_at_one_site(
    receiver: Telling, relays: Relays, tmp_path: Path
) -> None:
    """127.0.0.2 is refused at one site: nothing more goes there from it, and all else goes on."""
    rules = tmp_path / "causes.toml"
    rules.write_text(
        '[[rule]]\nname = "enough"\ncause = "rate-limited"\ntext = ["rate limit"]\n'
        'action = "suspend"\nfor = "1h"\nsamples = 3\n'
    )
    keys = {'host_name = "relay.test"': f'host_name = "relay.test"\ncauses_file = "{rules}"'}
    relay = relays(receiver.port, FAST + SOURCES, **keys)
    relay.start()
    send(relay, "there.test")
    eventually(lambda: listed(relay, "throttle", "list"))
    (one,) = listed(relay, "throttle", "list")
    assert (one["verb"], one["site_key"], one["source"]) == (
        "suspend",
        f"site:mx.there.test:{receiver.port}",
        LIMITED,
    )
    assert "mx.there.test from 127.0.0.2" in relay.mta("throttle", "list").stdout
    eventually(lambda: f"suspend {one['id']}: site mx.there.test from {LIMITED}" in relay.log)
    # Nothing is under way any more that was begun before
    eventually(lambda: held(relay) == MANY - receiver.taken[FREE, "there.test"])

    asked = receiver.asked[LIMITED, "there.test"]
    before = receiver.taken[FREE, "there.test"]
    send(relay, "there.test")
    send(relay, "home.test")
    eventually(lambda: receiver.count("home.test") == MANY)
    assert receiver.taken[LIMITED, "home.test"] > 0 and receiver.taken[FREE, "home.test"] > 0
    eventually(lambda: held(relay) == 2 * MANY - receiver.taken[FREE, "there.test"])
    assert receiver.taken[FREE, "there.test"] > before
    assert receiver.asked[LIMITED, "there.test"] == asked  # not one more question

    receiver.limits = False
    assert relay.mta("throttle", "revoke", str(one["id"])).returncode == 0
    eventually(lambda: receiver.count("there.test") == 2 * MANY)


def test_shaping_by_source_holds_for_that_address_alone(receiver: Telling, relays: Relays) -> None:
    """Two an hour from 127.0.0.2: the rest of its mail waits, all of 127.0.0.3's is delivered."""
    receiver.limits = False
    entry = f'[[shaping]]\nname = "warm-up"\nsources = ["{LIMITED}"]\nmessages_per_hour = 2\n'
    relay = relays(receiver.port, FAST + SOURCES + entry)
    relay.start()
    send(relay, "there.test")

    def line() -> list[dict[str, Any]]:
        found = listed(relay, "queue", "sites")
        return [one for one in found if one.get("sources") == [LIMITED] and one["until_ms"]]

    eventually(line)
    (shaped,) = line()
    assert (shaped["name"], shaped["reason"]) == ("mx.there.test", "rate: 2 an hour")
    assert shaped["shaping"] == ["warm-up"]
    eventually(
        lambda: receiver.taken[FREE, "there.test"] + 2 + len(listed(relay, "queue", "list")) == MANY
    )
    assert receiver.taken[LIMITED, "there.test"] == 2
    assert f"mx.there.test from {LIMITED}" in relay.mta("queue", "sites").stdout
    assert f"mx.there.test from {LIMITED}" in relay.mta("top", "--once").stdout
    told = relay.mta("explain", "u@there.test", check=False).stdout
    assert f"shaping: from {LIMITED}: warm-up; messages/h 2" in " ".join(told.split())


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_two_processes_hear_counts_together(
    database: str,
    receiver: Telling,
    relays: Relays,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Four replies are wanted, two processes on one spool hear two each: both stop, at once."""
    rules = tmp_path / "causes.toml"
    rules.write_text(
        '[[rule]]\nname = "enough"\ncause = "rate-limited"\ntext = ["rate limit"]\n'
        'action = "suspend"\nfor = "1h"\nsamples = 4\n'
    )
    top = f'host_name = "relay.test"\ncauses_file = "{rules}"'
    slowly = f'[retry]\nsteps = ["1h"]\n[delivery]\nsource = ["{LIMITED}"]\n[queue]\nnode = '
    keys = {'host_name = "relay.test"': top}
    first, second = (relays(receiver.port, slowly + f'"{name}"\n', **keys) for name in "ab")
    url = f"sqlite:///{tmp_path}/relay0/spool/mta.sqlite"
    if database == "postgresql":
        url = request.getfixturevalue("postgresql_url")
        first.use_spool(url)
    text = second.config.read_text()
    old = next(line for line in text.splitlines() if line.startswith("url = "))
    second.config.write_text(text.replace(old, f'url = "{url}"'))
    for relay in (first, second):
        relay.start()
        send(relay, "there.test", 2)
    eventually(lambda: listed(first, "throttle", "list"))
    (one,) = listed(second, "throttle", "list")
    assert (one["source"], one["level"], len(one["samples"])) == (LIMITED, 1, 4)
    for relay in (first, second):
        said = f"suspend {one['id']}: site mx.there.test from {LIMITED}"
        eventually(lambda relay=relay, said=said: said in relay.log)
        send(relay, "there.test", 1)
        send(relay, "home.test", 1)
    eventually(lambda: receiver.taken[LIMITED, "home.test"] == 2)
    assert receiver.asked[LIMITED, "there.test"] == 4


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_suspended_address_and_one_of_the_other_family(
    database: str,
    receivers: Callable[..., Receiver],
    relays: Relays,
    name_server: StubDns,
    request: pytest.FixtureRequest,
) -> None:
    """Suspended by hand, mail goes by the other family, and waits where a host has none of it."""
    four = receivers()
    six = receivers(address="::1", port=four.port)
    for domain in ("both.test", "four.test"):
        name_server.zone[domain, "MX"] = [f"10 mx.{domain}."]
        name_server.zone[f"mx.{domain}", "A"] = ["127.0.0.1"]
    name_server.zone["mx.both.test", "AAAA"] = ["::1"]
    both = '[delivery]\nsource = ["127.0.0.2", "::1"]\nprefer = "ipv4"\n'
    relay = relays(four.port, FAST + both)
    if database == "postgresql":
        relay.use_spool(request.getfixturevalue("postgresql_url"))
    relay.start()
    send(relay, "both.test", 1)
    four.wait(1)
    relay.mta("suspend", "--source", LIMITED, "--reason", "on a list")
    (made,) = listed(relay, "suspend", "list")
    said = f"suspend {made['id']}: source address {LIMITED}: until it is ended"
    eventually(lambda: said in relay.log)
    send(relay, "both.test", 1)
    send(relay, "four.test", 1)
    six.wait(1)  # past the idle connection of the first message
    words = f"source address {LIMITED} is suspended: on a list"
    eventually(lambda: [one["restraint"] for one in listed(relay, "queue", "list")] == [words])
    (row,) = listed(relay, "queue", "list")
    assert row["attempts"] == 0
    (answer,) = listed(relay, "why", row["id"])[0]["answers"]
    assert (answer["blocked_by"], answer["unblock"]) == ("restraint", [f"mta resume {made['id']}"])
    for command in (("queue", "sites"), ("top", "--once"), ("status",)):
        assert f"{words} (until it is resumed; 1 waits for it)" in relay.mta(*command).stdout
    blocked = relay.mta("explain", "u0@four.test", "--login", LOGIN, check=False)
    assert blocked.returncode == 1 and "is not dialled by ipv4" in blocked.stdout
    free = relay.mta("explain", "u0@both.test", "--login", LOGIN, "--connect", check=False)
    assert free.returncode == 0 and "from ::1" in free.stdout
    assert len(four.envelopes) == 1
    told = relay.mta("resume", "--source", LIMITED).stdout
    assert told.endswith("recipients that waited and are due now: 1\n")
    four.wait(2)

"""What is kept of what senders ask for: reports, a later release, a deadline, a priority."""

from dataclasses import replace

import pytest

from mta.inbound.settings import RequestSettings
from mta.mail.envelope import NOTHING, Asked, DeliverBy

NOW_MS = 1_764_028_800_000
DAY_MS = 86_400_000
LOGIN = b"EHLO me\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n"


def submit(client, parameters, *recipients, header=b"Subject: x\r\n"):
    """Submit one message; return the last reply."""
    lines = b"MAIL FROM:<ann@example.org>" + parameters + b"\r\n"
    for recipient in recipients or (b"<b@example.com>",):
        lines += b"RCPT TO:" + recipient + b"\r\n"
    client.say(lines + b"DATA\r\n")
    return client.say(header + b"\r\ntext\r\n.\r\n")


@pytest.fixture
def ann(world):
    """A client that has logged in."""
    client = world.connect("smtps", "198.51.100.9")
    assert client.say(LOGIN).endswith(b"235 2.7.0 Authentication successful\r\n")
    return client


def kept(world):
    """The only message accepted."""
    (item,) = world.spool.accepted
    return item


def test_dsn_parameters_are_stored_as_they_came(world, ann):
    """RFC 3461: ENVID and ORCPT stay in xtext, keywords come in capitals and one order."""
    submit(
        ann,
        b" RET=hdrs ENVID=QQ+2B1",
        b"<b@example.com> NOTIFY=DELAY,success ORCPT=rfc822;B+2Bx@example.com",
        b"<c@example.com> NOTIFY=NEVER",
        b"<d@example.com>",
    )
    item = kept(world)
    assert item.envelope.asked == Asked(ret="HDRS", envid="QQ+2B1")
    assert [(one.notify, one.orcpt) for one in item.recipients] == [
        ("SUCCESS,DELAY", "rfc822;B+2Bx@example.com"),
        ("NEVER", ""),
        ("", ""),
    ]


def test_a_second_rcpt_of_an_address_is_the_first(world, ann):
    """What was said of a recipient first is what counts."""
    submit(ann, b"", b"<b@example.com> NOTIFY=NEVER", b"<b@example.com> NOTIFY=SUCCESS")
    assert [one.notify for one in kept(world).recipients] == ["NEVER"]


def test_who_asks_nothing_costs_nothing(world, ann):
    """The one object that stands for nothing is shared."""
    submit(ann, b" SIZE=10")
    assert kept(world).envelope.asked is NOTHING


@pytest.mark.parametrize("hold", [b"HOLDFOR=7200", b"HOLDUNTIL=2025-11-25T02:00:00Z"])
def test_hold_before_the_expiry_clock(world, ann, hold):
    """RFC 4865: a held message is due at its release, unclaimed, and expires counted from then."""
    submit(ann, b" " + hold)
    item = kept(world)
    release_ms = NOW_MS + 7_200_000
    written = hold.decode().lower().removeprefix("hold").replace("=", ";").replace("t02", "T02")
    assert item.envelope.asked == Asked(release_ms=release_ms, hold=written.replace("z", "Z"))
    assert (item.claim, item.next_attempt_ms) == (None, release_ms)
    assert [one.attempts for one in item.recipients] == [0]
    assert item.envelope.expires_ms == release_ms + 5 * DAY_MS
    assert item.envelope.since_ms == release_ms
    assert world.queue.reserved == 0


def test_return_by_ends_the_life_of_a_message(world, ann):
    """RFC 2852: no attempt begins after a deadline to return by; one to tell by changes nothing."""
    submit(ann, b" BY=3600;RT")
    submit(ann, b" BY=3600;N")
    returned, told = (item.envelope for item in world.spool.accepted)
    assert returned.asked.deliver_by == DeliverBy(NOW_MS + 3_600_000, "R", True)
    assert returned.expires_ms == NOW_MS + 3_600_000
    assert told.asked.deliver_by == DeliverBy(NOW_MS + 3_600_000, "N")
    assert told.expires_ms == NOW_MS + 5 * DAY_MS


def test_priority_by_unauthenticated_clients_is_capped(world):
    """Attack: priority 9 from a trusted network without a login, by parameter and by field."""
    client = world.connect()
    client.say(b"EHLO me\r\n")
    submit(client, b" MT-PRIORITY=9")
    submit(client, b"", header=b"MT-Priority: 9\r\nSubject: x\r\n")
    submit(client, b" MT-PRIORITY=-4")
    assert [item.envelope.asked.priority for item in world.spool.accepted] == [0, 0, -4]
    assert b"MT-Priority" not in world.spool.accepted[1].chunks[0]


@pytest.mark.parametrize(
    ("parameters", "header", "priority"),
    [
        (b"", b"MT-Priority: 4\r\nSubject: x\r\n", 4),
        (b"", b"Subject: x\r\nmt-priority : -9 (a\r\n comment)\r\nTo: y\r\n", -9),
        (b" MT-PRIORITY=1", b"MT-Priority: 4\r\nSubject: x\r\n", 1),
        (b"", b"MT-Priority: 4\r\nMT-Priority: 9\r\nSubject: x\r\n", 0),
        (b"", b"MT-Priority: 44\r\nSubject: x\r\n", 0),
    ],
)
def test_priority_that_came_through_a_tunnel(world, ann, parameters, header, priority):
    """RFC 6758: the field of who has logged in counts where MAIL says nothing, and is taken out."""
    submit(ann, parameters, header=header)
    item = kept(world)
    assert item.envelope.asked.priority == priority
    content = b"".join(item.chunks)
    assert b"mt-priority" not in content.lower()
    assert content.endswith(b"\r\n\r\ntext\r\n")
    assert b"\r\nSubject: x\r\n" in content
    assert item.envelope.size == len(content)


def test_an_mt_priority_field_in_the_text_is_text(world, ann):
    """Only the header is looked at."""
    submit(ann, b"", header=b"Subject: x\r\n\r\nMT-Priority: 9\r\n")
    item = kept(world)
    assert item.envelope.asked.priority == 0
    assert b"MT-Priority: 9\r\n" in item.chunks[0]


def test_a_reload_brings_other_bounds_into_force(world):
    """SIGHUP: sessions that begin afterwards offer, and keep to, the new settings."""
    requests = RequestSettings(future_release_s=0, deliver_by_s=None, priority=None)
    world.inbound.use(replace(world.settings, requests=requests))
    client = world.connect("smtps", "198.51.100.9")
    said = client.say(LOGIN)
    assert b"DSN" in said
    for keyword in (b"FUTURERELEASE", b"DELIVERBY", b"MT-PRIORITY"):
        assert keyword not in said
    for parameter in (b"HOLDFOR=60", b"BY=60;N", b"MT-PRIORITY=1"):
        answer = client.say(b"MAIL FROM:<a@example.org> " + parameter + b"\r\n")
        assert answer.startswith(b"555 5.5.4 ")


def test_where_priorities_are_not_offered_the_field_is_left_alone(world):
    """It is foreign text then, and may be signed."""
    world.inbound.use(replace(world.settings, requests=RequestSettings(priority=None)))
    client = world.connect("smtps", "198.51.100.9")
    client.say(LOGIN)
    submit(client, b"", header=b"MT-Priority: 4\r\nSubject: x\r\n")
    item = kept(world)
    assert item.envelope.asked is NOTHING
    assert b"\r\nMT-Priority: 4\r\n" in item.chunks[0]

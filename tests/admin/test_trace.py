"""``mta trace``: one message has one complete answer, also after it has left."""

import pytest

from mta.mail.envelope import Asked, DeliverBy
from mta.spool.schema import State

MINUTE = 60_000
GOLDEN = """\
message:     1MCC2ARC00000001
from:        app@example.org
size:        40 (40 octets)
message-id:  <1@example.org>
expires:     2027-01-20 07:00:00Z (in 4d23h)

TIME                  TO                WHAT
2027-01-15 07:00:00Z                    accepted by submissions, from 192.0.2.1 (laptop), \
login app7, ESMTPSA, TLSv1.3 AES256
2027-01-15 07:30:00Z  anna@example.com  attempt 1 deferred: 451 4.7.1 Greylisted, try again \
(in reply to RCPT)
                                          mx.example.com[192.0.2.7]:25, TLS encrypted \
(TLSv1.3 AES256), not verified: self-signed certificate, transaction 2 of the connection
                                          TLS level dane is required: TLSA records of mx.example.com
                                          only observed: would have waited: self-signed certificate
                                          took 0.800s: connect 0.250s, transmit 0.500s; by node1
                                          next attempt 2027-01-15 08:05:00Z
2027-01-15 07:30:00Z  bo@example.net    attempt 1 delivered: 250 2.0.0 Ok: queued as 7F \
(in reply to end of data)
                                          mx.example.com[192.0.2.7]:25, TLS encrypted \
(TLSv1.3 AES256), not verified: self-signed certificate, transaction 2 of the connection
                                          TLS level dane is required: TLSA records of mx.example.com
                                          only observed: would have waited: self-signed certificate
                                          took 0.800s: connect 0.250s, transmit 0.500s; by node1
2027-01-15 08:00:00Z  anna@example.com  hold by anna

TO                STATE      WHAT COMES NEXT
anna@example.com  held       after 1 attempt, waits for 'mta queue release'
bo@example.net    delivered  nothing since 2027-01-15 07:30:00Z, after 1 attempt
"""


@pytest.fixture
def message(relay):
    """Put a message with a deferred and a delivered recipient into the spool."""
    accepted = relay.accept("anna@example.com", "bo@example.net", claim=True)
    relay.settle(accepted, State.QUEUED, State.DELIVERED)
    return accepted


def test_whole_life(relay, message):
    """Acceptance, attempts, an operator's verb and what comes next are told in order."""
    relay.run("queue", "hold", message, "--yes")
    result = relay.run("trace", message)
    assert (result.output, result.exit_code) == (GOLDEN, 0)


@pytest.mark.parametrize(
    "what", ["1mcc2arc00000001", "<1@example.org>", "1@example.org", "BO@example.net"]
)
def test_ways_to_name_it(relay, message, what):
    """An id in any case, a Message-ID with or without brackets and an address find it."""
    assert relay.run("trace", what).output.startswith(f"message:     {message}\n")


def test_after_it_has_left(relay):
    """A finished message is traced with its end; only the content is no longer there."""
    gone = relay.accept(claim=True)
    relay.settle(gone, State.DELIVERED)
    output = relay.run("trace", gone).output
    assert "content:     no longer kept\n" in output
    assert "finished\n" in output
    assert "expires" not in output
    assert output.endswith("delivered  nothing since 2027-01-15 07:30:00Z, after 1 attempt\n")


def test_report_and_parent(relay, message):
    """A report is told with what it is about, and the message with its report."""
    relay.run("queue", "bounce", message, "--yes")
    (trace,) = relay.json("trace", message)
    report = trace["reports"][0]["id"]
    output = relay.run("trace", message).output
    assert f"reports:     {report}\n" in output
    assert f"report {report} to app@example.org (queued)\n" in output
    output = relay.run("trace", report).output
    assert f"report about:  {message}\n" in output
    assert "from:          <>\n" in output
    assert "made here, as a report\n" in output
    assert output.endswith("app@example.org  queued  after 0 attempts, next as soon as possible\n")


def test_active(relay):
    """What is under way is told with the name of the process that has it in hand."""
    relay.register()
    active = relay.accept(claim=True)
    assert relay.run("trace", active).output.endswith(
        "anna@example.com  active  attempt 1 is under way at node1\n"
    )


def test_several(relay):
    """Several matches are listed newest first, cut at --limit; as JSON each is whole."""
    ids = [
        relay.accept("anna@example.com", "bo@example.net", created_ms=relay.now - n * MINUTE)
        for n in (30, 20, 10)
    ]
    result = relay.run("trace", "anna@example.com", "--limit", "2")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ID                ACCEPTED               SIZE  FROM             TO"
        "                           STATE",
        *(
            f"{id_}  2027-01-15 {at}Z     40  app@example.org  anna@example.com and 1 more  queued"
            for id_, at in ((ids[2], "07:50:00"), (ids[1], "07:40:00"))
        ),
    ]
    assert result.stderr == "the newest 2; more with --limit\n"
    assert [one["id"] for one in relay.json("trace", "app@example.org")] == ids[::-1]


def test_unknown(local):
    """What nobody knows is status 1, and the word is shown harmlessly."""
    result = local.run("trace", "x\x1b[2J@example.com")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "nothing is known of x\\x1b[2J@example.com\n"


def test_json(relay, message):
    """The JSON object has everything that the spool knows about an attempt."""
    (trace,) = relay.json("trace", message)
    assert trace["origin"] == {
        "listener": "submissions",
        "client_address": "192.0.2.1",
        "client_name": "laptop",
        "protocol": "ESMTPSA",
        "tls": "TLSv1.3 AES256",
    }
    assert trace["attempts"][0] == {
        "number": 0,
        "attempt": 1,
        "node": "node1",
        "started_ms": relay.now - 30 * MINUTE,
        "ended_ms": relay.now - 30 * MINUTE + 800,
        "state": "queued",
        "cause": "",
        "category": "",
        "site": "",
        "next_attempt_ms": relay.now + 5 * MINUTE,
        "verdict": "deferred",
        "code": 451,
        "enhanced": "4.7.1",
        "text": "Greylisted, try again",
        "command": "RCPT",
        "blame": "none",
        "maybe_delivered": False,
        "sender": "",
        "connect_s": 0.25,
        "transmit_s": 0.5,
        "peer": {
            "host": "mx.example.com",
            "address": "192.0.2.7",
            "port": 25,
            "source": "",
            "use": 2,
            "tls": {
                "level": "encrypted",
                "version": "TLSv1.3",
                "cipher": "AES256",
                "why": "self-signed certificate",
                "required": "dane",
                "required_why": "TLSA records of mx.example.com",
                "observed": "would have waited: self-signed certificate",
            },
        },
    }


def test_what_the_sender_asked_for(relay):
    """Release, deadline, priority and reports on request are told, as text and as JSON."""
    release_ms = relay.now + 120 * MINUTE
    by = DeliverBy(relay.now + 180 * MINUTE, "R", True)
    asked = Asked("FULL", "order+2B7", release_ms, 4, by)
    held = relay.accept(asked=asked, notify="SUCCESS")
    output = relay.run("trace", held).output
    for line in (
        "released:     2027-01-15 10:00:00Z (in 2h)\n",
        "deliver by:   2027-01-15 11:00:00Z (in 3h), or back\n",
        "priority:     4\n",
        "envelope id:  order+2B7\n",
        "return:       FULL\n",
        "notify:       anna@example.com: SUCCESS\n",
        "its sender has it held until 2027-01-15 10:00:00Z (in 2h)\n",
    ):
        assert line in output
    (trace,) = relay.json("trace", held)
    assert (trace["ret"], trace["envid"], trace["priority"]) == ("FULL", "order+2B7", 4)
    assert trace["release_ms"] == release_ms
    assert trace["deliver_by"] == {"deadline_ms": by.deadline_ms, "mode": "R", "trace": True}
    assert trace["recipients"][0]["notify"] == "SUCCESS"


def test_an_operators_bounce_respects_never(relay):
    """RFC 3461: given up by hand, a recipient with NOTIFY=NEVER makes no report either."""
    message_id = relay.accept(notify="NEVER")
    relay.run("queue", "bounce", message_id, "--yes")
    (trace,) = relay.json("trace", message_id)
    assert trace["recipients"][0]["state"] == "bounced"
    assert trace["reports"] == []


def test_a_host_that_was_left_alone():
    """Of a host that was not dialled it is not said that it was spoken to in the clear."""
    from mta.admin.story import _peer
    from mta.mail.outcome import Peer, Tls

    assert _peer(Peer("mx.test")) == "mx.test:25, not dialled"
    spoken = Peer("mx.test", "192.0.2.1", tls=Tls(why="STARTTLS is not offered", required="may"))
    assert _peer(spoken) == "mx.test[192.0.2.1]:25, in the clear: STARTTLS is not offered"

"""``mta trace --transcript``: what was said, in full or in short."""

from mta.spool.schema import State

SAID = "    0.000 * connect to mx.example.com[192.0.2.7]:25\n    0.250 < 451 4.7.1 Greylisted"


def test_failure_in_full(relay):
    """A failed attempt is shown line for line under who, when and for whom."""
    one = relay.accept("anna@example.com", "bo@example.com", claim=True)
    relay.settle(one, State.QUEUED, State.QUEUED, transcript=SAID)
    assert relay.run("trace", one, "--transcript").stdout == (
        "2027-01-15 07:30:00Z, by node1, to anna@example.com, bo@example.com:\n" + SAID + "\n"
    )


def test_success_in_short(relay):
    """A delivery without a transcript is one line: who, where, sizes, durations, reply."""
    names = [f"u{n}@example.com" for n in range(5)]
    one = relay.accept(*names, claim=True)
    relay.settle(one, *[State.DELIVERED] * 5)
    assert relay.run("trace", one, "--transcript").stdout == (
        "2027-01-15 07:30:00Z, by node1, to u0@example.com, u1@example.com, u2@example.com and 2"
        " more: delivered, mx.example.com[192.0.2.7]:25, transaction 2 of the connection, 40"
        " octets, connect 0.250s, transmit 0.500s, 250 2.0.0 Ok: queued as 7F (no transcript is"
        " kept)\n"
    )


def test_no_attempt(local):
    """A message that waits for its first attempt says so."""
    assert local.run("trace", local.accept(), "--transcript").stdout == "no attempt has ended yet\n"


def test_escapes(local):
    """Attack: whatever stands in the spool, nothing of it reaches the terminal as a command."""
    one = local.accept(claim=True)
    local.settle(one, State.QUEUED, transcript="    0.000 < \x1b]0;owned\x07\u202e")
    assert "\\x1b]0;owned\\x07\\u202e" in local.run("trace", one, "--transcript").stdout


def test_json(relay):
    """Programs get the lines; without the option the record is as it was."""
    one = relay.accept(claim=True)
    relay.settle(one, State.QUEUED, transcript=SAID)
    (found,) = relay.json("trace", one, "--transcript")
    started = relay.now - 30 * 60_000
    assert found["transcripts"] == [
        {
            "started_ms": started,
            "ended_ms": started + 800,
            "node": "node1",
            "numbers": [0],
            "lines": SAID.split("\n"),
        }
    ]
    (found,) = relay.json("trace", one)
    assert "transcripts" not in found


def test_several_messages(local):
    """Of several messages none is told at length; a note says what to do."""
    local.accept()
    local.accept()
    result = local.run("trace", "anna@example.com", "--transcript")
    assert "name one by its id" in result.stderr

"""``mta queue list``, ``summary``, ``show`` and ``cat``: what people and scripts see."""

import json

import pytest

from mta.admin import render
from mta.spool.schema import State

MINUTE = 60_000
GOLDEN_LIST = """\
ID                    AGE   SIZE  FROM                  TO                    TRIES  \
NEXT    LAST REPLY
1MCC2ARC00000001       1h     40  app@example.org       anna@example.com          1  \
5m      451 4.7.1 Greylisted, try again
1MCC2ARC00000002*      1h   4.8M  <>                    carl@example.com          1  \
active
1MCC4WY880000003!     15m     40  app@example.org       dora@sub.example.com      0  \
held
"""
GOLDEN_SUMMARY = """\
3 messages (4.8M) for 3 recipients: 2 queued, 1 held; oldest 1h

DOMAIN           STATE   RECIPIENTS  OLDEST  NEXT
example.com      queued           2      1h  5m
sub.example.com  held             1     15m  -
"""
GOLDEN_SHOW = """\
message:     1MCC2ARC00000001
from:        app@example.org
size:        40 (40 octets)
message-id:  <1@example.org>
arrived:     2027-01-15 07:00:00Z, accepted by submissions, from 192.0.2.1 (laptop), login app7, \
ESMTPSA, TLSv1.3 AES256
expires:     2027-01-20 07:00:00Z (in 4d23h)

TO                STATE      ATTEMPTS  NEXT                          LAST REPLY
anna@example.com  queued            1  2027-01-15 08:05:00Z (in 5m)  \
451 4.7.1 Greylisted, try again (in reply to RCPT)
bo@example.net    delivered         1  -                             250 2.0.0 Ok: queued as 7F \
(in reply to end of data)
"""
HOSTILE = "\x1b]0;owned\x07 \x1b[2J\r\nfake line \x9b31m \u202egnp.exe [bold]x[/bold]"
SHOWN = r"\x1b]0;owned\x07 \x1b[2J\x0d\x0afake line \x9b31m \u202egnp.exe [bold]x[/bold]"


def _fill(relay):
    """Put a deferred, an active and a held recipient into the queue; return the ids."""
    deferred = relay.accept("anna@example.com", "bo@example.net", claim=True)
    relay.settle(deferred, State.QUEUED, State.DELIVERED)
    active = relay.accept("carl@example.com", sender="", size=5_000_000, claim=True)
    held = relay.accept("dora@sub.example.com", created_ms=relay.now - 907_000)
    assert relay.run("queue", "hold", held, "--yes").exit_code == 0
    return deferred, active, held


def test_list(relay):
    """The listing is one aligned line for each recipient that waits, with marks and replies."""
    _fill(relay)
    result = relay.run("queue", "list")
    assert (result.output, result.exit_code) == (GOLDEN_LIST, 0)


def test_list_json(relay):
    """As JSON it is one object a line, with times in ms and nothing rounded."""
    deferred, active, held = _fill(relay)
    rows = relay.json("queue", "list")
    assert [(row["id"], row["number"], row["active"], row["state"]) for row in rows] == [
        (deferred, 0, False, "queued"),
        (active, 0, True, "queued"),
        (held, 0, False, "held"),
    ]
    assert rows[0] == {
        "id": deferred,
        "kind": "mail",
        "sender": "app@example.org",
        "size": 40,
        "message_id": "<1@example.org>",
        "login": "app7",
        "requires": [],
        "created_ms": relay.now - 60 * MINUTE,
        "expires_ms": relay.now - 60 * MINUTE + 5 * 86_400_000,
        "ret": "",
        "envid": "",
        "priority": 0,
        "release_ms": None,
        "deliver_by": None,
        "number": 0,
        "recipient": "anna@example.com",
        "domain": "example.com",
        "given": "",
        "notify": "",
        "orcpt": "",
        "route": "",
        "state": "queued",
        "active": False,
        "attempts": 1,
        "next_attempt_ms": relay.now + 5 * MINUTE,
        "restraint": "",
        "last": {
            "at_ms": relay.now - 30 * MINUTE + 800,
            "host": "mx.example.com",
            "code": 451,
            "enhanced": "4.7.1",
            "text": "Greylisted, try again",
            "category": "",
        },
    }


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--from", "<>"], "active"),
        (["--from", "@example.org"], "deferred held"),
        (["--to", "ANNA@example.com"], "deferred"),
        (["--domain", "*.example.com"], "held"),
        (["--state", "held"], "held"),
        (["--state", "delivered"], "deferred"),
        (["--age", ">30m"], "deferred active"),
        (["--age", "<=15m7s"], "held"),
        (["--age", "10m..1h"], "deferred active held"),
        (["--next", "<10m"], "deferred held"),
        (["--attempts", ">=1"], "deferred active"),
        (["--attempts", "0"], "held"),
        (["--size", ">1MiB"], "active"),
        (["--login", "app*"], "deferred active held"),
        (["--code", "451"], "deferred"),
        (["--reply", "greylist"], "deferred"),
        (["--reply", "4.7.1", "--age", ">2h"], ""),
    ],
)
def test_filters(relay, filters, found):
    """Every filter narrows the list to what it says; nothing found is status 1."""
    names = dict(zip(_fill(relay), ("deferred", "active", "held"), strict=True))
    result = relay.run("queue", "list", "--json", *filters)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert " ".join(names[row["id"]] for row in rows) == found
    assert result.exit_code == (0 if found else 1)


def test_ids_from_arguments_and_stdin(local):
    """Ids come as arguments, by --id, in lower case, and as a listing on standard input."""
    deferred, active, held = _fill(local)
    listed = [row["id"] for row in local.json("queue", "list", deferred.lower(), "--id", held)]
    assert listed == [deferred, held]
    listing = local.run("queue", "list").output
    result = local.run("queue", "list", "-", "--json", input=listing)
    assert result.stdout.count("\n") == 3
    result = local.run("queue", "list", "--id", "-", "--json", input=f"\n{active}*  more words\n")
    assert active in result.stdout
    assert result.stdout.count("\n") == 1


def test_words_that_are_no_ids(local):
    """What cannot be an id is refused: as an argument as usage, on standard input as data."""
    assert local.run("queue", "list", "hello").exit_code == 64
    result = local.run("queue", "list", "-", input="1MCC2ARC00000001\nhello\n")
    assert (result.exit_code, result.stderr) == (
        65,
        "mta: standard input, line 2: 'hello' is not a queue id\n",
    )


def test_pages(local):
    """The first 50 come with the command for what follows; pages neither repeat nor skip."""
    expected = [local.accept("a@example.com", "b@example.com") for _ in range(30)]
    result = local.run("queue", "list")
    assert len(result.stdout.splitlines()) == 51
    place = f"{expected[24]}/1"
    assert result.stderr == f"50 shown, there are more: --after {place}, or --limit 0 for all\n"
    result = local.run("queue", "list", "--after", place, "--limit", "9", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [
        id_ for id_ in expected[25:] for _ in range(2)
    ][:9]
    assert len(local.run("queue", "list", "--after", expected[24]).stdout.splitlines()) == 11
    assert len(local.run("queue", "list", "--limit", "0").stdout.splitlines()) == 61
    assert len(local.json("queue", "list")) == 60


def test_ranges_that_mean_nothing(local):
    """A range without a sign or unit, or backwards, is a usage error that says what to write."""
    for option, value, words in (
        ("--age", "1h", "say '>1h', '<1h' or 'from..to'"),
        ("--age", ">5", "no duration"),
        ("--age", "2h..1h", "runs backwards"),
        ("--attempts", ">many", "not a number"),
    ):
        result = local.run("queue", "list", option, value)
        assert result.exit_code == 64
        assert words in result.stderr


def test_summary(relay):
    """The summary has totals first and then a line for each domain and state."""
    _fill(relay)
    assert relay.run("queue", "summary").output == GOLDEN_SUMMARY
    (found,) = relay.json("queue", "summary")
    assert (found["messages"], found["recipients"], found["octets"]) == (3, 3, 5_000_080)
    assert found["domains"][1] == {
        "domain": "sub.example.com",
        "state": "held",
        "recipients": 1,
        "oldest_ms": relay.now - 907_000,
        "next_attempt_ms": relay.now - 907_000,
    }


def test_empty_queue(local):
    """An empty queue is told as such and is no error."""
    assert local.run("queue", "summary").output == "the queue is empty\n"
    result = local.run("queue", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the queue is empty\n")
    result = local.run("queue", "list", "--state", "held")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "nothing matches\n")


def test_show(relay):
    """One message is shown with all its recipients, those that are done included."""
    deferred, _, _ = _fill(relay)
    result = relay.run("queue", "show", deferred)
    assert (result.output, result.exit_code) == (GOLDEN_SHOW, 0)
    (found,) = relay.json("queue", "show", deferred)
    assert [one["state"] for one in found["recipients"]] == ["queued", "delivered"]


def test_show_and_cat_of_nothing(local):
    """An id that nobody knows is status 1; so is the content of a message that has left."""
    assert local.run("queue", "show", "1MCC2ARC0000000Z").exit_code == 1
    gone = local.accept(claim=True)
    local.settle(gone, State.DELIVERED)
    result = local.run("queue", "cat", gone)
    assert (result.exit_code, result.stdout) == (1, "")
    assert gone in result.stderr


def test_cat(relay):
    """The content comes out octet for octet."""
    message = relay.accept()
    assert relay.run("queue", "cat", message).stdout_bytes == relay.body


@pytest.mark.parametrize("terminal", [False, True])
def test_terminal_escape_sequences_in_a_reply(local, monkeypatch, terminal):
    """A reply with escape sequences, line ends or overrides cannot write on the terminal."""
    monkeypatch.setattr(render, "on_terminal", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "400")
    message = local.accept(f"eve{HOSTILE}@example.com", claim=True, message_id=HOSTILE)
    local.settle(message, State.QUEUED, text=HOSTILE)
    for command in (("queue", "list"), ("queue", "show", message), ("trace", message)):
        result = local.run(*command)
        assert SHOWN.partition("\\x0d")[0] in result.output
        assert "[bold]x[/bold]" in result.output
        assert not set(result.output) & set("\x07\r\x9b\u202e")
        assert "\x1b[2J" not in result.output
        assert "\x1b]" not in result.output


def test_terminal_escape_sequences_in_json(local):
    """JSON carries the same text as ASCII escapes, so that nothing reaches a terminal raw."""
    message = local.accept(claim=True)
    local.settle(message, State.QUEUED, text=HOSTILE)
    result = local.run("queue", "list", "--json")
    assert result.stdout.removesuffix("\n").isprintable()
    assert result.stdout.isascii()
    assert json.loads(result.stdout)["last"]["text"] == HOSTILE


def test_cat_on_a_terminal(local, monkeypatch):
    """On a terminal a message cannot send escape sequences, unless --raw asks for its octets."""
    monkeypatch.setattr("mta.admin.queue_commands.on_terminal", lambda: True)
    monkeypatch.setattr("mta.admin.queue_commands.listing.chunks", lambda *_: [b"a\tb\x1b[2J\r\n"])
    message = local.accept()
    assert local.run("queue", "cat", message).stdout_bytes == b"a\tb\\x1b[2J\n"
    assert local.run("queue", "cat", message, "--raw").stdout_bytes == b"a\tb\x1b[2J\r\n"

"""``mta suppress`` and ``mta brake``; what the queue's commands say of mail that is held."""

import pytest

from mta.spool import brakes, suppressions

WHY = "brake: 900 recipients in an hour, usual are 10"


def test_suppress(relay):
    """Added, listed, found, removed; the audit says who and why."""
    result = relay.run("suppress", "add", "Ann@Example.org", "@example.net", "--reason", "asked")
    assert (result.exit_code, result.output) == (0, "suppressed 2 of 2; the others were already\n")
    assert relay.run("suppress", "add", "ann@example.org").exit_code == 1
    assert relay.run("suppress", "add", "ann@example.org", "--login", "app7").exit_code == 0
    assert relay.json("suppress", "list", "ann@EXAMPLE.org") == [
        {
            "address": "ann@example.org", "login": login, "reason": reason, "who": "anna",
            "created_ms": relay.now,
        }
        for login, reason in (("", "asked"), ("app7", ""))
    ]  # fmt: skip
    assert "(all)" in relay.run("suppress", "list").output
    assert relay.run("suppress", "remove", "ann@example.org").exit_code == 0
    assert relay.run("suppress", "remove", "ann@example.org").exit_code == 1
    left = relay.read(suppressions.everything)
    assert [(one.address, one.login) for one in left] == [
        ("@example.net", ""),
        ("ann@example.org", "app7"),
    ]
    assert relay.run("suppress", "list", "bob@example.org").exit_code == 1


def test_suppress_what_is_no_address(local):
    """A domain needs its @, so that nobody suppresses something else than was meant."""
    result = local.run("suppress", "add", "example.org")
    assert result.exit_code == 64
    assert "neither an address nor @domain" in result.output


def stopped(relay):
    """A login that was stopped: one message had gone, two are held, one by another rule."""
    relay.write(brakes.trip, "app7", WHY, relay.now - 60_000)
    created = relay.now - 30 * 60_000
    return (
        relay.accept("a@x.org", created_ms=created),
        relay.accept("b@x.org", "c@y.org", created_ms=created, held=WHY),
        relay.accept("d@x.org", created_ms=created, held="hold rule big"),
    )


def test_what_went_to_whom(relay):
    """One command shows it, by domain and state."""
    stopped(relay)
    (found,) = relay.json("brake", "show", "app7")
    assert (found["login"], found["reason"], found["released_ms"]) == ("app7", WHY, None)
    assert [(one["domain"], one["state"], one["recipients"]) for one in found["sent"]] == [
        ("x.org", "held", 2),
        ("x.org", "queued", 1),
        ("y.org", "held", 1),
    ]
    text = relay.run("brake", "show", "app7").output
    assert "app7 is stopped: brake: 900 recipients" in text
    assert "stopped" in relay.run("brake", "list").output
    assert relay.run("brake", "show", "bob").exit_code == 1


def test_each_recipient_of_a_stopped_login(relay):
    """Who is to be warned: every address, by message, and whether it has gone."""
    went, held, other = stopped(relay)
    (found,) = relay.json("brake", "show", "app7", "--addresses")
    known = [(one["id"], one["recipient"], one["state"]) for one in found["recipients"]]
    assert known == [
        (went, "a@x.org", "queued"),
        (held, "b@x.org", "held"),
        (held, "c@y.org", "held"),
        (other, "d@x.org", "held"),
    ]
    lines = relay.run("brake", "show", "app7", "--addresses").output.splitlines()
    assert [line.split()[-1] for line in lines[-4:]] == ["a@x.org", "b@x.org", "c@y.org", "d@x.org"]
    assert "recipients" not in relay.json("brake", "show", "app7")[0]


def test_release(relay):
    """What the brake holds goes, what a rule holds stays, and the login may send again."""
    went, held, other = stopped(relay)
    result = relay.run("brake", "show", "app7", "--release", "--yes")
    assert result.exit_code == 0
    assert "released 2 recipients" in result.output
    assert relay.states(went, held, other) == ["queued", "queued", "queued", "held"]
    assert relay.read(brakes.states, relay.now) == (frozenset(), frozenset({"app7"}))
    assert "released" in relay.run("brake", "list").output


def test_remove(relay):
    """What the brake holds is dropped, and the login stays stopped."""
    went, held, other = stopped(relay)
    result = relay.run("brake", "show", "app7", "--remove", "--yes")
    assert "removed 2 recipients" in result.output
    assert relay.states(went, held, other) == ["queued", "removed", "removed", "held"]
    assert relay.read(brakes.states, relay.now) == (frozenset({"app7"}), frozenset())


def test_nothing_without_a_yes(local):
    """Without a terminal and without --yes nothing changes."""
    _, held, _ = stopped(local)
    assert local.run("brake", "show", "app7", "--release").exit_code == 64
    assert local.run("brake", "show", "app7", "--release", "--remove").exit_code == 64
    assert local.states(held) == ["held", "held"]
    assert local.read(brakes.states, local.now)[0] == frozenset({"app7"})


def test_released_with_nothing_held(local):
    """A login of which nothing is held can be released too."""
    local.write(brakes.trip, "app7", WHY, local.now)
    assert local.run("brake", "show", "app7", "--release", "--yes").exit_code == 0
    assert local.read(brakes.states, local.now)[0] == frozenset()


@pytest.mark.parametrize("command", [("queue", "list"), ("queue", "show"), ("trace",)])
def test_the_cause_is_told(local, command):
    """Listing, show and trace all say why mail is held."""
    message = local.accept("a@x.org", held="hold rule big")
    what = () if command[1:] == ("list",) else (message,)
    output = local.run(*command, *what).output
    assert "held" in output
    assert "hold rule big" in output

"""``mta why``: one answer, whatever is asked, and what to do about it."""

import pytest

from mta.mail.envelope import Asked
from mta.mail.queue_id import new_queue_id
from mta.spool import alarms, leases, suppressions
from mta.spool.schema import State, recipients
from mta.spool.suppressions import Suppression

MINUTE = 60_000


def test_back_off(relay):
    """A message that waits for its next attempt: the reply, who gave it, when, what to do."""
    relay.register()
    one = relay.accept("anna@example.com", "bo@example.com", claim=True)
    relay.settle(one, State.QUEUED, State.DELIVERED)
    result = relay.run("why", one)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"{one} from app@example.org, 40 octets, accepted 2027-01-15 07:00:00Z (1h ago):"
        " 2 recipients: 1 queued, 1 delivered\n"
        "  anna@example.com: queued, 1 attempt\n"
        "    why:     mx.example.com does not take it for now\n"
        "    last:    451 4.7.1 Greylisted, try again (in reply to RCPT),"
        " mx.example.com[192.0.2.7], 29m ago\n"
        "    next:    2027-01-15 08:05:00Z (in 5m)\n"
        "    expires: 2027-01-20 07:00:00Z (in 4d23h)\n"
        f"    do:      mta queue retry {one} --to 'anna@example.com'\n"
        "  bo@example.com: delivered, 1 attempt\n"
        "    why:     the next hop took it 2027-01-15 07:30:00Z (29m ago)\n"
        "    last:    250 2.0.0 Ok: queued as 7F (in reply to end of data),"
        " mx.example.com[192.0.2.7], 29m ago\n"
    )


def blocked(relay, one, number=0):
    """Return what blocks a recipient, and the commands that unblock it."""
    (found,) = relay.json("why", one)
    answer = found["answers"][number]
    return answer["blocked_by"], answer["unblock"]


def test_hold(relay):
    """Held mail says who holds it and why, and how it is released."""
    relay.register()
    one = relay.accept()
    relay.run("queue", "hold", one, "--yes")
    assert blocked(relay, one) == ("hold", [f"mta queue release {one}"])
    assert "it is held by anna" in relay.run("why", one).stdout


def test_what_is_said_of_several_helps_them_all(relay):
    """The command under several recipients is about all of them, and about nobody else."""
    relay.register()
    one = relay.accept("anna@example.com", "bo@example.com", held="the policy's reason")
    assert relay.run("why", one).stdout.count("do:") == 1
    assert f"do:      mta queue release {one}\n" in relay.run("why", one).stdout
    two = relay.accept(
        "anna@example.com", "bo@example.com", "cy@example.com", held="the policy's reason"
    )
    relay.run("queue", "remove", two, "--to", "cy@example.com", "--yes")
    said = relay.run("why", two).stdout
    for name in ("anna", "bo"):
        assert f"do:      mta queue release {two} --to '{name}@example.com'\n" in said


def test_held_without_an_answer(local):
    """What may have arrived is released or removed, by whoever has asked the recipient."""
    local.register()
    one = local.accept(claim=True)
    local.settle(one, State.HELD, text="lost after the final dot: it may have been delivered")
    block, commands = blocked(local, one)
    assert (block, commands) == ("hold", [f"mta queue release {one}", f"mta queue remove {one}"])
    assert "it is held by the route: lost after the final dot" in local.run("why", one).stdout


def test_budget(relay):
    """What waits for a budget of its smarthosts says so; what takes another route does not."""
    with relay.config.open("a") as file:
        file.write(
            '[[route]]\nname = "out"\nrecipient_domains = ["example.com"]\n'
            'smarthost = { host = "s.example", per_day = 5 }\n'
        )
    relay.register()
    one, other = relay.accept(), relay.accept("x@example.net")
    due_ms = relay.now + 3_600_000
    relay.write(lambda conn: conn.execute(recipients.update().values(next_attempt_ms=due_ms)))
    text = "smarthost:out waits until later: budget used up: s.example (5 a day)"
    relay.write(alarms.put, "node1", "smarthost:out", text, relay.now)
    assert blocked(relay, one) == ("budget", [])
    assert f"why:     {text}" in relay.run("why", one).stdout
    assert blocked(relay, other)[0] != "budget"


def test_brake(local):
    """What the brake holds is released with the brake's own command."""
    local.register()
    one = local.accept(held="brake: 900 recipients in an hour, usual are 3")
    block, commands = blocked(local, one)
    assert block == "brake"
    assert commands[1] == "mta brake show app7 --release"


def test_no_service(local):
    """Where no process runs, that is the answer, before any back-off."""
    one = local.accept(claim=True)
    local.settle(one, State.QUEUED)
    assert blocked(local, one) == ("no service", ["systemctl start mta", "mta status"])


def test_process_is_gone(local):
    """Mail in the hands of a process that has died says so."""
    local.register(lease_ms=-1)
    one = local.accept(claim=True)
    assert blocked(local, one)[0] == "no service"
    assert "is gone" in local.run("why", one).stdout


def test_under_way(local):
    """Mail in the hands of a process that runs is blocked by nothing."""
    local.register()
    assert blocked(local, local.accept(claim=True)) == ("", [])


def test_turn(local):
    """Mail that is due and in nobody's hands waits for its turn."""
    local.register()
    one = local.accept()
    assert blocked(local, one) == ("turn", [f"mta queue retry {one}"])
    assert "due for 1h" in local.run("why", one).stdout


def test_release_time(local):
    """Mail that its sender has put off is not ours to hurry."""
    local.register()
    one = local.accept(asked=Asked(release_ms=local.now + MINUTE))
    assert blocked(local, one) == ("sender's wish", [])


@pytest.mark.parametrize(
    ("command", "block"),
    [
        ("DNS", "DNS"),
        ("STARTTLS", "TLS"),
        ("connect", "connection"),
        ("AUTH", "log-in"),
        ("MAIL", "peer"),
        ("local", "fault"),
    ],
)
def test_obstacles(local, command, block):
    """What the last attempt met with is named: DNS, TLS, connection, log-in, the peer, we."""
    local.register()
    one = local.accept(claim=True)
    local.settle(one, State.QUEUED)
    sql = f"UPDATE attempts SET command = '{command}'"
    local.write(lambda conn: conn.exec_driver_sql(sql))
    assert blocked(local, one)[0] == block


PRIVATE = [
    ("TLS policy", "the host is not in the MTA-STS policy of example.com",
     "mx.example.com is not dialled: no session there would be as private as is required"),
    ("STARTTLS", "dane is required: the certificate matches none of the TLSA records",
     "the session with mx.example.com was not as private as is required"
     " (dane: TLSA records of mx.example.com)"),
    ("connect", "verify is required: the certificate has expired",
     "the session with mx.example.com was not as private as is required"
     " (dane: TLSA records of mx.example.com)"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "text", "words"), PRIVATE)
def test_not_private_enough(relay, command, text, words):
    """What DANE, MTA-STS or a policy of ours stops is told as that, with what lets it go."""
    relay.register()
    one = relay.accept(claim=True)
    relay.settle(one, State.QUEUED, text=text)
    sql = f"UPDATE attempts SET command = '{command}', code = 0, enhanced = '4.7.5'"
    relay.write(lambda conn: conn.exec_driver_sql(sql))
    assert blocked(relay, one)[0] == "TLS"
    said = relay.run("why", one).stdout
    assert f"why:     {words}\n" in said
    assert text in said
    assert "[[tls_policy]] with observe = true" in said


def test_bounced(local):
    """A refusal tells since when it is over, and the reply that ended it."""
    one = local.accept(claim=True)
    local.settle(one, State.BOUNCED)
    text = local.run("why", one).stdout
    assert "given up 2027-01-15 07:30:00Z (29m ago): it was refused for good" in text
    assert "550 5.1.1 No such user (in reply to RCPT)" in text
    assert blocked(local, one)[0] == "ended"


def test_address(relay):
    """An address: the newest messages to it and from it, each with the one recipient meant."""
    to = relay.accept("bo@example.net", "anna@example.com")
    by = relay.accept("x@example.net", sender="bo@example.net")
    text = relay.run("why", "Bo@example.net").stdout
    assert text.index(by) < text.index(to)
    assert "anna@example.com" not in text
    assert len(relay.json("why", "bo@example.net", "--limit", "1")) == 1


def test_message_id(local):
    """A Message-ID is taken as well."""
    one = local.accept()
    assert [found["id"] for found in local.json("why", "<1@example.org>")] == [one]


def test_domain(relay):
    """A domain: how many, since when, why, when next, and the command."""
    relay.register()
    for n in range(3):
        one = relay.accept(f"u{n}@example.com", claim=True)
        relay.settle(one, State.QUEUED, text=f"Deferred, session 8A3F00{n}1X, try in {n} s")
    relay.run("queue", "hold", relay.accept("held@example.com"), "--yes")
    result = relay.run("why", "Example.COM")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "example.com: 4 recipients wait, the oldest for 1h; 4 after an attempt or held, 0 new,"
        " 0 in hand",
        "RECIPIENTS  STATE   LAST REPLY",
        "         3  queued  451 4.7.1 Deferred, session …, try in … s",
        "         1  held    (no attempt has ended)",
        "next attempt:  2027-01-15 08:05:00Z (in 5m)",
        "what they are:  mta queue list --domain example.com",
        "to try it now:  mta queue retry --domain example.com",
        "to release it:  mta queue release --domain example.com",
    ]
    (found,) = relay.json("why", "example.com")
    assert (found["waiting"], found["known"]) == (4, True)


def test_domain_without_queue(local):
    """Where nothing waits, what became of the newest mail is the answer."""
    one = local.accept("a@example.net", claim=True)
    local.settle(one, State.DELIVERED)
    assert "nothing waits; of the newest mail 1 delivered" in local.run("why", "example.net").stdout


@pytest.mark.parametrize("what", ["1M87Z6Z57AF2TMW2", "nobody@example.net", "nowhere.example"])
def test_never_an_empty_answer(local, what):
    """Of what is not known it is said why that may be and where to look; status 1."""
    result = local.run("why", what)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{what}" in result.stderr
    assert len(result.stderr.splitlines()) >= 2


def test_forgotten(local):
    """An id tells its age: older than the retention it may have been forgotten."""
    old = new_queue_id(local.now - 30 * 86_400_000, lambda _: 1)
    text = local.run("why", old).stderr
    assert "was made 30d ago: it may have been forgotten" in text
    assert "forgotten after 7d (spool.retention)" in text


def test_escapes(local):
    """Attack: a peer's reply cannot drive the operator's terminal."""
    local.register()
    one = local.accept(claim=True)
    local.settle(one, State.QUEUED, text="\x1b[2Jno\u202e")
    for what in (one, "example.com"):
        assert "\\x1b[2Jno\\u202e" in local.run("why", what).stdout


def test_a_quote_in_an_address(local):
    """Attack: an address cannot put a command into the command that is offered."""
    local.register()
    one = local.accept("a';reboot;'@example.com", "b@example.com")
    local.run("queue", "hold", one, "--yes")
    assert blocked(local, one) == ("hold", [f"mta queue release {one}"])
    evil = "$(reboot).example"
    assert "mta queue" not in local.run("why", evil).stdout


def test_grouped_listing(relay):
    """Counted by domain and cause, largest first; ids in replies do not tear causes apart."""
    for n in range(3):
        one = relay.accept(f"u{n}@example.com", claim=True)
        relay.settle(one, State.QUEUED, text=f"Deferred, session 8A3F00{n}1X")
    relay.accept("x@example.net")
    assert relay.json("queue", "list", "--group-by", "domain,cause") == [
        {
            "domain": "example.com",
            "cause": "451 4.7.1 Deferred, session …",
            "recipients": 3,
            "oldest_ms": relay.now - 60 * MINUTE,
            "next_attempt_ms": relay.now + 5 * MINUTE,
        },
        {
            "domain": "example.net",
            "cause": "not tried yet",
            "recipients": 1,
            "oldest_ms": relay.now - 60 * MINUTE,
            "next_attempt_ms": relay.now - 60 * MINUTE,
        },
    ]
    assert relay.run("queue", "list", "--group-by", "login,state").stdout.splitlines() == [
        "RECIPIENTS  OLDEST  NEXT  LOGIN  STATE",
        "         4      1h   now  app7   queued",
    ]
    (found,) = relay.json("queue", "list", "--group-by", "sender", "--domain", "example.net")
    assert found["recipients"] == 1


def test_grouping_by_nonsense(local):
    """A key that is none is a usage error that names what there is."""
    result = local.run("queue", "list", "--group-by", "colour")
    assert result.exit_code == 64
    assert "cause, category, code" in result.stderr
    assert local.run("queue", "list", "--group-by", "code", "--domain", "no.test").exit_code == 1


def test_site(relay):
    """A site is answered for by the domains whose mail waits since it was tried there."""
    relay.register()
    for domain in ("one.example", "two.example", "two.example"):
        one = relay.accept(f"a@{domain}", claim=True)
        relay.settle(one, State.QUEUED)
    relay.write(lambda conn: conn.exec_driver_sql("UPDATE attempts SET site = 'mx.big.example'"))
    result = relay.run("why", "mx.big.example")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:4] == [
        "site mx.big.example: 3 recipients of 2 domains wait since they were tried there",
        "DOMAIN       RECIPIENTS  OLDEST  NEXT",
        "two.example           2      1h    5m",
        "one.example           1      1h    5m",
    ]
    (found,) = relay.json("why", "mx.big.example")
    assert [one["domain"] for one in found["site"]] == ["two.example", "one.example"]
    relay.accept("new@two.example")
    assert relay.run("queue", "list", "--group-by", "site").stdout.splitlines() == [
        "RECIPIENTS  OLDEST  NEXT  SITE",
        "         3      1h    5m  mx.big.example",
        "         1      1h   now  -",
    ]


def test_what_a_shell_would_obey(local):
    """Attack: a login or a pattern in an address cannot widen or twist the command offered."""
    local.register()
    one = local.accept(held="brake: 900 recipients in an hour, usual are 3")
    sql = "UPDATE messages SET login = 'x; reboot'"
    local.write(lambda conn: conn.exec_driver_sql(sql))
    assert blocked(local, one)[1][0] == "mta brake show 'x; reboot'"
    two = local.accept("a*@example.com", "b@example.com")
    local.run("queue", "hold", two, "--yes")
    assert blocked(local, two)[1] == [f"mta queue release {two}"]


def test_suppressed(relay):
    """A suppressed address, or domain, is the answer about mail that never was accepted."""
    old = Suppression("bo@example.net", "", "asked us to stop", "anna", relay.now - 60 * MINUTE)
    relay.write(suppressions.add, old)
    relay.write(suppressions.add, Suppression("@example.edu", "app7", "", "anna", relay.now))
    result = relay.run("why", "Bo@Example.net")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "bo@example.net is suppressed by anna, 1h ago: asked us to stop",
        "    why:     whoever sends there is refused at RCPT: 550 5.7.1",
        "    do:      mta suppress remove bo@example.net",
    ]
    for what in ("example.edu", "x@example.edu"):
        text = relay.run("why", what).stdout
        assert "@example.edu is suppressed for login app7 by anna" in text
        assert "do:      mta suppress remove @example.edu --login app7\n" in text
    (found,) = relay.json("why", "bo@example.net")
    assert found["suppressed"][0]["reason"] == "asked us to stop"


def test_site_where_nothing_waits(relay):
    """A site to which all went says what became of it, and which message was the last."""
    one = relay.accept(claim=True)
    relay.settle(one, State.DELIVERED, site="mx.example.com")
    assert relay.run("why", "mx.example.com").stdout.splitlines() == [
        "site mx.example.com: nothing that was tried there waits",
        "why:   no service is running that uses this spool",
        "attempts of late: 1 delivered, the last 2027-01-15 07:30:00Z (29m ago)",
        f"the newest message: mta why {one}",
    ]


def test_delivered_by_another_process(relay):
    """Who made the attempt is said where it is not the one process that runs."""
    one = relay.accept(claim=True)
    relay.settle(one, State.DELIVERED)
    relay.write(leases.register_node, "node2", "another", relay.now, 60_000, {})
    assert "29m ago, by node1\n" in relay.run("why", one).stdout

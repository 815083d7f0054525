"""Every refusal is counted, under a name that says where, at what, how and why."""

import pytest

from mta.inbound.refusals import MOST, Refusals
from mta.mail.envelope import Origin
from mta.mail.events import AuthenticationFailed, Disconnected, Refused
from mta.mail.refusal import Refusal, of_counter, refusal

ORIGIN = Origin("smtps", "192.0.2.7")


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            Refused(ORIGIN, "RCPT", "550 5.7.1 Relaying is not permitted", "not trusted"),
            Refusal("smtps", "RCPT", "550 5.7.1", "not trusted"),
        ),
        (
            Refused(ORIGIN, "MAIL", "451 4.7.1 Too much mail", "limit few: 5 messages (a:b)"),
            Refusal("smtps", "MAIL", "451 4.7.1", "limit few"),
        ),
        (
            Refused(ORIGIN, "PROXY", "hung up", "PROXY header: it broke off"),
            Refusal("smtps", "PROXY", "none", "PROXY header"),
        ),
        (
            Refused(ORIGIN, "", "500 The line is too long", "protocol"),
            Refusal("smtps", "command", "500", "protocol"),
        ),
        (
            Refused(ORIGIN, "end of data", "451 4.3.0 Later", "line one\nline two"),
            Refusal("smtps", "end of data", "451 4.3.0", "other"),
        ),
        (
            AuthenticationFailed(ORIGIN, "PLAIN", "root", "credentials"),
            Refusal("smtps", "AUTH", "535 5.7.8", "credentials"),
        ),
        (
            AuthenticationFailed(ORIGIN, "PLAIN", "root", "unavailable"),
            Refusal("smtps", "AUTH", "454 4.7.0", "unavailable"),
        ),
        (AuthenticationFailed(ORIGIN, "PLAIN", "root", "blocked"), None),
        (Disconnected(ORIGIN, "quit", 1, 2, 3.0), None),
    ],
)
def test_kinds(event, kind):
    """The single case (amounts, addresses) is no part of the kind, nor what a client wrote."""
    assert refusal(event) == kind
    if kind is not None:
        assert of_counter(kind.counter) == kind


def test_names_of_other_counters():
    """The policy's counters beside them are not taken for refusals."""
    assert of_counter("messages/3600000:login:refused/x") is None
    assert of_counter("refused/x") is None
    assert of_counter(Refusal("a", "RCPT", "550", "x/y/z").counter).reason == "x/y/z"


def test_totals_only_grow():
    """All events are passed on; totals are since the start, and each is shared once."""
    passed, shared = [], []
    refusals = Refusals(passed.append, shared.append)
    event = Refused(ORIGIN, "RCPT", "550 5.7.1 no", "not trusted")
    for one in (event, Disconnected(ORIGIN, "quit", 1, 2, 3.0), event):
        refusals(one)
    kind = Refusal("smtps", "RCPT", "550 5.7.1", "not trusted")
    assert refusals.totals == {kind: 2}
    assert len(passed) == 3
    assert shared == [kind.counter] * 2


def test_kinds_are_bounded():
    """Attack: reasons without end; they are counted, and take no more memory."""
    refusals = Refusals(lambda _: None, lambda _: None)
    for number in range(3 * MOST):
        refusals(Refused(ORIGIN, "RCPT", "550 5.7.1 no", f"reason {number}"))
    assert len(refusals.totals) <= MOST + 1
    assert sum(refusals.totals.values()) == 3 * MOST
    assert refusals.totals[Refusal("smtps", "RCPT", "550 5.7.1", "other")] == 2 * MOST


def test_what_a_session_refuses_is_counted(world):
    """Connections, commands, log-ins and messages: whatever is refused is told to the counter."""
    refusals = Refusals(world.events.append, lambda _: None)
    world.inbound._reception.emit = refusals
    client = world.connect("smtps", "198.51.100.9")
    client.say(b"EHLO me\r\nFOO\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AGFubgB3cm9uZw==\r\n")
    client.say(b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<a@b.example>\r\n")
    client.say(b"RCPT TO:<c@d.example>\r\nDATA\r\n")
    client.say(b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n.\r\n")
    world.limit(connections=1)
    world.connect("smtps", "198.51.100.9")
    assert {tuple(kind) for kind in refusals.totals} == {
        ("smtps", "command", "500 5.5.1", "protocol"),
        ("smtps", "MAIL", "530 5.7.0", "not authenticated"),
        ("smtps", "AUTH", "535 5.7.8", "credentials"),
        ("smtps", "end of data", "554 5.6.0", "several From fields"),
        ("smtps", "connect", "421 4.7.0", "connection limit"),
    }
